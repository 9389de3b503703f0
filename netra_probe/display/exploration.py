"""What an exploration has tried, and what it has not: where nobody looked, finding nothing says nothing."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from netra_probe.checkers.coverage import DIMENSIONS, REACHED, REFUSED
from netra_probe.display.tables import Table, first_of
from netra_probe.display.views import View

NOTHING = "Nothing was explored systematically"
#: Names of operations that are listed before the rest is counted.
MOST_NAMED = 12


class NotTried(View):
    """The coverage of a scenario (``checkers.coverage``) in words and as a table of values.

    Arguments:
        record: the coverage; empty where nothing was explored.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record

    @property
    def explored(self) -> bool:
        """Whether combinations were planned; else there is only what a walk has not sent."""
        return bool(self.record) and any(self.record["steps"].values())

    @property
    def headline(self) -> str:
        """How much was tried, in a sentence."""
        if not self.explored:
            return NOTHING
        steps, pairs = self.record["steps"], self.record["pairs"]
        tried = steps[REACHED] + steps[REFUSED]
        told = f"{tried} combinations tried: {steps[REACHED]} reached, {steps[REFUSED]} refused"
        others = {name: number for name, number in steps.items() if number and name not in (REACHED, REFUSED)}
        more = ", ".join(f"{number} {name}" for name, number in others.items())
        share = f"{pairs['covered']} of {pairs['possible']} pairs of values covered" if pairs["possible"] else ""
        return "; ".join(filter(None, (told, more, share)))

    @property
    def lines(self) -> list[str]:
        """What was not tried, a line each."""
        operations = self.record["operations"]
        lines = []
        if names := operations["not tried"]:
            lines.append(f"operations not tried: {first_of(names, MOST_NAMED)}")
        by_reason: dict[str, list[str]] = {}
        for name, why in operations["withheld"].items():
            by_reason.setdefault(str(why), []).append(str(name))
        lines += [
            f"operations not sent, {why}: {first_of(names, MOST_NAMED)}" for why, names in sorted(by_reason.items())
        ]
        for entry in self.record["impossible"]:
            value = f"{entry['value']}: " if entry.get("value") else ""
            where = f"{entry['operations']} operations, such as {entry['example']}"
            lines.append(f"impossible, {value}{entry['why']} ({where})")
        unheard = [
            f"{name} “{value}”"
            for name in DIMENSIONS
            for value, counts in self.record["dimensions"].get(name, {}).items()
            if not counts.get(REACHED) and not counts.get(REFUSED)
        ]
        if unheard:
            lines.append(f"values that no step was tried with: {', '.join(unheard)}")
        lines += [f"not searched: {what}" for what in self.record["not searched"]]
        return lines

    def table(self) -> Table:
        """For each value of each dimension what became of its steps."""
        columns = list(self.record["steps"])
        rows = [
            (name, value, *(str(counts.get(column, 0)) for column in columns))
            for name in DIMENSIONS
            for value, counts in self.record["dimensions"].get(name, {}).items()
        ]
        return Table(
            caption=f"{self.headline}.",
            headings=("dimension", "value", *columns),
            rows=rows,
            numeric=frozenset(range(2, 2 + len(columns))),
        )

    def text(self) -> str:
        if not self.record:
            return f"{NOTHING}."
        head = self.table().text() if self.explored else f"{NOTHING}."
        return "\n".join([head, "Not tried:", *(f"  {line}" for line in self.lines or ["–"])])

    def html(self) -> str:
        if not self.record:
            return f"<p>{NOTHING}.</p>"
        items = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines)
        head = self.table().html() if self.explored else f"<p>{NOTHING}.</p>"
        return f"{head}<p><b>Not tried</b></p><ul>{items}</ul>"
