"""How soon an answer begins must not tell whether somebody else has asked the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.checkers.noninterference import OTHERS, SECRETS, VARIANT
from netra_probe.plans.tabs import answered, tabs
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.clients.agent import Run
    from netra_probe.clients.websocket import Socket
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

ACT = "first_pieces"
#: Characters of a question: caches keep long beginnings only; it goes out in three spellings, in frames of 8,192 bytes.
LENGTH = 2_100
#: Pairs that are compared: ten for the rank test, and two that may fail.
PAIRS = 12


@workload(answers=ACT)
async def first_pieces(probe: Investigation, watcher: User, other: User, *, pairs: int = PAIRS) -> Outcome:
    """One user asks what another one has asked before, and what nobody has, in turns; all questions are equally long.

    The two are compared by the time to the first piece (``checkers.noninterference``). A cache of prefixes that all
    tenants share answers the former sooner (fault K6), so that others' questions can be guessed.
    """
    runs: list[Run] = []
    async with tabs((watcher, other), backend=watcher.backend_number) as sockets:
        if len(sockets) < 2:
            return Outcome(act=ACT, users=(watcher.name, other.name), missing="a connection")
        runs += await probe.together(
            _ask(probe, other, sockets[other.name], "shared", number) for number in range(pairs)
        )
        # Whoever comes first in a pair changes, so that nothing that gets slower all the time looks like a difference.
        for number in range(pairs):
            for variant in (OTHERS, SECRETS) if number % 2 else (SECRETS, OTHERS):
                probe.history.observe(VARIANT, detail={"variant": variant})
                await other.rest.threads()
                kind = "shared" if variant == SECRETS else "new"
                runs.append(await _ask(probe, watcher, sockets[watcher.name], kind, number))
    return Outcome(act=ACT, users=(watcher.name, other.name), counts={"asked": len(runs), "answered": answered(runs)})


async def _ask(probe: Investigation, user: User, socket: Socket, kind: str, number: int) -> Run:
    """A long question in a thread of its own; its canary stands at the end, so that the beginnings can be equal."""
    begin = f"{probe.mark}-{kind}-{number}: where do I overspend? "
    question = (begin + "Consider every month by itself. " * (LENGTH // 32))[:LENGTH]
    return await user.ask(question, socket=socket, new_thread=True)
