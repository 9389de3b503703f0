"""Sockets: alive or not, bound to whom, which message starts a run, and in which envelopes its events come."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netra_probe.clients.agent import Patience, Run, ask
from netra_probe.clients.replies import Answered, Refused
from netra_probe.clients.websocket import Handshake, Received, Socket
from netra_probe.doctor.report import Line, Status
from netra_probe.history.frames import CRITICAL_EVENTS
from netra_probe.history.principals import SHORTEST_BEGINNING
from netra_probe.investigation.run_trigger import RUN_TRIGGERS

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

QUESTION = "Where do I overspend?"
#: What answers a ping, and a heartbeat.
_ALIVE = frozenset({"pong", "heartbeat_ack"})


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One socket of one user at one backend.

    Arguments:
        alive: whether a ping was answered more than 1.2 s after the welcome.
        bound: ``token``, ``shared`` or ``nobody``; "" where there is no welcome.
        who: the user id in the welcome.
    """

    user: str
    backend: int
    alive: bool
    text: str
    bound: str = ""
    who: str = ""


async def try_sockets(probe: Investigation) -> list[Tried]:
    """Open a socket of each user at each backend, all at once, and see which of them live."""
    places = [(user, number) for user in probe.users for number in range(len(probe.target.backend_urls))]
    return list(await asyncio.gather(*(_try(probe, user, backend) for user, backend in places)))


async def _try(probe: Investigation, user: User, backend: int) -> Tried:
    begin = time.monotonic()
    opened = await probe.wire.open(
        Handshake(name=user.connection_name(), user=user.name, backend=backend, token=user.auth.access)
    )
    if not isinstance(opened, Socket):
        return Tried(user=user.name, backend=backend, alive=False, text=f"refused: {opened!r}")
    try:
        welcome = opened.welcome
        who = welcome.ids.get("user_id", "") if welcome is not None else ""
        # A pong in the first moments proves nothing (netra-wire §1): nobody pings before the welcome is that old.
        await opened.until(lambda frame: False, within=probe.timeouts.settle, start=len(opened.received))
        start = len(opened.received)
        await opened.send({"type": "ping"})
        await opened.send({"type": "heartbeat"})
        answer = await opened.until(lambda frame: frame.name in _ALIVE, within=probe.timeouts.pong, start=start)
        if not isinstance(answer, Received):
            said = "a welcome" if welcome is not None else "no welcome"
            text = f"half-dead: {said}, then no answer to a ping or a heartbeat ({answer})"
            return Tried(user=user.name, backend=backend, alive=False, text=text, bound=_bound(user, who), who=who)
        text = f"alive, {answer.frame.name} {time.monotonic() - begin:.1f} s after connecting"
        text += "" if welcome is not None else "; no welcome"
        return Tried(
            user=user.name,
            backend=backend,
            alive=True,
            text=text,
            bound=_bound(user, who) if welcome is not None else "",
            who=who,
        )
    finally:
        await opened.close()


def _bound(user: User, who: str) -> str:
    said = who.rstrip(".…*")
    if not said:
        return "nobody"
    return "token" if said == user.id or (len(said) >= SHORTEST_BEGINNING and user.id.startswith(said)) else "shared"


def socket_lines(tried: Sequence[Tried]) -> list[Line]:
    """A line for each backend: dead if any of its sockets is, because users are spread over all of them."""
    lines = []
    for backend in sorted({one.backend for one in tried}):
        here = [one for one in tried if one.backend == backend]
        dead = [one for one in here if not one.alive]
        text = (dead or here)[0].text + (f" ({len(dead)} of {len(here)} sockets)" if dead else "")
        lines.append(
            Line(subject=f"socket at backend {backend + 1}", status=Status.BROKEN if dead else Status.OK, text=text)
        )
    return lines


def identity(tried: Sequence[Tried]) -> tuple[str, list[Line]]:
    """What sockets get bound to, in one word, and a line where it is not the token's user."""
    kinds = {one.bound for one in tried if one.bound}
    if not kinds:
        return "", []
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    if kind == "token":
        return kind, []
    if kind == "nobody":
        return kind, [Line(subject="identity", status=Status.OK, text="the welcome names nobody")]
    others = sorted({one.who for one in tried if one.bound == "shared"})
    shown = ", ".join(others[:2]) + (" and others" if len(others) > 2 else "")
    text = f"sockets are bound to {shown} and not to the token's user: cases on sockets will fail for it"
    return kind, [Line(subject="identity", status=Status.NOTE, text=text)]


async def try_generators(probe: Investigation) -> tuple[dict[str, str], dict[str, int]]:
    """Which messages start runs that come to an end, and the shapes in which the events came.

    Two users try half of them each, at the same time: a message that starts nothing costs a whole deadline.
    """
    alice, bob = probe.users[:2]
    halves = await asyncio.gather(
        _try_some(probe, alice, RUN_TRIGGERS[0::2]), _try_some(probe, bob, RUN_TRIGGERS[1::2])
    )
    found = {**halves[0][0], **halves[1][0]}
    shapes = halves[0][1] + halves[1][1]
    return {name: found[name] for name in RUN_TRIGGERS}, dict(shapes.most_common())


async def _try_some(probe: Investigation, user: User, kinds: Sequence[str]) -> tuple[dict[str, str], Counter[str]]:
    found: dict[str, str] = {}
    shapes: Counter[str] = Counter()
    opened = await user.connect()
    if not isinstance(opened, Socket):
        return dict.fromkeys(kinds, "refused"), shapes
    for kind in kinds:
        start = len(opened.received)
        run = await ask(
            probe.history,
            opened,
            QUESTION,
            nonce=f"{user.name}-doctor-{kind}",
            thread_id=await user.new_thread(),
            kind=kind,
            patience=Patience(probe.timeouts.run),
        )
        found[kind] = _how(run, [seen.frame.name for seen in opened.received[start:]])
        shapes += Counter(
            seen.frame.shape
            for seen in opened.received[start:]
            if seen.frame.name in CRITICAL_EVENTS or seen.frame.shape == "unknown"
        )
    await opened.close()
    user.socket = None
    return found, shapes


def _how(run: Run, names: Sequence[str]) -> str:
    if isinstance(run.outcome, Answered):
        return "works" if "agent_completed" in run.names or "final_report" in run.names else "ends in an error"
    if isinstance(run.outcome, Refused):
        return "refused"
    if run.events:
        return "unfinished"
    return "acknowledged only" if "ack" in names else "silent"
