"""Which requirement is covered by which notebook, which faults are known to turn it red, and what these faults are.

Made from the metadata of the notebooks and from the faults of the lab, so that it cannot drift.
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Mapping
from dataclasses import dataclass

from netra_probe import lab
from netra_probe.catalogue.scenarios import SCENARIOS, cases_by_id, scenario_of
from netra_probe.checkers.verdict import checker_name
from netra_probe.display.tables import Table
from netra_probe.display.views import View


@dataclass(frozen=True, kw_only=True, repr=False)
class Coverage(View):
    """One row for each case: its id, its title, what it claims, and faults of the lab that turn it red; folded in HTML.

    Arguments:
        environments: where scenarios have been run; a column each, with the last verdict on the case's scenario.
    """

    rows: tuple[tuple[str, ...], ...]
    environments: tuple[str, ...] = ()

    @property
    def _caption(self) -> str:
        return f"{len(self.rows)} cases in {len({scenario_of(row[0]) for row in self.rows})} notebooks"

    def _table(self) -> Table:
        headings = ("case", "title", "claim", "caught faults", *self.environments)
        return Table(caption=self._caption, headings=headings, rows=self.rows)

    def text(self) -> str:
        return self._table().text()

    def html(self) -> str:
        return f"<details><summary>{self._caption}</summary>{self._table().html()}</details>"


def coverage(verdicts: Mapping[str, Mapping[str, str]] | None = None) -> Coverage:
    """The cases of every notebook, as its metadata declares them.

    Arguments:
        verdicts: scenario → environment → last verdict, as ``results.compare.last_verdicts`` finds them.
    """
    known = verdicts or {}
    environments = tuple(sorted({environment for found in known.values() for environment in found}))

    def last(case: str) -> tuple[str, ...]:
        return tuple(known.get(scenario_of(case), {}).get(environment, "–") for environment in environments)

    rows = (
        (id, case.title, case.claim, " ".join(case.faults), *last(id)) for id, case in cases_by_id(SCENARIOS).items()
    )
    return Coverage(rows=tuple(rows), environments=environments)


@dataclass(frozen=True, kw_only=True, repr=False)
class FaultSection:
    """One fault of the lab.

    Arguments:
        layer: the part of the platform it is in.
        story: what it does, and the incident it is modelled on where there is one.
        facts: what it is triggered by, what one sees of it, and who catches it: name → text.
        cases: those that declare it, and are red on it.
    """

    id: str
    title: str
    layer: str
    story: str
    facts: tuple[tuple[str, str], ...]
    cases: tuple[str, ...]

    @property
    def command(self) -> str:
        """How to see it red."""
        return f"netra-probe run {self.cases[0]} --fault {self.id}" if self.cases else ""


@dataclass(frozen=True, kw_only=True, repr=False)
class FaultSections(View):
    """A section for each fault, under the layer of the platform that it is in; folded up in HTML."""

    sections: tuple[FaultSection, ...]

    def text(self) -> str:
        return "\n\n".join(
            "\n".join(
                [
                    f"{one.id} {one.title} ({one.layer})",
                    one.story,
                    *(f"{name}: {text}" for name, text in one.facts),
                    f"red: {' '.join(one.cases)}",
                    one.command,
                ]
            )
            for one in self.sections
        )

    def html(self) -> str:
        told = []
        for layer in dict.fromkeys(one.layer for one in self.sections):
            here = [one for one in self.sections if one.layer == layer]
            told.append(f"<h3>{html.escape(layer.capitalize())} ({len(here)})</h3>")
            for one in here:
                facts = "".join(f"<li>{html.escape(f'{name}: {text}')}</li>" for name, text in one.facts)
                told.append(
                    f"<details><summary><b>{html.escape(one.id)}</b> {html.escape(one.title)}</summary>"
                    f"<p>{html.escape(one.story)}</p><ul>{facts}<li>cases that are red: {' '.join(one.cases)}</li></ul>"
                    f"<pre>{html.escape(one.command)}</pre></details>"
                )
        return "".join(told)


def fault_sections() -> FaultSections:
    """Every published fault and component fault, with the cases that declare it."""
    cases = cases_by_id(SCENARIOS).values()
    found = []
    for id, fault in sorted(lab.known_faults(kinds=("defect", "component")).items()):
        story = " ".join(inspect.cleandoc(fault.__doc__ or "").removeprefix(f"{id}: ").split())
        facts = {"breaks": fault.breaks, "trigger": fault.trigger, "symptom": fault.symptom}
        facts["caught by"] = ", ".join(map(checker_name, fault.checkers))
        found.append(
            FaultSection(
                id=id,
                title=fault.title,
                layer=fault.layer,
                story=story,
                facts=tuple((name, text) for name, text in facts.items() if text),
                cases=tuple(case.id for case in cases if id in case.faults),
            )
        )
    return FaultSections(sections=tuple(sorted(found, key=lambda one: (one.layer, one.id))))
