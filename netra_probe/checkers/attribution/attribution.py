"""Attribution: from what was found, and how, to the faults of the catalogue that look like that.

Each clue is a row of the catalogue's table "Telling look-alikes apart", or what only one fault does. Clues that hold
give points to the faults they speak for and take them from those they speak against; faults with equal points are one
group: "X2 or P1" is an honest answer, and says which experiment would come next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from netra_probe.checkers.attribution.features import Features, measure
from netra_probe.checkers.attribution.rules import CAUGHT_BY, RULES
from netra_probe.checkers.base import Window
from netra_probe.checkers.verdict import Finding
from netra_probe.history.operation import Operation

#: Faults with fewer points than this share of the first group's are not worth naming.
WORTH_NAMING = 0.5
#: Nor are those that only something faint speaks for.
FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class Group:
    """Faults that the evidence does not tell apart, with what speaks for them."""

    faults: tuple[str, ...]
    reasons: tuple[str, ...]
    points: int = field(compare=False, default=0)

    def __str__(self) -> str:
        return f"{' or '.join(self.faults)}: {'; '.join(self.reasons)}"


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """The groups of faults that explain the findings, likeliest first."""

    groups: tuple[Group, ...] = ()
    #: All that was seen had come to who saw it before: what was found is what is left of an earlier case.
    echo: bool = False

    @property
    def ranked(self) -> tuple[str, ...]:
        """All faults that are named, likeliest first."""
        return tuple(fault for group in self.groups for fault in group.faults)

    def of(self, finding: Finding) -> tuple[str, ...]:
        """The faults that could be behind this one finding: those that its checker is able to see."""
        able = tuple(fault for fault in self.ranked if finding.checker in CAUGHT_BY[fault])
        return able or self.ranked

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __str__(self) -> str:
        return "\n".join(map(str, self.groups)) or "nothing in the catalogue looks like this"


def attribute(
    findings: Sequence[Finding], operations: Iterable[Operation], window: Window | None = None
) -> Attribution:
    """The ranked groups of catalogue faults that explain the findings.

    Arguments:
        findings: of all checkers, over one window.
        operations: the history they were found in.
        window: the window they were found in.

    One pass over the history, linear in its size.
    """
    serious = [finding for finding in findings if finding.severity == "isolation"] or list(findings)
    if not serious:
        return Attribution()
    return weigh(measure(serious, operations, window))


def weigh(circumstances: Features) -> Attribution:
    """The groups that follow from measured circumstances."""
    points: dict[str, int] = defaultdict(int)
    reasons: dict[str, list[str]] = defaultdict(list)
    seen_by = {checker for checker, _ in circumstances.kinds}
    for clue in RULES:
        if not clue.holds(circumstances):
            continue
        for fault, weight in clue.points.items():
            points[fault] += weight
            if weight > 0:
                reasons[fault].append(clue.says)
    able = {fault: points[fault] for fault in points if points[fault] > 0 and seen_by & CAUGHT_BY[fault]}
    best = max(able.values(), default=0)
    groups = []
    for score in sorted(set(able.values()), reverse=True):
        if score < max(best * WORTH_NAMING, FEWEST):
            break
        faults = tuple(sorted(fault for fault, reached in able.items() if reached == score))
        said = dict.fromkeys(reason for fault in faults for reason in reasons[fault])
        groups.append(Group(faults=faults, reasons=tuple(said), points=score))
    return Attribution(groups=tuple(groups), echo=circumstances.echo)


def attributed(findings: Sequence[Finding], attribution: Attribution) -> tuple[Finding, ...]:
    """The findings with the faults that could be behind each of them."""
    return tuple(
        replace(finding, attribution=attribution.of(finding)) if finding.is_isolation_failure else finding
        for finding in findings
    )
