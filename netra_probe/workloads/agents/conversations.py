"""One user has two conversations at once: what belongs to the one must not come into the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.clients.agent import Run
from netra_probe.plans.tabs import QUESTION, answered, long_question, tab, until_run_begins
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.clients.websocket import Socket
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


@workload(answers="two conversations")
async def two_conversations(probe: Investigation, user: User, *, rounds: int = 1) -> Outcome:
    """One user asks in one thread and, before the answer is there, in another one; then reads both.

    Over one connection, as who changes the conversation does, and over two, as who has two tabs. A place that knows
    only one current conversation for a user or a connection mixes them up (fault X7).
    """
    runs: list[Run] = []
    threads = [await user.new_thread() for _ in range(2)]
    async with tab(user) as one, tab(user) as other:
        if one is None or other is None or not all(threads):
            return Outcome(act="two_conversations", users=(user.name,), missing="threads and a connection")
        for _ in range(rounds):
            for second in (one, other):
                runs += await _overlapping(probe, user, threads, (one, second))
    read = sum([bool(await user.rest.messages(thread)) for thread in threads])
    return Outcome(
        act="two_conversations",
        users=(user.name,),
        counts={"asked": len(runs), "answered": answered(runs), "read": read},
    )


async def _overlapping(
    probe: Investigation, user: User, threads: list[str], sockets: tuple[Socket, Socket]
) -> list[Run]:
    """A long question in the first thread, and a short one in the second as soon as the first one's run has begun."""
    start = len(sockets[0].received)
    first = probe.start([user.ask(long_question(), socket=sockets[0], thread=threads[0])])
    await until_run_begins(probe, sockets[0], start=start, thread=threads[0])
    second = await user.ask(QUESTION, socket=sockets[1], thread=threads[1])
    return [*await first, second]
