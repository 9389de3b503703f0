"""Systematic combination: everything that a target offers, by everybody, in every way that a budget pays for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from netra_probe.checkers.coverage import OUTCOMES, REACHED, REFUSED, Steps
from netra_probe.display.tables import Table
from netra_probe.display.views import View
from netra_probe.plans.budget import Budget
from netra_probe.plans.executor import Executor
from netra_probe.plans.explorer import Exploration
from netra_probe.plans.steps import Plan, Step
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Requests of the default budget.
REQUESTS = 500
#: Seconds after which no step is begun, for each thousand requests of the budget.
SECONDS_EACH_THOUSAND = 300.0
#: Parts of an exploration that are shown, done and judged by themselves.
FAMILIES: dict[str, Callable[[Step], bool]] = {
    "reads": lambda step: step.surface != "websocket" and not step.role.has_effect,
    "writes": lambda step: step.surface != "websocket" and step.role.has_effect,
    "sockets": lambda step: step.surface == "websocket",
}
_TITLES = {
    "reads": "Combinations that read",
    "writes": "Combinations that write",
    "sockets": "Combinations over sockets",
}


class Explorer(View):
    """A plan of everything that the budget pays for, family by family, and what carries it out.

    >>> explorer = await workloads.explorer(probe, owner=alice, other=bob, budget=500)    # doctest: +SKIP
    >>> explorer.plan("reads")[:5]                                                        # doctest: +SKIP
    >>> await workloads.take(probe, explorer, "reads")                                    # doctest: +SKIP
    """

    def __init__(self, executor: Executor, exploration: Exploration) -> None:
        self.executor = executor
        self.exploration = exploration
        self.taken: set[str] = set()

    def plan(self, family: str = "") -> Plan:
        """The steps of a family, or all of them."""
        return self.exploration.plan.where(FAMILIES[family]) if family else self.exploration.plan

    def steps(self, family: str, number: int) -> Plan:
        """Some steps of a family, spread over all of it: enough to see what is done."""
        plan = self.plan(family)
        apart = max(1, len(plan) // number)
        return Plan(plan.steps[apart // 2 :: apart][:number], seed=plan.seed)

    def table(self) -> Table:
        """One row a family: how many steps of whom, and what they cost."""
        rows = []
        for name in FAMILIES:
            plan = self.plan(name)
            left = sum(map(FAMILIES[name], self.exploration.left_out))
            operations = len({step.operation for step in plan})
            foreign = sum(not step.principal.is_owner for step in plan)
            rows.append((name, *map(str, (operations, len(plan), foreign, plan.cost, left))))
        return Table(
            caption=f"Seed {self.exploration.plan.seed}, mode {self.exploration.plan.mode}: "
            f"{len(self.plan())} steps for about {self.plan().cost} requests",
            headings=(
                "family",
                "operations",
                "steps",
                "by others",
                "requests",
                "left out by budget",
            ),
            rows=rows,
            numeric=frozenset(range(1, 6)),
        )

    def text(self) -> str:
        return self.table().text()

    def html(self) -> str:
        return self.table().html()


class Taken(View):
    """A plan that was carried out: who did what, and beside each step what became of it.

    Arguments:
        plan: its steps, in the order in which they were taken.
        outcomes: by the id of a step.
    """

    def __init__(self, plan: Plan, outcomes: Mapping[str, str]) -> None:
        self.plan = plan
        self.outcomes = outcomes

    def __bool__(self) -> bool:
        return any(outcome in (REACHED, REFUSED) for outcome in self.outcomes.values())

    def table(self) -> Table:
        """One row a step."""
        rows = [
            (
                str(number),
                str(step.principal),
                step.operation,
                ", ".join(step.how) or "–",
                self.outcomes.get(step.id, "–"),
            )
            for number, step in enumerate(self.plan, start=1)
        ]
        counts = Counter(self.outcomes.values())
        told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
        return Table(
            caption=f"{len(self.plan)} steps: {told or 'none taken'}",
            headings=("step", "who", "does", "how", "outcome"),
            rows=rows,
            numeric=frozenset({0}),
        )

    def text(self) -> str:
        return self.table().text()

    def html(self) -> str:
        return self.table().html()


@workload(Mode.ATTACK, "acting on other users' objects")
async def carry_out(probe: Investigation, plan: Plan, *, owner: User, other: User) -> Taken | Outcome:
    """Carry out a plan as it stands, and show what became of each step.

    >>> plan = Plan((Step(operation="tool thread_lookup", role=Role.READ, principal=Principal.OTHER,
    ...                   place=Place.ARGUMENT),), seed=7)
    >>> await carry_out(probe, plan, owner=alice, other=bob)   # doctest: +SKIP
    1 steps: 1 refused
    step  who         does                how                outcome
    ────  ──────────  ──────────────────  ─────────────────  ───────
       1  other user  tool thread_lookup  tool argument: id  refused
    """
    executor = await Executor.on(probe, owner=owner, other=other, budget=Budget())
    start = len(probe.history)
    try:
        await executor.carry_out(plan)
    finally:
        await executor.close()
    steps = Steps()
    for operation in probe.recorded():
        if operation.index >= start:
            steps.feed(operation)
    return Taken(plan, steps.outcomes)


@workload(Mode.PROBE, "exploring combinations", title="Systematic combinations")
async def explorer(probe: Investigation, *, owner: User, other: User, budget: int = REQUESTS) -> Explorer | Outcome:
    """Plan operations × principals × credentials × places × timing × listeners, as far as the budget pays.

    Planned again it goes on where it stopped.

    Arguments:
        owner: whose objects are attacked, by ``other``, without a user, and by whoever else is available.
        budget: requests, messages and handshakes in all.
    """
    executor = await Executor.on(probe, owner=owner, other=other, budget=budget_of(budget))
    return Explorer(executor, await executor.explore())


@workload(Mode.PROBE, "exploring combinations")
async def take(probe: Investigation, planned: Explorer | Outcome, family: str) -> Outcome:
    """Carry out one family of a plan; what became of each step is in the coverage of the run.

    >>> await take(probe, explorer, "reads")   # doctest: +SKIP
    Combinations that read (alice, bob): 24 operations, 130 steps, 900 skipped (request limit)
    """
    if isinstance(planned, Outcome):
        return planned
    world, plan = planned.executor.world, planned.plan(family)
    people = (world.owner.name, world.other.name)
    try:
        await planned.executor.carry_out(planned.exploration.only(plan))
    finally:
        planned.taken.add(family)
        if planned.taken >= FAMILIES.keys():
            await planned.executor.close()
    title = _TITLES[family]
    if not len(plan):
        return Outcome(title=title, users=people, missing="combinations that the budget pays for")
    counts = {"operations": len({step.operation for step in plan}), "steps": len(plan)}
    if left := sum(map(FAMILIES[family], planned.exploration.left_out)):
        counts["skipped (request limit)"] = left
    return Outcome(title=title, users=people, counts=counts)


@workload(Mode.PROBE, "exploring combinations", title="Systematic combinations")
async def explore(probe: Investigation, *, owner: User, other: User, budget: int = REQUESTS) -> Outcome:
    """Plan what the budget pays for, and do all of it.

    >>> await explore(probe, owner=alice, other=bob)   # doctest: +SKIP
    Systematic combinations (alice, bob): 46 operations, 210 steps, 2000 skipped (request limit)
    """
    planned = await explorer(probe, owner=owner, other=other, budget=budget)
    if isinstance(planned, Outcome):
        return planned
    plan = planned.plan()
    try:
        await planned.executor.carry_out(planned.exploration)
    finally:
        await planned.executor.close()
    if not len(plan):
        return Outcome(users=(owner.name, other.name), missing="combinations that are not tried already")
    counts = {"operations": len({step.operation for step in plan}), "steps": len(plan)}
    if planned.exploration.left_out:
        counts["skipped (request limit)"] = len(planned.exploration.left_out)
    return Outcome(users=(owner.name, other.name), counts=counts)


def budget_of(requests: int) -> Budget:
    """A budget of so many requests, and of the seconds that go with it."""
    return Budget(requests=requests, seconds=max(120.0, requests / 1000 * SECONDS_EACH_THOUSAND))
