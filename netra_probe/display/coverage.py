"""Which requirement is covered by which notebook, and which faults are known to turn it red.

Made from the metadata of the notebooks, so that it cannot drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netra_probe.catalogue.scenarios import SCENARIOS, Scenarios, cases_by_id
from netra_probe.display.tables import Table
from netra_probe.display.views import View


@dataclass(frozen=True, kw_only=True, repr=False)
class Coverage(View):
    """One row for each case: its id, its title, what it claims, and faults of the lab that turn it red."""

    rows: tuple[tuple[str, str, str, str], ...]

    def _table(self) -> Table:
        return Table(
            caption=f"{len(self.rows)} cases in {len({row[0].partition('.')[0] for row in self.rows})} notebooks",
            headings=("case", "title", "claim", "caught faults"),
            rows=self.rows,
        )

    def text(self) -> str:
        return self._table().text()

    def html(self) -> str:
        return self._table().html()


def coverage(notebooks: Path | None = None) -> Coverage:
    """The cases of every notebook, as its metadata declares them."""
    cases = cases_by_id(Scenarios(notebooks) if notebooks else SCENARIOS)
    return Coverage(rows=tuple((id, case.title, case.claim, " ".join(case.faults)) for id, case in cases.items()))
