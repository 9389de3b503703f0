"""What the verbs of an investigation show: text for the contract, HTML for the eye, and the verdict as data."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netra_probe.catalogue.folders import folder
from netra_probe.checkers.attribution.causes import causes
from netra_probe.checkers.findings import listing, shown, told_by
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.checkers.verdict import CaseResult, Confidence, Finding, Pair, Verdict, checker_name, issues
from netra_probe.display.causes import causes_told, explained, faults_of_group, next_steps, story
from netra_probe.display.controls import COLUMNS, folded, visible
from netra_probe.display.standing import standing
from netra_probe.display.tables import Table, badge
from netra_probe.display.witness import Conversation
from netra_probe.history.operation import Operation

#: MIME type under which a notebook carries its verdict, so that any executed notebook can be harvested.
VERDICT_MIME = "application/vnd.netra-probe.verdict+json"
#: What findings of hygiene stand under: they are no leaks, and leave the verdict as it is.
HYGIENE = "Hygiene issues beside the verdict, not leaks:"

ECHO = "all of this had come to those who see it before this case: look for the cause in an earlier one"


class View:
    """Something to look at; ``text`` is what it says, and all that it says."""

    def text(self) -> str:
        raise NotImplementedError

    def html(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return folded(visible(self.text()))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        # JupyterLab and terminals obey escape sequences in plain text, and browsers what turns a line around.
        return {"text/plain": folded(visible(self.text())), "text/html": visible(self.html())}


class CaseView(View):
    """The verdict on one case: what was claimed, what was seen, and for each finding its witness."""

    def __init__(self, result: CaseResult, history: Iterable[Operation]) -> None:
        self.result = result
        wanted = {index for finding in result.findings for index in told_by(finding)}
        self._shown = {operation.index: operation for operation in history if operation.index in wanted}

    @property
    def verdict(self) -> Verdict:
        return self.result.verdict

    def text(self) -> str:
        result = self.result
        lines = [f"{str(result.verdict).upper()}  {result.id} {result.heading}", *_wrapped(result.reason)]
        for told in self.causes():
            lines += _wrapped(told)
        for finding in self._red:
            lines += ["", *(self._in_short(finding) if self._goes_with_first(finding) else self._finding(finding))]
        for number, finding in enumerate(found for found in result.findings if not found.is_isolation_failure):
            lines += ["", *([f"  {HYGIENE}"] if number == 0 else []), *self._finding(finding)]
        lines += [f"      {ECHO}"] * result.echo
        for judgement in result.judgements:
            for doubt in judgement.doubts:
                lines += _wrapped(f"undecided by {checker_name(judgement.checker)}: {doubt}")
        return "\n".join(lines)

    @property
    def _red(self) -> list[Finding]:
        return [found for found in self.result.findings if found.is_isolation_failure]

    def causes(self) -> list[str]:
        """What is behind the findings, likeliest first, and where to look; nothing where nothing was found."""
        return causes_told(
            causes(
                map(explained, self._red),
                ranking=[faults_of_group(group) for group in self.result.looks_like],
                reasons={faults_of_group(group): group.partition(": ")[2] for group in self.result.looks_like},
            )
        )

    def _finding(self, finding: Finding) -> list[str]:
        return [
            *_wrapped(f"{checker_name(finding.checker)} · {finding.kind}: {story(finding)}", indent="  "),
            *(f"      {step}" for step in Conversation(finding, self._shown).lines()),
            *(f"      {one}" for one in self._operations(finding)),
            *(_wrapped(f"Why this is conclusive: {finding.explanation}") if finding.explanation else ()),
        ]

    def conversation(self) -> str:
        """The witness of the first finding, as HTML."""
        return Conversation(self._red[0], self._shown).html() if self._red else ""

    def _goes_with_first(self, finding: Finding) -> bool:
        """Whether the cause of the first finding may be that of this further one."""
        first, *others = self._red
        return finding in others and bool(set(finding.attribution) & set(first.attribution))

    def _in_short(self, finding: Finding) -> list[str]:
        """What it is and where it shows; results.json has its operations and its proof."""
        steps = Conversation(finding, self._shown).lines()
        shown_step = next((step for step in steps if step.startswith("!")), steps[-1])
        head = f"also {checker_name(finding.checker)} · {finding.kind}: {story(finding)}"
        return [*_wrapped(head, indent="  "), f"      {shown_step}"]

    def _operations(self, finding: Finding) -> list[str]:
        """Each operation, with each pair of owner and recipient, how often, and where it is shown once."""
        places = listing(finding)
        lines = []
        for place in places[:MOST_PLACES]:
            pairs = [_pair(pair) for pair in place.pairs]
            lines += _wrapped(f"{place.operation}: {shown(pairs, MOST_PAIRS)}", indent="  ")
        if len(places) > MOST_PLACES:
            lines.append(f"  and {len(places) - MOST_PLACES} more operations in results.json")
        return [line[2:] if line.startswith("      ") else line.strip() for line in lines]

    def html(self) -> str:
        result = self.result
        parts = [
            f'<p style="margin:4px 0">{badge(result.verdict)}&nbsp; <b>{html.escape(result.id)}</b> '
            f"{html.escape(result.heading)}<br>{html.escape(result.reason)}</p>"
        ]
        parts += [f'<p style="margin:4px 0;font-size:14px">{html.escape(told)}</p>' for told in self.causes()]
        hygiene_begun = False
        for finding in sorted(result.findings, key=lambda found: not found.is_isolation_failure):
            if not finding.is_isolation_failure and not hygiene_begun:
                hygiene_begun = True
                parts.append(f'<p style="margin:12px 0 0 0"><i>{HYGIENE}</i></p>')
            head = html.escape(f"{checker_name(finding.checker)} · {finding.kind}: {story(finding)}")
            places = "\n".join(self._operations(finding))
            body = (
                f"{Conversation(finding, self._shown).html()}"
                f"{_folded('where, and how often', places)}"
                f"{_folded('why this is conclusive', finding.explanation)}"
            )
            if finding.is_isolation_failure and self._goes_with_first(finding):
                parts.append(f'<details style="margin:6px 0"><summary>also {head}</summary>{body}</details>')
            else:
                parts.append(f'<p style="margin:10px 0 2px 0"><b>{head}</b></p>{body}')
        parts += [f"<p>{ECHO}</p>"] * result.echo
        for judgement in result.judgements:
            parts += [
                f"<p>undecided by {checker_name(judgement.checker)}: {html.escape(doubt)}</p>"
                for doubt in judgement.doubts
            ]
        return "".join(parts)


def _folded(summary: str, text: str) -> str:
    if not text:
        return ""
    return (
        f'<details style="font-size:12px"><summary>{summary}</summary>'
        f'<pre style="white-space:pre-wrap;font-size:12px">{html.escape(text)}</pre></details>'
    )


#: Operations and pairs of a finding that a view lists; results.json holds all.
MOST_PLACES, MOST_PAIRS = 10, 3


def _wrapped(text: str, *, indent: str = "      ") -> list[str]:
    """A text as lines of at most 120 columns, the second and further ones under the first."""
    further = max(indent, "      ", key=len)
    return textwrap.wrap(
        text, COLUMNS, initial_indent=indent, subsequent_indent=further, break_on_hyphens=False,
    ) or [indent]  # fmt: skip


def _pair(pair: Pair) -> str:
    """``alice → bob ×4 (#17)``: whose, to whom, how often, and where it is shown once."""
    who = " → ".join(dict.fromkeys((pair.owner or "nobody", pair.recipient or "nobody")))
    return f"{who} ×{pair.count} (#{pair.example})"


class ScenarioView(View):
    """The final verdict table of a notebook: case, claim, expected, observed, verdict, evidence."""

    def __init__(self, result: ScenarioResult) -> None:
        self.result = result

    def _table(self) -> Table:
        rows, marks = [], {}
        for number, case in enumerate(self.result.cases):
            checkers = ", ".join(checker_name(judgement.checker) for judgement in case.judgements) or "–"
            observed = observation(case) if case.judgements else "–"
            marks[number, 4] = case.verdict
            expected = "no finding" if case.judgements else "–"
            rows.append([case.id, case.heading, expected, observed, str(case.verdict), f"{checkers}: {case.reason}"])
        return Table(
            caption=self._caption(),
            headings=("case", "title", "expected", "observed", "verdict", "evidence"),
            rows=rows,
            marks=marks,
        )

    def _caption(self) -> str:
        result = self.result
        beside = sum(not finding.is_isolation_failure for case in result.cases for finding in case.findings)
        verdict = str(result.verdict).upper() + (f", {issues(beside)}" if beside else "")
        verdict += f" · {result.undone}" if result.undone else ""
        place = " ".join(filter(None, [result.environment, result.circumstances.with_faults]))
        return f"{result.id} {result.title} on {place}, seed {result.seed}: {verdict}"

    def _tail(self) -> list[str]:
        cleanup = self.result.cleanup
        left = f": left {', '.join(cleanup.left)}" if cleanup.left else ", nothing is left"
        confidence = confidence_sentence(self.result.confidence, exact=self._steady)
        return [f"clean-up: {cleanup.verdict}{left}", confidence]

    @property
    def _steady(self) -> bool:
        return all(case.exact for case in self.result.cases)

    def causes(self) -> list[str]:
        """What is behind the red cases together, and what to do next; nothing where nothing was found."""
        red = [explained(found) for case in self.result.cases for found in case.findings if found.is_isolation_failure]
        told = causes_told(causes(red, ranking=self.result.looks_like))
        return [*told, *next_steps(self.result)] if told else []

    def text(self) -> str:
        return "\n".join([*self.causes(), self._table().text(), *self._tail()])

    def html(self) -> str:
        causes, tail = (
            "".join(f'<p style="margin:4px 0">{html.escape(line)}</p>' for line in lines)
            for lines in (self.causes(), self._tail())
        )
        return causes + self._table().html() + tail

    def record(self) -> dict[str, Any]:
        """The verdict as data: what ``application/vnd.netra-probe.verdict+json`` holds; nothing in it is volatile."""
        result = self.result
        return {
            "schema": 1,
            "environment": result.environment,
            "seed": result.seed,
            **result.as_record(),
            "confidence": result.confidence.as_dict() if self._steady else {},
            "cleanup": {"verdict": str(result.cleanup.verdict), "left": list(result.cleanup.left)},
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(include, exclude)
        # Through JSON once, so that the stored notebook and the live message are the same to the byte.
        return {**bundle, VERDICT_MIME: json.loads(json.dumps(self.record()))}


class Summary(View):
    """The last word of a notebook: when, on what and with what, where the evidence is, and the verdict.

    It differs from run to run; its cell is tagged ``nbval-ignore-output``, and the table before it is what is compared.

    Arguments:
        evidence: the run directory.
    """

    def __init__(self, result: ScenarioResult, *, evidence: Path) -> None:
        self.result = result
        self._evidence = evidence

    def _rows(self) -> list[tuple[str, str]]:
        result, about = self.result, self.result.circumstances
        when = about.started.replace("T", " ").replace("+00:00", "") or "unknown"
        services = ", ".join(f"{name} {version}" for name, version in about.services)
        versions = ", ".join(f"{name} {version}" for name, version in about.versions)
        report = self._evidence / "report.html"
        place = f"{result.environment} {about.with_faults}".rstrip()
        seed = f"{result.seed}, {about.users} users, mode {about.mode}" if about.users else str(result.seed)
        rows = [
            ("when", f"{when} UTC, {result.seconds:.1f} s"),
            ("environment", place),
            *((role, url) for role, url in about.urls),
            ("services", services or "do not say their versions"),
            ("made with", versions or "unknown"),
            ("seed", seed),
            ("evidence", shown_path(self._evidence)),
            *([("report", shown_path(report))] if report.is_file() else []),
        ]
        return rows

    def text(self) -> str:
        word, told, _ = standing(self.result)
        width = max(len(name) for name, _ in self._rows())
        lines = [f"{name:{width}}  {value}" for name, value in self._rows()]
        return "\n".join([*lines, f"{word}  {self.result.id} {self.result.title}: {told}"])

    def html(self) -> str:
        word, told, verdict = standing(self.result)
        cell = '<td style="text-align:left;padding:1px 12px 1px 0;vertical-align:top">'
        rows = "".join(
            f"<tr>{cell}{html.escape(name)}</td>{cell}{html.escape(value)}</td></tr>" for name, value in self._rows()
        )
        line = html.escape(f"{self.result.id} {self.result.title}: {told}")
        return (
            f'<table style="font-size:13px;border-collapse:collapse"><tbody>{rows}</tbody></table>'
            f'<p style="font-size:15px">{badge(verdict, word)}&nbsp; {line}</p>'
        )


def shown_path(path: Path) -> str:
    """A path as one would type it in the project, else in full."""
    root = folder("outputs").parent.resolve()
    resolved = path.resolve()
    return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else str(resolved)


def observation(case: CaseResult) -> str:
    """How much was found, hygiene apart from the rest: ``2 finding(s)``, ``0 finding(s), 1 of hygiene``."""
    leaks = sum(finding.is_isolation_failure for finding in case.findings)
    beside = len(case.findings) - leaks
    return f"{leaks} finding(s)" + (f", {beside} of hygiene" if beside else "")


def confidence_sentence(confidence: Confidence, *, exact: bool = True) -> str:
    """What the number of runs allows one to say, in words; without numbers where each run has others."""
    if not exact and confidence.upper_bound < 1.0:
        return "confidence: the number of agent runs and events, which varies here, is in results.json"
    return f"confidence: {confidence.sentence}"
