"""The outcome of a workload: what was done, by whom, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec

from netra_probe.checkers import Checker
from netra_probe.checkers.resources import ResourceChecker
from netra_probe.checkers.store import StoreChecker
from netra_probe.clients.component_process import Undecided
from netra_probe.display.controls import folded
from netra_probe.display.evidence import Acts
from netra_probe.history.operation import Operation

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


More = ParamSpec("More")
#: Why an act stops before its time: later connections would get what belongs to the run that has not ended.
SILENT = "a run never ended"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a workload; true when it could be done at all.

    Shown as ``Forged tokens (bob, alice): 11 endpoints, 674 presented, 674 rejected``: the same in every healthy run,
    because it has aliases and counts, and nothing that a clock or a target makes up.

    Arguments:
        title: of the workload; ``workload`` fills it in.
        users: aliases of those who acted.
        counts: how often what happened.
        missing: what the target does not offer, so that the workload was not run.
        broke: the exception that ended it early.
        seconds: how long each answer took, for a look at latencies; not shown.
        operations: gives what was recorded meanwhile; ``steps`` shows it.
    """

    title: str = ""
    users: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: str = ""
    broke: str = ""
    seconds: tuple[float, ...] = field(default=(), compare=False)
    operations: Callable[[], Iterable[Operation]] = field(default=tuple, compare=False)

    def __bool__(self) -> bool:
        return not (self.missing or self.broke)

    def __getitem__(self, name: str) -> Any:
        """One of the counts, to be expected: ``Undecided`` where the workload was not run.

        >>> Outcome(title="Two tabs", users=("bob",), missing="a connection")["copies"].reason
        'Two tabs was not run: a connection'
        """
        if not self:
            return Undecided(reason=f"{self.title} was not run: {self.missing or self.broke}")
        return self.counts[name]

    def steps(self, most: int = 60) -> Acts:
        """Who did what to whom, in which order, and what came of it; with times and ids, so for readers of this run.

        ``steps().kinds()`` sums it up: who did which operations, how, and on whose things.

        >>> (await workloads.trespass(probe, owner=alice, intruder=bob)).steps()   # doctest: +SKIP
        """
        return Acts(self.title, self.operations(), most=most)

    def __repr__(self) -> str:
        said = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        if self.missing:
            said = f"not run; missing: {self.missing}"
        elif self.broke:
            said = f"ended early ({self.broke})"
        return f"{self.title} ({', '.join(self.users)}): {said}" if self.users else f"{self.title}: {said}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook shows: no line is too long."""
        printer.text(folded(repr(self)))


def names(users: Iterable[User]) -> tuple[str, ...]:
    """The aliases of users."""
    return tuple(user.name for user in users)


def cut_short(probe: Investigation, act: str, *, done: int, planned: int, why: str, unit: str = "rounds") -> None:
    """Note that an act did less than planned, if it did: what was not done bounds what its case can say."""
    if done < planned:
        probe.notes.limit(f"{act}: {done} of {planned} {unit} were done: {why}")


_SURFACES: dict[str, frozenset[str]] = {
    StoreChecker.id: frozenset({"database", "cache"}),
    ResourceChecker.id: frozenset({"database", "cache", "operator"}),
}


def applicable_checkers(probe: Investigation, *checkers: Checker) -> list[Checker]:
    """Those of the checkers whose evidence this target lends, or all of them where it lends none of it.

    >>> probe.check("A1.1", *applicable_checkers(probe, tokens(), store()))   # doctest: +SKIP

    A case that is judged by what users see, and by the stores as well where one may look, is then judged everywhere;
    one that only the stores could answer stays inconclusive without them.
    """
    surfaces = probe.target.surfaces
    seen = [checker for checker in checkers if not (needed := _SURFACES.get(checker.id)) or needed & surfaces]
    return seen or list(checkers)
