"""Which requirement is covered by which notebook, and by what it is known to go red.

Made from the notebooks themselves and from what detection runs have shown, so that it cannot drift.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from netra_probe.display.tables import Table
from netra_probe.display.views import View
from netra_probe.parameters import folder
from netra_probe.proof import PROOF
from netra_probe.requirements import SCENARIOS

_CASE = re.compile(r"^## (?P<id>[A-Z]\d+[a-j]?\.\d+) (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, repr=False)
class Coverage(View):
    """One row a case: its id, what it does, what it claims, and faults of the lab that turn it red."""

    rows: tuple[tuple[str, str, str, str], ...]

    def _table(self) -> Table:
        return Table(
            caption=f"{len(self.rows)} cases in {len({row[0].partition('.')[0] for row in self.rows})} notebook(s)",
            headings=("case", "what is done", "what is claimed", "red with"),
            rows=self.rows,
        )

    def text(self) -> str:
        return self._table().text()

    def html(self) -> str:
        return self._table().html()


def coverage(notebooks: Path | None = None) -> Coverage:
    """The cases of every notebook, read from their headings."""
    rows = []
    for path in sorted((notebooks or folder("notebooks")).glob("[A-Z]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        for match in _CASE.finditer(text):
            scenario = SCENARIOS.get(match["id"].partition(".")[0])
            red = " ".join(PROOF.get(match["id"], ()))
            rows.append((match["id"], match["title"], scenario.claim(match["id"]) if scenario else "", red))
    return Coverage(rows=tuple(rows))
