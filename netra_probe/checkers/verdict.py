"""Findings and verdicts: what follows from a history, and how sure one may be.

``fail`` outweighs ``inconclusive``, which outweighs ``pass``; ``not applicable`` says that the target lacks the
surface.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from netra_probe.checkers.severity import ISOLATION, severity_of


class Verdict(StrEnum):
    """Three-valued, plus the honest fourth: ``PASS``, ``FAIL``, ``INCONCLUSIVE``, ``NOT_APPLICABLE``."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"

    @property
    def exit_status(self) -> int:
        """The documented exit status of a run that ends in this verdict; where nothing applies nothing was decided."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1}.get(self, 3)

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """The verdict of a whole from those of its parts.

        >>> Verdict.worst([Verdict.PASS, Verdict.NOT_APPLICABLE])
        <Verdict.PASS: 'pass'>

        Nothing at all is ``INCONCLUSIVE``: an investigation without a case proves nothing.
        """
        seen = set(verdicts)
        if not seen:
            return Verdict.INCONCLUSIVE
        for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS):
            if verdict in seen:
                return verdict
        return Verdict.NOT_APPLICABLE


@dataclass(frozen=True, kw_only=True)
class Pair:
    """How often one operation gave one user what is another's; "" is nobody in particular.

    ``count`` is in frames and responses (or attempts, rows, …), ``example`` the operation in the history that shows it
    once.
    """

    owner: str = ""
    recipient: str = ""
    count: int = 1
    example: int = -1


@dataclass(frozen=True, kw_only=True)
class Place:
    """One thing to mend: a route, a type of frame with its tool, a forgery and where it was presented, a table."""

    operation: str
    pairs: tuple[Pair, ...] = ()


#: Id of a checker, as histories and results hold it → its name, as people read it and notebooks call it.
CHECKER_NAMES = {
    "C0": "clean-up", "C1": "canary", "C2": "envelope", "C3": "delivery", "C4": "automaton", "C5": "authorisation",
    "C6": "tokens", "C7": "lifecycle", "C8": "pairing", "C9": "transactions", "C10": "resources",
    "C11": "noninterference", "C12": "store", "C13": "conversations", "C14": "promises", "H1": "hygiene",
}  # fmt: skip


def checker_name(id: str) -> str:
    """The name of a checker. Ids look like those of notebooks (``C4``) and are never shown.

    >>> checker_name("C1"), checker_name("from elsewhere")
    ('canary', 'from elsewhere')
    """
    return CHECKER_NAMES.get(id, id)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One defect, with what shows it.

    Arguments:
        checker: the id of the checker that found it, ``C1`` … ``C14``.
        kind: a short stable name, such as ``foreign canary``.
        summary: one sentence: who leaked what to whom, over which surface.
        victims, recipients: aliases, sorted.
        surface: where it was seen.
        witness: indices of at most six operations that show it.
        explanation: "Let r1 = …, then …: a contradiction."
        attribution: catalogue ids of the faults that would look like this, likeliest first.
        severity: ``isolation`` for what harms, ``hygiene`` for weaknesses; by its kind (``checkers.severity``) where
            it is left out.
        operations: every operation through which it came, each with its pairs of owner and recipient.
        secrets: the canaries that were seen, each once; the witness is shown around them.
        story: the summary with ``{owner}`` and ``{recipient}`` for the names, told again when findings are united;
            ``unit`` is what it counts, ``notes`` what else there is to say (in which encoding it came).
    """

    checker: str
    kind: str
    summary: str
    victims: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    surface: str = ""
    witness: tuple[int, ...] = ()
    explanation: str = ""
    attribution: tuple[str, ...] = ()
    severity: str = ""
    operations: tuple[Place, ...] = ()
    secrets: tuple[str, ...] = ()
    story: str = ""
    unit: str = "time"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.severity:
            object.__setattr__(self, "severity", severity_of(self.kind))
        if not 1 <= len(self.witness) <= 6:
            raise ValueError(
                f"a finding carries one to six witness operations, not {len(self.witness)}: {self.summary}"
            )

    @property
    def is_isolation_failure(self) -> bool:
        """Whether it turns a verdict red, rather than standing beside it as hygiene."""
        return self.severity == ISOLATION

    @property
    def count(self) -> int:
        """How often, over all operations and pairs."""
        return sum(pair.count for place in self.operations for pair in place.pairs)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one checker concludes from one window of a history.

    Arguments:
        checker: its id.
        findings: defects found; one of severity ``isolation`` makes the verdict ``fail``, those of ``hygiene`` are
            reported beside it.
        doubts: reasons why an absence of findings would prove nothing; any makes it ``inconclusive``.
        evidence: counts that back a pass, such as ``{"deliveries": 96, "own canaries seen": 12}``.
    """

    checker: str
    findings: tuple[Finding, ...] = ()
    doubts: tuple[str, ...] = ()
    evidence: dict[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        if any(finding.is_isolation_failure for finding in self.findings):
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if self.doubts else Verdict.PASS


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """The verdict on one case, with everything that it rests on.

    ``looks_like`` names the groups of catalogue faults that would look like the findings, likeliest first, with
    reasons, and ``points`` how much speaks for each. ``exact`` says whether the counts are the same in every healthy
    run, so that they can be shown; ``echo`` that all that was found had come to its recipients before this case;
    ``was_run`` that it was judged at all, or found not to apply.
    """

    id: str
    title: str
    verdict: Verdict
    reason: str
    requirements: tuple[str, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    looks_like: tuple[str, ...] = ()
    points: tuple[int, ...] = ()
    exact: bool = True
    echo: bool = False
    was_run: bool = True

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for judgement in self.judgements for finding in judgement.findings)

    @property
    def heading(self) -> str:
        """What to call the case: by its claim, unless something was found."""
        return heading(self.title, ((finding.kind, finding.severity) for finding in self.findings))

    @property
    def evidence(self) -> dict[str, int]:
        """All counts of all checkers; where two count the same thing the larger one."""
        merged: dict[str, int] = {}
        for judgement in self.judgements:
            for name, count in judgement.evidence.items():
                merged[name] = max(count, merged.get(name, 0))
        return merged


def issues(number: int) -> str:
    """``hygiene: 3 issues``: how hygiene issues are shown beside a verdict; nothing where there are none."""
    return f"hygiene: {number} issue{'s' * (number > 1)}" if number else ""


#: Kinds of findings that a heading names.
MOST_KINDS = 3


def heading(claim: str, findings: Iterable[tuple[str, str]]) -> str:
    """A case in a few words: what was violated, else which hygiene issues there are, else what it claims.

    Nobody should read "registering and logging in withstand the careless" beside findings that say the opposite.

    Arguments:
        findings: kind and severity of each.
    """
    found = list(findings)
    for severity, told in (("isolation", "violated"), ("hygiene", "hygiene issues")):
        kinds = list(dict.fromkeys(kind for kind, how_bad in found if how_bad == severity))
        if kinds:
            more = f" and {len(kinds) - MOST_KINDS} more" if len(kinds) > MOST_KINDS else ""
            return f"{told}: {', '.join(kinds[:MOST_KINDS])}{more}"
    return claim


@dataclass(frozen=True, kw_only=True)
class CleanUp:
    """Whether what the investigation made is gone; ``left`` names what is not."""

    verdict: Verdict
    left: tuple[str, ...] = ()


#: The largest bound on the leak rate that a reader is told.
WORTH_SAYING = 0.2


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """What zero leaks in ``runs`` independent runs allow one to say.

    ``upper_bound`` is the exact one-sided 95 % bound on the leak rate per run, ``1 − 0.05^(1/runs)`` (Clopper–Pearson
    with zero successes), which the rule of three approximates by ``3/runs`` (Hanley and Lippman-Hand, JAMA 249:1743,
    1983). With leaks seen it is 1.0: there is nothing to bound.
    """

    runs: int
    deliveries: int
    upper_bound: float

    @staticmethod
    def of(*, runs: int, deliveries: int, leaks: int) -> Confidence:
        bound = 1.0 if leaks or runs < 1 else 1.0 - 0.05 ** (1.0 / runs)
        return Confidence(runs=runs, deliveries=deliveries, upper_bound=round(bound, 6))

    def as_dict(self) -> dict[str, Any]:
        return {"runs": self.runs, "deliveries": self.deliveries, "upper_bound": self.upper_bound}

    @property
    def sentence(self) -> str:
        """What was seen and what follows from it; a bound that says little is left out.

        >>> Confidence.of(runs=68, deliveries=900, leaks=0).sentence.partition(". ")[2]
        'Had more than 4.3 % of runs leaked, we would very likely have seen it (95 % confidence)'
        """
        seen = f"{self.runs} agent runs, {self.deliveries} events delivered"
        if self.upper_bound >= 1.0:
            return f"{seen}; no bound, because there were findings or no runs"
        if self.upper_bound > WORTH_SAYING:
            return seen
        share = f"{100 * self.upper_bound:.1f} %"
        return f"{seen}. Had more than {share} of runs leaked, we would very likely have seen it (95 % confidence)"
