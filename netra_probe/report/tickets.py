"""The tickets of a run, with its reproducers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from netra_probe.checkers.judging import ScenarioResult
from netra_probe.display.ticket import Script, tickets
from netra_probe.report.reproducers.writing import authors_of, read_index
from netra_probe.results.runs import Run


def tickets_of(run: Run, judged: Mapping[str, ScenarioResult] | None = None) -> dict[str, str]:
    """The ticket of each red case, by its id.

    Arguments:
        judged: the scenarios as they were just judged; red ones are judged again where they are not in it.
    """
    scripts: dict[str, list[Script]] = defaultdict(list)
    for one in sorted(read_index(run), key=lambda one: one.number):
        scripts[one.case].append(Script(file=one.best, reason=one.reason))
    return {
        ticket.case.id: ticket.markdown
        for author in authors_of(run, judged)
        for ticket in tickets(author.result, run.path, scripts)
    }
