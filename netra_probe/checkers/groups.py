"""Equal findings are one finding with a count: grouped by kind, victim, recipient and surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netra_probe.checkers.roster import times
from netra_probe.verdict import Finding


@dataclass(slots=True)
class Group:
    """How often, and the operations that show the first."""

    witness: tuple[int, ...]
    explanation: str
    count: int = 1
    notes: set[str] = field(default_factory=set)


class Groups:
    """The findings of one checker; memory is one entry per kind, victim, recipient and surface.

    >>> found = Groups("C1", {"leak": "{recipient} received the secret of {victim} over {surface}"})
    >>> for _ in range(2):
    ...     if not found.again("leak", "alice", "bob", "rest"):
    ...         found.first("leak", "alice", "bob", "rest", (3, 5), "Let …: a contradiction.")
    >>> [finding.summary for finding in found.findings()]
    ['bob received the secret of alice over rest (2 times)']
    """

    def __init__(self, checker: str, summaries: Mapping[str, str]) -> None:
        self._checker = checker
        self._summaries = summaries
        self._groups: dict[tuple[str, str, str, str], Group] = {}

    def again(self, kind: str, victim: str, recipient: str, surface: str, note: str = "", count: int = 1) -> bool:
        """Count one more of a known group; false where it is the first, which is then to be explained."""
        group = self._groups.get((kind, victim, recipient, surface))
        if group is None:
            return False
        group.count += count
        if note:
            group.notes.add(note)
        return True

    def first(
        self,
        kind: str,
        victim: str,
        recipient: str,
        surface: str,
        witness: tuple[int, ...],
        explanation: str,
        note: str = "",
        count: int = 1,
    ) -> None:
        """The first of a group; "" for a victim or a recipient says that there is none."""
        self._groups[kind, victim, recipient, surface] = Group(witness, explanation, count, {note} if note else set())

    def findings(self) -> tuple[Finding, ...]:
        """All of them, sorted; where something was only seen in disguise, the summary says so."""
        return tuple(
            Finding(
                checker=self._checker,
                kind=kind,
                summary=self._summary(kind, victim, recipient, surface, group),
                victims=(victim,) if victim else (),
                recipients=(recipient,) if recipient else (),
                surface=surface,
                witness=group.witness,
                explanation=group.explanation,
            )
            for (kind, victim, recipient, surface), group in sorted(self._groups.items(), key=lambda item: item[0])
        )

    def _summary(self, kind: str, victim: str, recipient: str, surface: str, group: Group) -> str:
        """The sentence of the kind, or of all kinds without one of their own (kept under "")."""
        sentence = self._summaries[kind if kind in self._summaries else ""]
        what = kind.removeprefix("foreign ")
        count = ", ".join((times(group.count, "time"), *sorted(group.notes)))
        return f"{sentence.format(what=what, victim=victim, recipient=recipient, surface=surface)} ({count})"
