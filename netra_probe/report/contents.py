"""All that the report of a run says, computed from ``run.json``, ``results.json`` and the histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.coverage import NOT_SEARCHED
from netra_probe.checkers.judging import ScenarioResult, with_faults
from netra_probe.checkers.verdict import Confidence, Verdict
from netra_probe.display.exploration import NotTried
from netra_probe.errors import ParameterError
from netra_probe.history.store import HistoryError
from netra_probe.report.evidence import Evidence, evidence_of, introduction, versions_of_target
from netra_probe.report.reproducers.writing import tickets_of
from netra_probe.results.compare import Change, Kind, since_last_decided
from netra_probe.results.results import NOTHING_DECIDED
from netra_probe.results.runs import Case, Run
from netra_probe.target.lab import title_of_fault


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One case as the report shows it; findings are split into those that turn it red and hygiene issues."""

    case: Case
    scenario: str
    evidence: Evidence = field(default_factory=Evidence)
    ticket: str = ""

    @property
    def leaks(self) -> list[dict[str, Any]]:
        return [finding for finding in self.case["findings"] if finding["severity"] != "hygiene"]

    @property
    def hygiene_issues(self) -> list[dict[str, Any]]:
        return [finding for finding in self.case["findings"] if finding["severity"] == "hygiene"]

    @property
    def causes(self) -> list[str]:
        """What is probably behind it; without its history, what its findings name."""
        named = dict.fromkeys(fault for finding in self.leaks for fault in finding["attribution"])
        told = [f"It looks like fault {' or '.join(map(title_of_fault, named))}."] if named else []
        return list(self.evidence.causes) or told

    @property
    def further(self) -> list[dict[str, Any]]:
        """The findings after the first to which the same faults point: told in short."""
        first, *others = self.leaks
        return [finding for finding in others if set(finding["attribution"]) & set(first["attribution"])]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A report: the run, what is new in it, and its cases in the order in which somebody on call wants them.

    Arguments:
        previous: the run before it in the same environment, if there is one.
        files: what lies beside the report, as (link, text), by scenario.
    """

    run: Run
    previous: Run | None
    news: tuple[Change, ...]
    cases: tuple[Shown, ...]
    target_versions: dict[str, str]
    surfaces: tuple[str, ...]
    urls: dict[str, str]
    with_faults: str
    files: dict[str, list[tuple[str, str]]]

    @staticmethod
    def of(run: Run, *, earlier: Sequence[Run] = (), judged: Mapping[str, ScenarioResult] | None = None) -> Contents:
        """Gather everything; ``judged`` saves judging red scenarios again."""
        scenarios = run.results["scenarios"]
        cases = []
        tickets: dict[str, str] = {}
        with suppress(ParameterError, HistoryError, OSError):
            tickets = tickets_of(run, judged)
        for scenario in scenarios:
            evidence = evidence_of(run.path, scenario, (judged or {}).get(scenario["id"]))
            cases += [
                Shown(
                    case=case,
                    scenario=scenario["id"],
                    evidence=evidence.get(case["id"], Evidence()),
                    ticket=tickets.get(case["id"], ""),
                )
                for case in scenario["cases"]
            ]
        opening = next(iter(introduction(run.path, scenarios[0]["id"])), None) if scenarios else None
        versions: dict[str, str] = {}
        for scenario in scenarios:
            versions = versions or versions_of_target(run.path, scenario["id"])
        return Contents(
            run=run,
            previous=earlier[0] if earlier else None,
            news=tuple(since_last_decided(run, earlier)),
            cases=tuple(cases),
            target_versions=versions,
            surfaces=tuple(opening.detail.get("surfaces", ())) if opening else (),
            urls=dict(opening.detail.get("urls", {})) if opening else {},
            with_faults=with_faults(
                [title_of_fault(fault) for fault in run.faults]
                or (list(opening.detail.get("faults", ())) if opening else [])
            ),
            files={scenario["id"]: _files(run, scenario["id"]) for scenario in scenarios},
        )

    def having(self, *verdicts: Verdict) -> list[Shown]:
        """The cases with one of these verdicts."""
        return [shown for shown in self.cases if shown.case["verdict"] in verdicts]

    def told(self, *kinds: Kind) -> list[Change]:
        """What is new, of these kinds."""
        return [change for change in self.news if change.kind in kinds]

    @property
    def still_red(self) -> list[str]:
        """Cases that fail as they did when they were last decided."""
        new = {change.case for change in self.news}
        return [shown.case["id"] for shown in self.having(Verdict.FAIL) if shown.case["id"] not in new]

    @property
    def took(self) -> str:
        """How long the notebooks took together; those of a batch run at the same time."""
        return f"{sum(float(scenario['seconds']) for scenario in self.run.results['scenarios']):.0f} s"

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        count = {verdict: len(self.having(verdict)) for verdict in Verdict}
        total = len(self.cases)
        if self.run.verdict is Verdict.NOT_APPLICABLE:
            return NOTHING_DECIDED
        if count[Verdict.FAIL]:
            return f"{count[Verdict.FAIL]} of {total} cases failed."
        if count[Verdict.INCONCLUSIVE]:
            return f"Nothing was found, but {count[Verdict.INCONCLUSIVE]} of {total} cases could not be decided."
        if self.run.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE):
            return "The cases found nothing, but the run did not end as it should: see the clean-up."
        beside = f"; {count[Verdict.NOT_APPLICABLE]} do not apply here" if count[Verdict.NOT_APPLICABLE] else ""
        return f"{count[Verdict.PASS]} of {total} cases passed{beside}."

    @property
    def causes(self) -> dict[str, tuple[str, ...]]:
        """What is probably behind the red cases of a scenario together, and what to do next, by scenario."""
        return {shown.scenario: shown.evidence.together for shown in self.cases if shown.evidence.together}

    @property
    def versions(self) -> dict[str, str]:
        """Of what the run ran with; of an older run, what its history says."""
        if recorded := self.run.plan.get("versions"):
            return dict(recorded)
        first = next((s["id"] for s in self.run.results["scenarios"]), "")
        opening = next(iter(introduction(self.run.path, first)), None)
        return dict(opening.detail.get("versions", {})) if opening else {}

    @property
    def coverage(self) -> list[tuple[str, str, list[tuple[str, str, Shown | None]]]]:
        """Requirement by requirement: scenario, its title, and (case, claim, what was shown of it)."""
        by_case = {shown.case["id"]: shown for shown in self.cases if shown.case.get("run", True)}
        told = []
        for id, scenario in SCENARIOS.items():
            claims = dict(scenario.cases)
            claims |= {c: s.case["title"] for c, s in by_case.items() if s.scenario == id and c not in claims}
            told.append((id, scenario.title, [(case, claim, by_case.get(case)) for case, claim in claims.items()]))
        for scenario in self.run.results["scenarios"]:
            if scenario["id"] not in SCENARIOS:
                rows = [(case["id"], case["title"], by_case.get(case["id"])) for case in scenario["cases"]]
                told.append((scenario["id"], scenario["title"], rows))
        return told

    @property
    def not_tried(self) -> dict[str, NotTried]:
        """What explorations have tried and what not, by scenario."""
        recorded = self.run.results.get("coverage") or {}
        return {id: NotTried(record) for id, record in recorded.items() if isinstance(record, dict) and record}

    @property
    def not_searched(self) -> tuple[str, ...]:
        """What nobody looked for, in a run that explored nothing."""
        return NOT_SEARCHED

    @property
    def confidence(self) -> str:
        """What the number of runs allows one to say."""
        return Confidence(**self.run.results["confidence"]).sentence


def _files(run: Run, scenario: str) -> list[tuple[str, str]]:
    """What a scenario has left in the run directory, as links from the report."""
    names = {entry.get("id"): str(entry.get("notebook", "")) for entry in run.plan["scenarios"]}
    notebook = names.get(scenario) or "no notebook"
    page = notebook.removesuffix(".ipynb") + ".html"
    wanted = [
        (f"notebooks/{page}", "as a page"),
        (f"notebooks/{notebook}", "notebook"),
        (f"history/{scenario}.jsonl.gz", "history"),
        (f"history/{scenario}.jsonl", "history, cut"),
        (f"logs/{scenario}.log", "log"),
    ]
    return [(link, text) for link, text in wanted if (run.path / link).is_file() and (run.path / link).stat().st_size]
