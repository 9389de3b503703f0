"""From a history to verdicts, live and a year later alike: the only way in which results come about."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netra_probe.catalogue.scenarios import SCENARIOS, scenario_of
from netra_probe.checkers import from_options
from netra_probe.checkers.attribution.attribution import Attribution, attribute, attributed
from netra_probe.checkers.base import Checker, Window, judge
from netra_probe.checkers.coverage import Steps
from netra_probe.checkers.findings import headline, listing, told_by, united
from netra_probe.checkers.verdict import CaseResult, CleanUp, Confidence, Finding, Judgement, Verdict, issues
from netra_probe.errors import ParameterError
from netra_probe.history import actions
from netra_probe.history.damage import MOST_SIGNS, is_well_formed
from netra_probe.history.frames import read_frame
from netra_probe.history.lines import line
from netra_probe.history.operation import PROBE, Operation
from netra_probe.history.store import History, HistoryError
from netra_probe.history.untrusted import decoded

#: What is left by an investigation whose end is not in its recording.
ENDED = "the investigation ended before its clean-up"
#: Why a case is not decided that nobody has checked.
NOT_RUN = "not run"
#: Why a case is not decided in which nobody did anything.
NOTHING_DONE = "nothing was done before this check; was a cell left out?"
#: Actions that show that something was done, although they are no calls.
_DONE = frozenset({actions.ATTEMPT, actions.TXN, actions.GAUGE, actions.DISTURB, *actions.ENDINGS})
#: Operations from the beginning of a history among which the services say which versions they are.
_INTRODUCTION = 200
#: Operations, and characters in them, of a recording that is held while it is judged; a larger one is read again.
MOST_HELD, MOST_CHARACTERS = 100_000, 192 << 20


@dataclass(frozen=True, kw_only=True)
class Features:
    """When, on what and with what an investigation was made: what a reader needs before the verdict means anything.

    Arguments:
        started: when it was opened (UTC, ISO 8601).
        urls: of the target's services, by role: ``auth``, ``backend-1``, …
        services: what they say of their versions, by name.
        versions: of netra-probe and Python.
        faults: what the lab was started with, each with its title; nothing where nobody can know.
    """

    started: str = ""
    mode: str = ""
    users: int = 0
    urls: tuple[tuple[str, str], ...] = ()
    services: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    faults: tuple[str, ...] = ()

    @staticmethod
    def of(opened: Operation, services: dict[str, str]) -> Features:
        """From the first operation of a history, and from what the services have said."""
        detail = opened.detail
        return Features(
            started=str(detail.get("started", "")),
            mode=str(detail.get("mode", "")),
            users=int(detail.get("users", 0)),
            urls=tuple(detail.get("urls", {}).items()),
            services=tuple(services.items()),
            versions=tuple(detail.get("versions", {}).items()),
            faults=tuple(detail.get("faults", ())),
        )

    @property
    def with_faults(self) -> str:
        """``with injected fault W1 (…)``; nothing for a healthy or unknown target."""
        return with_faults(self.faults)

    def as_record(self) -> dict[str, Any]:
        """As ``results.json`` holds it, without what is not known."""
        known = {
            "started": self.started,
            "mode": self.mode,
            "users": self.users,
            "urls": dict(self.urls),
            "services": dict(self.services),
            "versions": dict(self.versions),
            "faults": list(self.faults),
        }
        return {name: value for name, value in known.items() if value}


def with_faults(faults: Sequence[str]) -> str:
    """``with injected fault W1 (…)``; nothing where there is none."""
    return f"with injected fault{'s' if len(faults) > 1 else ''} {', '.join(faults)}" if faults else ""


def versions_said(operations: Iterable[Operation]) -> dict[str, str]:
    """What services have said of their versions, by name: in answers about their health, else in their description."""
    said: dict[str, dict[str, dict[str, None]]] = {"health": {}, "/openapi.json": {}}
    for operation in operations:
        where = next((one for one in said if one in operation.action), "")
        if not where or operation.type != "ok":
            continue
        body = decoded(operation.payload)
        about = body.get("info") or body if isinstance(body, dict) else None
        if isinstance(about, dict):
            name, version = about.get("title") or about.get("service"), about.get("version")
            if name and version:
                said[where].setdefault(str(name), {})[str(version)] = None
    told = said["health"] or said["/openapi.json"]
    return {name: " and ".join(versions) for name, versions in told.items()}


#: Checkers that conclude from what is missing, doubled or out of order, which damage may have made.
MISSING = frozenset(("C3", "C4", "C8", "C10", "C11"))


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """The verdict on one scenario, with its cases, clean-up and confidence."""

    id: str
    title: str
    environment: str
    seed: int
    cases: tuple[CaseResult, ...]
    cleanup: CleanUp
    confidence: Confidence
    seconds: float = 0.0
    truncated: bool = False
    #: What was changed in its recording after it had been made.
    damage: tuple[str, ...] = ()
    witnesses: tuple[Operation, ...] = ()
    circumstances: Features = Features()
    raised: str = ""
    #: Which combinations were tried, where the scenario carried out plans (``checkers.coverage``).
    coverage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def undone(self) -> str:
        """What was left out, so that finding nothing proves nothing; "" for a scenario that was run to its end.

        >>> result.undone   # doctest: +SKIP
        '2 of 5 cases run; not run: C4.3, C4.4, C4.5; a cell raised KeyboardInterrupt'
        """
        missing = [case.id for case in self.cases if not case.was_run]
        told = []
        if missing:
            run = f"{len(self.cases) - len(missing)} of {len(self.cases)} cases run"
            told.append(f"{run}; not run: {', '.join(missing)}")
            told += [f"a cell raised {self.raised}"] * bool(self.raised)
        if self.truncated:
            told.append("the clean-up was not done" if ENDED in self.cleanup.left else "the recording was cut")
        return "; ".join(told)

    @property
    def verdict(self) -> Verdict:
        """The worst of the cases, also those that were not run; a cut or damaged recording passes nothing.

        Neither does leaving objects behind, or not checking that they are gone.
        """
        parts = [case.verdict for case in self.cases]
        if self.truncated or self.damage:
            parts.append(Verdict.INCONCLUSIVE)
        if self.cleanup.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
            parts.append(self.cleanup.verdict)
        return Verdict.worst(parts)

    @property
    def looks_like(self) -> tuple[tuple[str, ...], ...]:
        """FindingSet of catalogue faults that explain all red cases together, likeliest first.

        Each case speaks for its groups with the points it has, less for every further group. Cases that only show what
        is left of earlier ones have no say.
        """
        fresh = [case for case in self.cases if not case.echo] or self.cases
        votes: dict[tuple[str, ...], float] = defaultdict(float)
        for case in fresh:
            for position, (group, points) in enumerate(zip(case.looks_like, case.points, strict=True), start=1):
                votes[tuple(group.partition(":")[0].split(" or "))] += points / position
        return tuple(group for group, _ in sorted(votes.items(), key=lambda item: -item[1]))

    def as_record(self, *, numbers: bool = False) -> dict[str, Any]:
        """The scenario as ``results.json`` and the verdict MIME type hold it, but for its seconds.

        ``numbers`` adds all counts of each case: some differ from run to run, so that notebooks leave them out.
        """
        shown = {operation.index: operation for operation in self.witnesses}
        return {
            "id": self.id,
            "title": self.title,
            "verdict": str(self.verdict),
            **({"reason": self.undone} if self.undone else {}),
            "cases": [
                {
                    "id": case.id,
                    "title": case.title,
                    "verdict": str(case.verdict),
                    **({} if case.was_run else {"run": False}),
                    "reason": case.reason,
                    "requirements": list(case.requirements),
                    "findings": [_finding_record(finding, shown) for finding in case.findings],
                    **({"evidence": case.evidence} if numbers else {}),
                }
                for case in self.cases
            ],
        }


def _finding_record(finding: Finding, shown: Mapping[int, Operation]) -> dict[str, Any]:
    return {
        "checker": finding.checker,
        "kind": finding.kind,
        "summary": finding.summary,
        "victims": list(finding.victims),
        "recipients": list(finding.recipients),
        "surface": finding.surface,
        "witness": [{"operation": index, "text": _line(shown.get(index), finding)} for index in finding.witness],
        "attribution": list(finding.attribution),
        "explanation": finding.explanation,
        "severity": finding.severity,
        "operations": [
            {
                "operation": place.operation,
                "pairs": [
                    {
                        "owner": pair.owner,
                        "recipient": pair.recipient,
                        "count": pair.count,
                        "example": {"operation": pair.example, "text": _line(shown.get(pair.example), finding)},
                    }
                    for pair in place.pairs
                ],
            }
            for place in listing(finding)
        ],
        "count": finding.count,
        "secrets": len(finding.secrets),
    }


def _line(operation: Operation | None, finding: Finding) -> str:
    return line(operation, finding.secrets) if operation is not None else ""


def judge_case(history: Iterable[Operation], marker: Operation, checkers: Sequence[Checker]) -> CaseResult:
    """The verdict on one case: all checkers over the window that the marker closes."""
    window = Window(start=int(marker.detail.get("start", 0)), end=marker.index)
    disturbances, acted, raised = 0, False, ""

    def watched() -> Iterator[Operation]:
        nonlocal disturbances, acted, raised
        for operation in history:
            if window.start <= operation.index < marker.index:
                disturbances += operation.action == actions.DISTURB
                acted = acted or _is_act(operation)
                if operation.action == actions.RAISED:
                    raised = raised or str(operation.detail.get("error"))
            yield operation

    judgements = tuple(judge(checkers, watched(), window))
    attribution = Attribution()
    if found := [finding for judgement in judgements for finding in judgement.findings if finding.is_isolation_failure]:
        attribution = attribute(found, history, window)
        judgements = tuple(
            replace(judgement, findings=attributed(judgement.findings, attribution)) for judgement in judgements
        )
    exact = bool(marker.detail.get("steady", True))
    result = _case(str(marker.detail["case"]), str(marker.detail["claim"]), judgements, disturbances, exact=exact)
    result = replace(
        result,
        looks_like=tuple(map(str, attribution)),
        points=tuple(group.points for group in attribution),
        echo=attribution.echo,
        exact=exact,
    )
    return _bounded(result, marker.detail, acted=acted, raised=raised)


def referred(result: CaseResult, earlier: Iterable[CaseResult], history: Iterable[Operation]) -> CaseResult:
    """The result, with a reference to the first earlier case that shows all of its findings' cause.

    One list that is everybody's turns case after case red, each time in the words of another checker: where all that
    a case found came through requests by which an earlier case had found the same owners' data, it is said once.
    """
    red = [case for case in earlier if case.verdict is Verdict.FAIL]
    if result.verdict is not Verdict.FAIL or not red:
        return result
    shown = {index for case in (result, *red) for found in case.findings for index in found.witness}
    operations = {operation.index: operation for operation in history if operation.index in shown}
    ways = _ways(result, operations)
    same = next((case for case in red if ways and ways <= _ways(case, operations)), None)
    return replace(result, reason=f"as in {same.id}: {result.reason}") if same is not None else result


def _ways(result: CaseResult, operations: Mapping[int, Operation]) -> set[str]:
    """The requests through which what a case found had come; none where part of it came over another way."""
    ways = set()
    for found in result.findings:
        if found.is_isolation_failure:
            seen = [operations[index] for index in found.witness if index in operations]
            answers = [one for one in seen if one.call is not None and one.user in (*found.recipients, None)]
            if not answers or " " not in answers[-1].action:
                return set()
            ways.add(f"{answers[-1].surface} {answers[-1].action}")
    return ways


def _is_act(operation: Operation) -> bool:
    """Whether this was done in order to see something, rather than received, or noted by the way."""
    if operation.type == "invoke" or operation.action in _DONE:
        return True
    return operation.surface in ("database", "cache")


def _bounded(result: CaseResult, detail: dict[str, Any], *, acted: bool, raised: str) -> CaseResult:
    """What was not done, not allowed, or begun and not finished bounds what a case can say; a defect stays one.

    What was begun and not finished leaves a case undecided, whatever was not allowed besides.
    """
    withheld, limits = detail.get("withheld", ()), detail.get("limits", ())
    if result.verdict is Verdict.FAIL:
        return result
    if raised:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=f"a cell raised {raised} before this check")
    if not (acted or withheld or limits):
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=NOTHING_DONE)
    if not (withheld or limits):
        return result
    reasons = limits or withheld
    reason = "; ".join(reasons[:2]) + (f"; and {len(reasons) - 2} more" if len(reasons) > 2 else "")
    return replace(result, verdict=Verdict.INCONCLUSIVE if limits else Verdict.NOT_APPLICABLE, reason=reason)


#: Counts that follow from what the probe did; the others depend on the moment at which a disturbance struck.
DETERMINISTIC = frozenset(
    {
        "users looking",
        "cycles",
        "gauges",
        "forged credentials",
        "forged credentials refused",
        "valid credentials accepted",
        "credentials ended",
        "promises",
    }
)


#: Counts that are the same whatever the moment brings.
INVARIANT = frozenset({"users looking", "cycles", "gauges", "promises"})
#: Counts that back a pass but tell a reader nothing.
HIDDEN = frozenset({"canaries planted", "own ids seen"})


#: How a count is shown, with its number and without; what is not listed is shown by its name.
PHRASES = {
    "promises": "{n} promise{s} kept",
    "users looking": "{n} user{s} watched",
    "deliveries": "{n} frame{s} and response{s}",
    "own canaries seen": "owners saw their own secrets {n}× (control)",
    "run events": "{n} run event{s}",
    "runs ended": "{n} run{s} completed",
    "answers": "{n} response{s}",
    "nonces back": "{n} request nonce{s} echoed",
    "objects compared": "{n} object{s} compared",
    "gauges": "{n} resource count{s} sampled",
    "cycles": "{n} cycle{s}",
    "foreign attempts": "{n} attempt{s} on another user's objects",
    "attempts refused": "{n} attempt{s} refused",
    "attempts with positive control": "{n} attempt{s} with the owner's own call (control)",
    "re-reads": "{n} re-read{s} by the owner",
    "existence oracles": "{n} id-existence check{s}",
    "rows": "{n} row{s} checked",
    "keys": "{n} cache key{s} checked",
    "own canaries stored": "{n} secret{s} stored under their owner (control)",
    "canaries under keys that name nobody": "{n} secret{s} under keys without a user",
    "forged credentials": "{n} forged credential{s} presented",
    "forged credentials refused": "{n} forged credential{s} rejected",
    "valid credentials accepted": "{n} valid credential{s} accepted (control)",
    "credentials ended": "{n} credential{s} ended",
    "uses refused after the end": "{n} use{s} rejected after the end",
    "sockets closed after the end": "{n} socket{s} closed after the end",
    "transactions": "{n} transaction{s}",
    "committed transactions": "{n} committed transaction{s}",
    "overlapping transactions": "{n} overlapping transaction{s}",
    "ambiguous versions": "{n} ambiguous version{s}",
    "anomalies that the level allows": "{n} anomal{ies} that the isolation level allows",
    "observations compared": "{n} observation{s} compared",
    "observations that vary by themselves": "{n} observation{s} that vary by themselves",
    "frames of unknown shape": "{n} frame{s} of unknown shape",
    "disturbances": "{n} disturbance{s}",
}


def counted(name: str, count: int | None = None) -> str:
    """A count of evidence as a phrase, without its number where that varies from run to run.

    >>> counted("runs ended", 1), counted("own canaries seen"), counted("refused log-ins compared", 2)
    ('1 run completed', 'owners saw their own secrets (control)', '2 refused log-ins compared')
    """
    phrase = PHRASES.get(name, f"{{n}} {name}")
    if count is None:
        phrase = phrase.replace(" {n}×", "").replace("{n} ", "")
    one = count == 1
    return phrase.format(n=count, s="" if one else "s", ies="y" if one else "ies")


def _evidence(evidence: dict[str, int], disturbances: int, *, exact: bool) -> str:
    """What a pass rests on, in numbers that are the same in every healthy run; what has none is named alone."""
    told = {name: count for name, count in evidence.items() if count and name not in HIDDEN}
    fixed = DETERMINISTIC if exact else INVARIANT
    shown = {name: count for name, count in told.items() if name in fixed or (exact and not disturbances)}
    if disturbances:
        shown["disturbances"] = disturbances
    phrases = [counted(name, count) for name, count in shown.items()]
    return " · ".join([*phrases, *(counted(name) for name in told if name not in shown)])


def _case(id: str, claim: str, judgements: tuple[Judgement, ...], disturbances: int, *, exact: bool) -> CaseResult:
    judgements = tuple(replace(judgement, findings=united(judgement.findings)) for judgement in judgements)
    verdict = Verdict.worst(judgement.verdict for judgement in judgements)
    result = CaseResult(
        id=id, title=claim, verdict=verdict, reason="", requirements=(scenario_of(id), id), judgements=judgements
    )
    findings, doubts = result.findings, list(dict.fromkeys(one for judged in judgements for one in judged.doubts))
    leaks, hygiene_issues = (
        [found for found in findings if found.is_isolation_failure],
        [f for f in findings if not f.is_isolation_failure],
    )
    if leaks:
        reason = headline(leaks)
    elif doubts:
        more = f" (and {len(doubts) - 1} more doubt(s))" if len(doubts) > 1 else ""
        reason = doubts[0] + more
    elif not judgements:
        reason = "nothing was checked"
    else:
        reason = _evidence(result.evidence, disturbances, exact=exact)
    if hygiene_issues:
        told = issues(len(hygiene_issues))
        reason = " · ".join(filter(None, (reason, told) if leaks or doubts else (told, reason)))
    return replace(result, reason=reason)


def with_case(cases: Sequence[CaseResult], result: CaseResult) -> list[CaseResult]:
    """The judged cases with one more; of a case that was done again a finding stays, else the last time counts."""
    others = [case for case in cases if case.id != result.id]
    before = next((case for case in cases if case.id == result.id), None)
    kept = before if before is not None and before.verdict is Verdict.FAIL else result
    return [*others, kept]


def skipped_case(id: str, claim: str, reason: str) -> CaseResult:
    """A case that the target has no surface for."""
    return CaseResult(
        id=id, title=claim, verdict=Verdict.NOT_APPLICABLE, reason=reason, requirements=(scenario_of(id), id)
    )


def undecided_case(id: str, claim: str, reason: str) -> CaseResult:
    """A case that cannot be judged."""
    return replace(skipped_case(id, claim, reason), verdict=Verdict.INCONCLUSIVE)


def _owed(opened: Operation) -> dict[str, str]:
    """Cases of a scenario and their titles, as its recording says; an older one does not, notebooks beside us may."""
    said = opened.detail.get("cases")
    if isinstance(said, dict):
        return {str(case): str(title) for case, title in said.items()}
    with contextlib.suppress(ParameterError):
        if (known := SCENARIOS.get(str(opened.detail["scenario"]))) is not None:
            return known.cases
    return {}


def _complete(opened: Operation, cases: Sequence[CaseResult]) -> tuple[CaseResult, ...]:
    """The cases that were run and those that the scenario owes beside them, in its order."""
    owed = _owed(opened)
    run = {case.id for case in cases}
    order = {id: position for position, id in enumerate(owed)}
    missing = [
        replace(undecided_case(id, claim, NOT_RUN), was_run=False) for id, claim in owed.items() if id not in run
    ]
    return tuple(sorted([*cases, *missing], key=lambda case: order.get(case.id, len(order))))


def judge_history(history: Iterable[Operation]) -> ScenarioResult:
    """Judge a whole history again from what is stored in it alone.

    Raises HistoryError when it is not the history of an investigation.
    """
    markers: list[Operation] = []
    held: list[Operation] = []
    size = 0
    for operation in history:
        if operation.action in (actions.OPEN, actions.CHECK, actions.SKIP, actions.CLEANUP):
            markers.append(operation)
        size += len(operation.payload)
        if len(held) < MOST_HELD and size < MOST_CHARACTERS:
            held.append(operation)
    if not markers or markers[0].action != actions.OPEN:
        raise HistoryError("this history does not begin with an investigation; give one that a run has left")
    if not is_well_formed(markers[0]):
        raise HistoryError("the first line of this history does not say scenario, environment and seed; restore it")
    stored = history if isinstance(history, History) else None
    if held and held[-1] is operation:
        history = held  # to read and unpack it once for each case took more than judging it
    cases: list[CaseResult] = []
    for marker in filter(is_well_formed, markers):
        detail = marker.detail
        if marker.action == actions.CHECK:
            cases = with_case(cases, referred(_judged_again(history, marker), cases, history))
        elif marker.action == actions.SKIP:
            cases.append(skipped_case(detail["case"], detail["claim"], detail["reason"]))
    damage = stored.damage if stored else ()
    cleanup = next((marker for marker in reversed(markers) if marker.action == actions.CLEANUP), None)
    result = scenario_result(history, markers[0], tuple(distrusted(case, damage) for case in cases), cleanup)
    return replace(result, truncated=result.truncated or bool(stored and stored.truncated), damage=damage)


def _judged_again(history: Iterable[Operation], marker: Operation) -> CaseResult:
    """A case by the checkers that its check line names."""
    try:
        checkers = [from_options(item["id"], item.get("options", {})) for item in marker.detail["checkers"]]
    except (KeyError, TypeError, ValueError) as error:
        case, claim = marker.detail["case"], marker.detail["claim"]
        return undecided_case(case, claim, f"its checkers cannot be made again ({str(error.args[0])[:200]})")
    return judge_case(history, marker, checkers)


def distrusted(case: CaseResult, damage: Sequence[str]) -> CaseResult:
    """A case of a damaged recording: what is still seen in it fails; what is missing from it may have been lost."""
    if not damage:
        return case
    why = f"the recording is damaged: {damaged(damage)}"
    if any(finding.is_isolation_failure and finding.checker not in MISSING for finding in case.findings):
        return replace(case, reason=f"{case.reason} · {why}")
    return replace(case, verdict=Verdict.INCONCLUSIVE, reason=why)


def damaged(damage: Sequence[str]) -> str:
    """The signs of damage, as far as a reader needs them."""
    more = f"; and {len(damage) - MOST_SIGNS} more sign(s)" if len(damage) > MOST_SIGNS else ""
    return "; ".join(damage[:MOST_SIGNS]) + more


def scenario_result(
    history: Iterable[Operation], opened: Operation, cases: tuple[CaseResult, ...], cleanup: Operation | None
) -> ScenarioResult:
    """Put a scenario together from its judged cases, counting answered runs and their events in one pass.

    What it owes beside these cases is listed as not run: a notebook that was cut down, or is not over, passes nothing.
    """
    wanted = {index for case in cases for finding in case.findings for index in told_by(finding)}
    runs = deliveries = 0
    arrived: Counter[str] = Counter()
    last = opened
    witnesses = []
    introduction: list[Operation] = []
    raised = ""
    steps = Steps()
    for operation in history:
        last = operation
        steps.feed(operation)
        if operation.index < _INTRODUCTION and operation.surface == PROBE:
            introduction.append(operation)
        if operation.action == actions.RAISED:
            raised = raised or str(operation.detail.get("error"))
        elif operation.action in (actions.CHECK, actions.SKIP):
            raised = ""
        if operation.action == actions.ASK and operation.type == "ok":
            runs += 1
            deliveries += arrived.pop(operation.ids.get("run_id", ""), 0)
        elif operation.action == actions.RECEIVE and (run := read_frame(operation.payload).run):
            arrived[run] += 1
        if operation.index in wanted:
            witnesses.append(operation)
    leaks = sum(1 for case in cases for finding in case.findings if finding.is_isolation_failure)
    done = (
        CleanUp(verdict=Verdict(cleanup.detail["verdict"]), left=tuple(cleanup.detail["left"]))
        if cleanup is not None and is_well_formed(cleanup)
        else CleanUp(verdict=Verdict.INCONCLUSIVE, left=(ENDED,))
    )
    return ScenarioResult(
        id=str(opened.detail["scenario"]),
        title=str(opened.detail.get("title", "")),
        environment=str(opened.detail["environment"]),
        seed=int(opened.detail["seed"]),
        cases=_complete(opened, cases),
        cleanup=done,
        confidence=Confidence.of(runs=runs, deliveries=deliveries, leaks=leaks),
        seconds=round((last.time - opened.time) / 1e9, 3),
        truncated=cleanup is None,
        witnesses=tuple(witnesses),
        circumstances=Features.of(opened, versions_said(introduction)),
        raised=raised,
        coverage=steps.record(),
    )
