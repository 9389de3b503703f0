"""What the doctor found, for a person at three in the morning and for a script."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from netra_probe.results.amounts import Amounts

WIDTH = 110


class Status(StrEnum):
    """How something is: fine, worth knowing, in the way, or not looked at."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "BROKEN"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was looked at: what, how it is, and what to do where it is not well."""

    subject: str
    status: Status
    text: str


@dataclass(frozen=True, kw_only=True)
class CaseCost:
    """A case that would not be decided, with the verdict that it would get and why."""

    id: str
    verdict: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """An examination.

    Arguments:
        lines: what was looked at, in order.
        identities: what sockets get bound to: ``token``, ``shared``, ``nobody``, ``mixed``, or "" when none opened.
        generators: client message → ``works``, ``acknowledged``, ``unfinished`` or ``silent``.
        dialect: shapes of envelopes → how many events came in them.
        missing: surfaces that the target does not give.
        costs: cases that would not be decided.
        made: what the doctor itself made, and what of it is left.
    """

    environment: str
    target: str
    mode: str
    lines: tuple[Line, ...]
    identities: str = ""
    generators: dict[str, str] = field(default_factory=dict)
    dialect: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    costs: tuple[CaseCost, ...] = ()
    cases: int = 0
    run: Amounts = field(default_factory=Amounts)
    made: Amounts = field(default_factory=Amounts)
    left: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether a run would have something to judge."""
        return not any(line.status is Status.BROKEN for line in self.lines)

    @property
    def exit_status(self) -> int:
        return 0 if self.ready else 3

    @property
    def headline(self) -> str:
        """The verdict, and the first reason."""
        if not self.ready:
            broken = next(line for line in self.lines if line.status is Status.BROKEN)
            return f"NOT READY: {broken.subject}: {broken.text}"
        notes = [line for line in self.lines if line.status is Status.NOTE]
        if self.mode == "observe":
            return "READY to be looked at: mode observe, so nothing was tried and most cases are not applicable"
        if not notes:
            return "READY"
        more = f" (and {len(notes) - 1} more to know)" if len(notes) > 1 else ""
        return f"READY, but {notes[0].subject}: {notes[0].text}{more}"

    def as_record(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "schema": 1,
            "ready": self.ready,
            "verdict": self.headline,
            "environment": self.environment,
            "target": self.target,
            "mode": self.mode,
            "checks": [{**asdict(line), "status": str(line.status).lower()} for line in self.lines],
            "identities": self.identities,
            "generators": self.generators,
            "dialect": self.dialect,
            "missing": list(self.missing),
            "cases": self.cases,
            "costs": [asdict(cost) for cost in self.costs],
            "run": asdict(self.run),
            "made": asdict(self.made),
            "left": list(self.left),
        }

    def text(self) -> str:
        """The same for a terminal: the verdict first."""
        widest = max((len(line.subject) for line in self.lines), default=0)
        parts = [*_wrapped(self.headline, ""), "", f"{self.environment} · {self.target} · mode {self.mode}", ""]
        for line in self.lines:
            parts += _wrapped(line.text, f"  {line.status!s:<8} {line.subject:<{widest}}  ")
        facts = [
            ("binds to", _IDENTITIES.get(self.identities, self.identities)),
            ("starts runs", ", ".join(f"{name} {how}" for name, how in self.generators.items())),
            ("speaks", ", ".join(f"{SHAPES.get(shape, shape)} ×{count}" for shape, count in self.dialect.items())),
            ("lacks", ", ".join(self.missing)),
        ]
        parts += ["", *(line for name, text in facts if text for line in _wrapped(text, f"  {name:<12}"))]
        parts += ["", *self._told_costs()]
        does = (
            f"A run of everything would make and try, estimated from the lab: {self.run}."
            if self.run
            else "A run would send nothing but reading."
        )
        parts += ["", *_wrapped(does, "")]
        done = f"The doctor made and tried: {self.made}." if self.made else "The doctor made nothing."
        gone = f" Left: {', '.join(self.left)}." if self.left else " Nothing of it is left." if self.made else ""
        return "\n".join([*parts, *_wrapped(done + gone, "")])

    def _told_costs(self) -> list[str]:
        if not self.costs:
            return [f"All {self.cases} cases can be decided."] if self.cases else []
        groups: dict[tuple[str, str], list[str]] = {}
        for cost in self.costs:
            groups.setdefault((cost.verdict, cost.reason), []).append(cost.id)
        lines = [f"{len(self.costs)} of {self.cases} cases would not be decided:"]
        for (verdict, reason), ids in groups.items():
            lines += _wrapped(f"{', '.join(_ranges(ids))}: {verdict}: {reason}", "  ")
        return lines


_IDENTITIES = {
    "token": "each socket to its token’s user",
    "shared": "sockets to an identity that is not the token’s: what one user gets, others may get",
    "nobody": "the welcome names nobody, so that only events can show it",
    "mixed": "some sockets to the token’s user, some to another identity",
}
SHAPES = {
    "payload": "{type, run_id, …, payload{}}",
    "data": "{type, …, data{}}",
    "flat": "{type, …flat}",
    "wrapped": "{type, data{event, …}}",
    "event_type": "{event_type, …, data{}}",
    "unknown": "an unknown shape",
}


def _ranges(ids: Sequence[str]) -> list[str]:
    """``A1.1 … A1.5`` for all that follow each other."""
    runs: list[list[str]] = []
    for id in ids:
        scenario, _, number = id.rpartition(".")
        last = runs[-1][-1].rpartition(".") if runs else None
        if last and last[0] == scenario and number.isdigit() and last[2].isdigit() and int(number) == int(last[2]) + 1:
            runs[-1].append(id)
        else:
            runs.append([id])
    return [run[0] if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]


def _wrapped(text: str, begin: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=begin, subsequent_indent=" " * len(begin), break_on_hyphens=False,
        break_long_words=False,
    ) or [begin]  # fmt: skip
