"""Peers that read slowly, freeze or die while the others are to notice nothing; and handshakes of nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netra_probe import nemesis
from netra_probe.clients.agent import Run
from netra_probe.clients.websocket import Handshake, Opened, Received, Socket
from netra_probe.forgery.tokens import with_other_signature
from netra_probe.history import actions
from netra_probe.history.principals import UNNAMED
from netra_probe.history.secret import Secret
from netra_probe.plans.tabs import LONG, QUESTION, answered, everybody_asks, long_question, tab, tabs, until_run_begins
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload
from netra_probe.workloads.websocket.resume import come_back, resume_point

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


#: Bytes that a target can send ahead of a reader who has stopped.
WINDOW = 2048
#: So many of them make some hundred thousand bytes of events, which no window holds.
QUESTIONS = 10
#: How often the others ask beside a bad peer.
ROUNDS = 3


@workload(Mode.ATTACK, "disturbing connections", answers=True)
async def slow_reader(
    probe: Investigation, slow: User, others: Sequence[User] = (), *, questions: int = QUESTIONS, backend: int = 0
) -> Outcome:
    """Ask long questions and stop reading, until the others, who ask later, have all they asked for; then read on.

    Whoever is slow gets everything later, or an error; what is dropped silently shows as
    gaps in their runs (fault W8). A second connection that reads on would hide them: it gets a copy.
    """
    others = list(others) or [user for user in probe.users if user is not slow]
    async with (
        nemesis.between(probe, slow, window=WINDOW) as link,
        tabs(others, backend=backend) as quick,
        tab(slow, backend=backend) as reading,
    ):
        if reading is None:
            return Outcome(users=(slow.name,), missing="a connection")
        threads = [await slow.new_thread() for _ in range(questions)]
        await link.slow_reader(reading)
        waiting = probe.start(slow.ask(long_question(), socket=reading, thread=thread) for thread in threads)
        await link.reply_held(reading)
        runs: list[Run] = []
        # Runs take turns: after as many of the others' as there are of the slow one's, those are over as well.
        for _ in range(-(-questions // len(others))):
            runs += await everybody_asks(others, quick, long_question())
        await link.resume(reading)
        late = await waiting
    counts = {"answered": answered(runs), "answered late": answered(late)}
    return Outcome(users=(slow.name, *names(others)), counts=counts)


@workload(Mode.ATTACK, "disturbing connections", answers=True)
async def killed_peer(
    probe: Investigation, victim: User, others: Sequence[User] = (), *, rounds: int = ROUNDS, backend: int = 0
) -> Outcome:
    """Reset one user's connection in the middle of their run; the others on the same backend ask before and after.

    A loop that ends with the first socket that breaks takes the events of all others with it (fault W13).
    """
    others = list(others) or [user for user in probe.users if user is not victim]
    async with nemesis.between(probe, victim) as link, tabs(others, backend=backend) as crowd:
        runs: list[Run] = []
        seconds: list[float] = []
        async with tab(victim, backend=backend) as dying:
            if dying is None:
                return Outcome(users=(victim.name,), missing="a connection")
            for _ in range(rounds):
                await _timed(others, crowd, runs, seconds)
            asking = probe.start([victim.ask(QUESTION, socket=dying)])
            await until_run_begins(probe, dying)
            await link.cut(dying)
            for _ in range(rounds):
                await _timed(others, crowd, runs, seconds)
            (run,) = await asking
        # What is left of the run must not come to a later connection, of which nobody knows that one was cut.
        await come_back(probe, victim, run, resume_point(dying), backend=backend)
    return Outcome(
        users=(victim.name, *names(others)),
        counts={"answered": answered(runs)},
        seconds=tuple(seconds),
    )


@workload(Mode.ATTACK, "disturbing connections", answers=True)
async def frozen_peer(
    probe: Investigation, victim: User, others: Sequence[User] = (), *, rounds: int = ROUNDS, backend: int = 0
) -> Outcome:
    """Freeze one user's connection with much on its way to it, let the others ask beside it, and thaw it again.

    A loop that writes to one socket after the other waits for the frozen one, and all others with it (fault W13).
    """
    others = list(others) or [user for user in probe.users if user is not victim]
    runs: list[Run] = []
    seconds: list[float] = []
    async with (
        nemesis.between(probe, victim, window=WINDOW) as link,
        tabs(others, backend=backend) as crowd,
        tab(victim, backend=backend) as frozen,
    ):
        if frozen is None:
            return Outcome(users=(victim.name,), missing="a connection")
        threads = [await victim.new_thread() for _ in range(QUESTIONS)]
        sent = link.sent(frozen)
        waiting = probe.start(victim.ask(long_question(), socket=frozen, thread=thread) for thread in threads)
        # What is asked must get there before nothing does any more.
        await link.request_passed(frozen, beyond=sent + len(threads) * LONG)
        await link.freeze(frozen)
        for _ in range(rounds):
            await _timed(others, crowd, runs, seconds)
        await link.resume(frozen)
        late = await waiting
    return Outcome(
        users=(victim.name, *names(others)),
        counts={"answered": answered(runs), "answered late": answered(late)},
        seconds=tuple(seconds),
    )


async def _timed(others: Sequence[User], crowd: Mapping[str, Socket], runs: list[Run], seconds: list[float]) -> None:
    """Everybody in the crowd asks at once; how long each waits is noted."""

    async def one(user: User) -> None:
        begin = time.monotonic()
        runs.append(await user.ask(QUESTION, socket=crowd[user.name]))
        seconds.append(round(time.monotonic() - begin, 3))

    await asyncio.gather(*(one(user) for user in others if user.name in crowd))


@workload(Mode.PROBE, "opening sockets without a valid token", withheld=())
async def try_invalid_handshakes(probe: Investigation, *, like: User) -> Sequence[Opened]:
    """Open a socket without a token, with nonsense and with a changed signature, each between two good connections.

    Each attempt is judged by *who am I*: the user id in the welcome. The user's own token goes first and last, as the
    positive control: an endpoint that refuses everybody proves nothing. Five bad tokens in a row may shut out
    everybody on some deployments (netra-wire §1), so there are never more than two between good ones.

    Returns the strangers' results in the order: no token, nonsense, changed signature.
    """
    await like.renew()
    assert like.auth.access is not None
    own = like.auth.access
    await _attempt(probe, like, "own token", own, expect=like.name)
    outcomes = [
        await _attempt(probe, like, "no token", None),
        await _attempt(probe, like, "not a token", Secret("not-a-token")),
    ]
    await _attempt(probe, like, "own token", own, expect=like.name)
    outcomes.append(await _attempt(probe, like, "changed signature", with_other_signature(own)))
    await _attempt(probe, like, "own token", own, expect=like.name)
    return outcomes


async def _attempt(
    probe: Investigation, like: User, name: str, token: Secret | None, *, expect: str = "refused"
) -> Opened:
    control = expect != "refused"
    detail: dict[str, Any] = {"attempt": name, "expect": expect, "control": control}
    connection = f"{like.name if control else 'stranger'}/door"
    user = like.name if control else None
    call = probe.history.invoke(
        actions.ATTEMPT, user=user, connection=connection, surface="websocket", backend=like.backend, detail=detail
    )
    opened = await probe.wire.open(
        Handshake(name=connection, user=user, backend=like.backend_number, token=token, attempt=detail)
    )
    if isinstance(opened, Socket):
        ids = dict(opened.welcome.ids) if opened.welcome else {}
        alive = opened.welcome is not None or isinstance(await opened.fence(), Received)
        if alive:
            # Let in by a welcome that names nobody: the user where that is right, and else somebody.
            ids.setdefault("user_id", like.id if control else UNNAMED)
        probe.history.complete(call, "ok" if alive else "info", ids=ids)
        await opened.close()
    else:
        probe.history.complete(call, "fail", status=getattr(opened, "status", None) or getattr(opened, "code", None))
    return opened
