"""A red case as a ticket: Markdown that Jira, GitHub and Slack take, with headings, lists and code and nothing else."""

from __future__ import annotations

import html
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from netra_probe.checkers.findings import listing
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.checkers.verdict import CaseResult, Finding, Verdict, checker_name
from netra_probe.display.views import CaseView
from netra_probe.history.lines import line
from netra_probe.history.operation import Operation

#: Findings of a case that its ticket tells in full; operations of a finding that it lists.
MOST_FINDINGS, MOST_OPERATIONS = 5, 5


@dataclass(frozen=True, kw_only=True)
class Script:
    """The reproducer of a finding: its file in the run directory, or why there is none."""

    file: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One red case, told to somebody who was not there.

    Arguments:
        evidence: the run directory.
        scripts: the reproducer of each isolation finding, in their order; none where they are not written yet.
    """

    result: ScenarioResult
    case: CaseResult
    evidence: Path
    scripts: Sequence[Script] = ()

    @property
    def markdown(self) -> str:
        """The text of the ticket."""
        case, leaks = self.case, [finding for finding in self.case.findings if finding.is_isolation_failure]
        lines = [
            f"## {case.id} {str(case.verdict).upper()}: {_inline(case.reason)}",
            "",
            *self._facts(),
            "",
            *self._cause(),
            "",
        ]
        for number, finding in enumerate(leaks[:MOST_FINDINGS], start=1):
            script = self.scripts[number - 1] if number <= len(self.scripts) else None
            lines += [*self._finding(number, finding, script), ""]
        if len(leaks) > MOST_FINDINGS:
            lines += [f"… and {len(leaks) - MOST_FINDINGS} more findings in results.json.", ""]
        return "\n".join([*lines, *self._again(), ""])

    def _facts(self) -> list[str]:
        result, about = self.result, self.result.circumstances
        faults = f" {about.with_faults}" if about.faults else ""
        urls = ", ".join(f"{role} {url}" for role, url in about.urls)
        services = ", ".join(f"{name} {version}" for name, version in (*about.services, *about.versions))
        facts = {
            "When": f"{about.started} (UTC)" if about.started else "",
            "Where": f"{result.environment}{faults}{f': {urls}' if urls else ''}",
            "Versions": services,
            "Scenario": f"{result.id} {result.title}, case {self.case.id} {self.case.title}",
            "Run": f"{self.evidence.name}, seed {result.seed}, {about.users} users",
        }
        return [f"- **{name}:** {_inline(value)}" for name, value in facts.items() if value]

    def _finding(self, number: int, finding: Finding, script: Script | None) -> list[str]:
        lines = [f"### {number}. {checker_name(finding.checker)}: {finding.kind}", "", _inline(finding.summary), ""]
        if finding.victims:
            lines.append(f"- **Owner:** {', '.join(finding.victims)}")
        if finding.recipients:
            lines.append(f"- **Received by:** {', '.join(finding.recipients)}")
        lines += [f"- {_code(one)}" for one in _operations(finding)]
        lines += ["", "What happened:", ""]
        shown = {operation.index: operation for operation in self.result.witnesses}
        for step, index in enumerate(finding.witness, start=1):
            if (operation := shown.get(index)) is not None:
                lines.append(f"{step}. {self._clock(operation)}{_code(line(operation, finding.secrets))}")
        if script is not None:
            lines += ["", f"Reproducer: {_code(script.file)}" if script.file else _inline(script.reason).capitalize()]
        return lines

    def _clock(self, operation: Operation) -> str:
        """When a step was, by the clock of the run."""
        try:
            started = datetime.fromisoformat(self.result.circumstances.started)
        except ValueError:
            return ""
        return f"{started + timedelta(microseconds=operation.time / 1000):%H:%M:%S.%f}"[:-3] + " "

    def _cause(self) -> list[str]:
        told = CaseView(self.case, ()).causes()
        return (
            [f"**Likely cause.** {_inline(told[0])}", *(f"- {_inline(other)}" for other in told[1:3])] if told else []
        )

    def _again(self) -> list[str]:
        run = shlex.quote(str(self.evidence))
        lines = ["**Reproduce and recheck**", "", "```"]
        if not self.scripts or any(script.file for script in self.scripts):
            lines.append(f"netra-probe reproduce {run} {self.case.id}    # 1 still leaks, 0 fixed, 3 could not tell")
        lines += [f"netra-probe recheck {run}    # judges the recording again", "```", ""]
        return [
            *lines,
            f"Evidence: {_code(f'{self.evidence}')}: history/{self.result.id}.jsonl.gz, results.json, report.html",
        ]

    def __repr__(self) -> str:
        return self.markdown

    def _repr_html_(self) -> str:
        return f'<pre style="white-space:pre-wrap">{html.escape(self.markdown)}</pre>'


def tickets(
    result: ScenarioResult, evidence: Path, scripts: Mapping[str, Sequence[Script]] | None = None
) -> list[Ticket]:
    """A ticket for each red case of a scenario."""
    return [
        Ticket(result=result, case=case, evidence=evidence, scripts=(scripts or {}).get(case.id, ()))
        for case in result.cases
        if case.verdict is Verdict.FAIL
    ]


def _operations(finding: Finding) -> list[str]:
    """What there is to mend: its name, whose data came to whom and how often, and one example."""
    places = listing(finding)
    told = []
    for place in places[:MOST_OPERATIONS]:
        pairs = [
            f"{' → '.join(dict.fromkeys((pair.owner or 'nobody', pair.recipient or 'nobody')))} ×{pair.count}"
            for pair in place.pairs[:MOST_OPERATIONS]
        ]
        told.append(f"{place.operation}: {', '.join(pairs)}{', …' if len(place.pairs) > MOST_OPERATIONS else ''}")
    more = len(places) - MOST_OPERATIONS
    return told + [f"and {more} more in results.json"] * (more > 0)


def _code(text: str) -> str:
    """A text as code, in which nothing is markup."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _inline(text: str) -> str:
    """A text in which nothing is markup; an underscore within a word is none."""
    return " ".join(text.split()).replace("*", "\\*").replace("<", "&lt;")
