"""What the backends say of their agents while users ask, as far as an operator may see it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.component_process import Undecided
from netra_probe.plans.tabs import answered, long_question, tabs, until_run_begins

if TYPE_CHECKING:
    from netra_probe.clients.agent import Run
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

PATH = "/lab/state"
POLL = 0.05
ATTEMPTS = 4  # until the counts were read while all runs were at work


@dataclass(frozen=True, kw_only=True)
class AgentCounts:
    """The counts of all backends together, before anybody asked, while all runs were at work, and after the last.

    Arguments:
        asked, answered: the runs that were begun, and those that came to their end.
        unseen: why nothing is known.
    """

    before: Mapping[str, int]
    during: Mapping[str, int]
    after: Mapping[str, int]
    asked: int
    answered: int
    unseen: str = ""

    def risen(self, name: str) -> Any:
        """By how much a count was higher while all runs were at work."""
        return Undecided(reason=self.unseen) if self.unseen else self.during.get(name, 0) - self.before.get(name, 0)

    def left(self, name: str) -> Any:
        """By how much it was still higher when all had ended."""
        return Undecided(reason=self.unseen) if self.unseen else self.after.get(name, 0) - self.before.get(name, 0)


async def count_agents(probe: Investigation, users: Sequence[User] = ()) -> AgentCounts:
    """Everybody asks at once, nobody else meanwhile; the counts are read when all runs have begun and none has ended.

    Counts that show everybody's run were read in time. Where they do not, and a run may have ended before they were
    read, everybody asks again: a target that always answers faster than it can be asked leaves it undecided.
    """
    party = list(users) or probe.users
    # Others' runs would be counted as well.
    await probe.turn.alone()
    try:
        for _ in range(ATTEMPTS):
            before, during, runs, was_early = await _counted_in_the_middle(probe, party)
            was_early |= all(during[name] - before[name] == len(party) for name in ("runs", "users"))
            if was_early or not before:
                break
        after = await _counts(probe)
        patience = time.monotonic() + probe.timeouts.release
        # The last event of a run is sent a moment before the run is over.
        while after.get("runs", 0) > before.get("runs", 0) and time.monotonic() < patience:
            await asyncio.sleep(POLL)
            after = await _counts(probe)
    finally:
        await probe.turn.measured()
    unseen = "" if before else f"no backend shows the counts of its agents at {PATH}"
    if not unseen and not was_early:
        unseen = "a run had ended before the counts were read"
    return AgentCounts(
        before=before, during=during, after=after, asked=len(runs), answered=answered(runs), unseen=unseen
    )


async def _counted_in_the_middle(
    probe: Investigation, party: Sequence[User]
) -> tuple[Counter[str], Counter[str], list[Run], bool]:
    """The counts before and in the middle of everybody's runs, the runs, and whether all were still at work then."""
    before = await _counts(probe)
    async with tabs(party) as sockets:
        asking = [
            asyncio.ensure_future(user.ask(long_question(), socket=sockets[user.name], new_thread=True))
            for user in party
            if user.name in sockets
        ]
        await asyncio.gather(*(until_run_begins(probe, socket) for socket in sockets.values()))
        during = await _counts(probe)
        await asyncio.gather(*(socket.fence() for socket in sockets.values()))
        was_early = bool(asking) and not any(one.done() for one in asking)
        return before, during, await asyncio.gather(*asking), was_early


async def _counts(probe: Investigation) -> Counter[str]:
    found: Counter[str] = Counter()
    for state in await probe.together(_state(probe, url) for url in probe.target.operator_urls):
        agents = state.get("agents") if isinstance(state, dict) else None
        if isinstance(agents, dict):
            found.update({name: count for name, count in agents.items() if isinstance(count, int)})
    return found


async def _state(probe: Investigation, url: str) -> Any:
    token = probe.target.secret("operator_token")
    http = probe.wire.http(url, surface="operator")
    try:
        reply = await http.request(
            "GET", PATH, anonymous=True, headers={"X-Lab-Operator": token.reveal()} if token else {}
        )
    finally:
        await http.close()
    return getattr(reply, "body", None)
