"""Systematic combination: everything that a target offers, by everybody, in every way that a budget pays for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.checkers.coverage import coverage
from netra_probe.investigation.permissions import permit
from netra_probe.plans.budget import Budget
from netra_probe.plans.executor import Executor
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Requests of the default budget.
REQUESTS = 500
#: Seconds after which no step is begun, for each thousand requests of the budget.
SECONDS_EACH_THOUSAND = 300.0


async def explore(probe: Investigation, *, owner: User, other: User, budget: int = REQUESTS) -> Outcome:
    """Plan what the budget pays for, and do it: operations × principals × credentials × places × timing × listeners.

    >>> await explore(probe, owner=alice, other=bob)   # doctest: +SKIP
    <explore of alice, bob: steps 210, reached 60, refused 150>

    Every combination that was left out, and why, is in the coverage of the run. Done again it goes on where it stopped.

    Arguments:
        budget: requests, messages and handshakes in all.
    """
    permit(probe, Mode.PROBE, "acting as users")
    executor = await Executor.on(probe, owner=owner, other=other, budget=budget_of(budget))
    start = len(probe.history)
    try:
        exploration = await executor.explore()
        await executor.carry_out(exploration)
    finally:
        await executor.close()
    done = coverage(operation for operation in probe.recorded() if operation.index >= start)
    if not len(exploration.plan) or not done:
        return Outcome(act="explore", users=(owner.name, other.name), missing="combinations that are not tried already")
    counts = {"steps": len(exploration.plan), **{name: count for name, count in done["steps"].items() if count}}
    return Outcome(act="explore", users=(owner.name, other.name), counts=counts)


def budget_of(requests: int) -> Budget:
    """A budget of so many requests, and of the seconds that go with it."""
    return Budget(requests=requests, seconds=max(120.0, requests / 1000 * SECONDS_EACH_THOUSAND))
