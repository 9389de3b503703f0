"""Credentials in messages on an open socket: whoever it acts for, it is that one's events that it carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.websocket import Received, Socket
from netra_probe.history import actions
from netra_probe.history.runs import TERMINAL
from netra_probe.history.secret import Secret
from netra_probe.investigation.users import thread_ids
from netra_probe.plans.messages import say
from netra_probe.plans.tabs import QUESTION, tab

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: The message by which a client goes on with another token (netra-wire §5), and what the history calls its phase.
KIND, PHASE = "refresh_token", "token in a message"


async def present(probe: Investigation, socket: Socket, token: Secret, **mark: Any) -> bool:
    """Show a token on an open socket; whether it was not refused."""
    named = {"token": token.reveal(), "access_token": token.reveal()}
    answer = await say(probe, socket, KIND, named, attempt=mark or None)
    return isinstance(answer, Received) and answer.frame.name != "error"


@dataclass(frozen=True, kw_only=True)
class Followed:
    """Who a connection was after a token had been shown on it.

    Arguments:
        accepted: whether the token was not refused.
        acts: the alias of whoever owns what is made over it; "" where nothing can be made over it.
        hears: the aliases of those whose events came.
    """

    accepted: bool
    acts: str
    hears: tuple[str, ...]


async def show_token_of(probe: Investigation, user: User, shown: User, *, beside: User) -> Followed | None:
    """On a connection of ``user`` show the token of ``shown``, then look for whom it acts and whose events it carries.

    Either is right, to refuse another's token or to become the other altogether; events of the one for the other are
    not. The other user asks as well, so that their events have somewhere to go. ``None`` where there is no socket, or
    the target closes it.

    Arguments:
        beside: the other one of the two.
    """
    token = shown.auth.access
    async with tab(user, fenced=False) as line, tab(user) as own, tab(beside) as others:
        if line is None or own is None or others is None or token is None:
            return None
        name = "own token in a message" if shown is user else "another user's token in a message"
        accepted = await present(probe, line, token, act=True)
        acts = await _acts_for(probe, line, (user, beside))
        if not acts or line.closed is not None:
            return None
        call = probe.history.invoke(
            actions.ATTEMPT,
            user=acts.name,
            connection=line.name,
            surface="websocket",
            detail={"attempt": f"events after {name}", "expect": acts.name, "control": True, "phase": PHASE},
        )
        start, runs = line.position, {}
        for one, socket in ((user, own), (beside, others)):
            runs[one.name] = (await one.ask(QUESTION, socket=socket)).run_id
        await line.until(
            lambda frame: frame.name in TERMINAL and frame.run in runs.values(), within=probe.timeouts.run, start=start
        )
        await line.fence()
        came = {seen.frame.run for seen in line.received[start:]}
        hears = tuple(one for one, run in runs.items() if run in came)
        odd = next((one for one in hears if one != acts.name), acts.name if hears else "")
        ids = {"user_id": {user.name: user.id, beside.name: beside.id}[odd]} if odd else {}
        probe.history.complete(call, "ok", ids=ids)
    return Followed(accepted=accepted, acts=acts.name, hears=hears)


async def _acts_for(probe: Investigation, line: Socket, people: tuple[User, ...]) -> User | None:
    """In whose list a thread appears that is made over the connection."""
    before = {user.name: set(thread_ids(await user.rest.threads())) for user in people}
    await say(probe, line, "create_thread", {"title": "Whose is this?"})
    for user in people:
        made = set(thread_ids(await user.rest.threads())) - before[user.name]
        if made:
            user.threads_made += sorted(made)
            return user
    return None
