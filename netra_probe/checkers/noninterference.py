"""What a user observes does not depend on the others: not on their presence, not on their secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, median

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import plain
from netra_probe.checkers.observations import normalised
from netra_probe.checkers.principals import listed, times, witness
from netra_probe.checkers.refusals import Refusals
from netra_probe.checkers.runs.questions import FIRST_WAIT, PATIENCE
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.frames import Frame, frame_of
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.runs import EVENTS


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one sample lies to another.

    Arguments:
        p: two-sided probability of a difference at least as large if both had one distribution.
        greater: probability that a value of the second sample exceeds one of the first, ties counting half.
        medians: of the first and the second sample.
    """

    p: float
    greater: float
    medians: tuple[float, float]


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """The Mann–Whitney U test, by the normal approximation with corrections for ties and continuity.

    Mann and Whitney, Annals of Mathematical Statistics 18:50, 1947. The approximation is good from about eight values
    a side; callers ask for more than that.

    >>> compare([1, 2, 3, 4, 5, 6, 7, 8], [11, 12, 13, 14, 15, 16, 17, 18]).p < 0.001
    True
    """
    n, m = len(first), len(second)
    if not n or not m:
        raise ValueError("both samples need at least one value")
    everything = sorted((*first, *second))
    below: dict[float, int] = {}
    equal: dict[float, int] = {}
    for position, value in enumerate(everything):
        below.setdefault(value, position)
        equal[value] = equal.get(value, 0) + 1
    ranks = sum(below[value] + (equal[value] + 1) / 2 for value in second)
    u = ranks - m * (m + 1) / 2
    total = n + m
    ties = sum(count**3 - count for count in equal.values())
    variance = n * m / 12 * ((total + 1) - ties / (total * (total - 1))) if total > 1 else 0.0
    distance = max(abs(u - n * m / 2) - 0.5, 0.0)
    p = 1.0 if variance <= 0 else 2 * (1 - NormalDist().cdf(distance / variance**0.5))
    return Comparison(p=min(p, 1.0), greater=u / (n * m), medians=(median(first), median(second)))


#: Opens a part of the history: ``detail.variant`` says who else is there.
VARIANT = "variant"
ALONE, OTHERS, SECRETS = "alone", "with others", "other secrets"
#: Pairs that are compared, and what a difference between them shows.
_PAIRS = ((ALONE, OTHERS, "presence"), (OTHERS, SECRETS, "secrets"))
#: Observations kept at most; a script for this checker has some hundreds.
KEPT = 100_000
#: A latency finding needs so many values a side, a chance of error below this, and a difference that a user notices.
FEWEST, ERROR, RATIO, NOTICED = 8, 0.001, 5.0, 500_000_000
#: Others' secrets may not show in the time it takes either: almost every value on one side, and twice as large.
ORDER, TELLING_RATIO = 0.95, 2.0
#: Events that bring a piece of an answer; the wait for the first one, and how many a side are compared.
PIECE, FIRST_PIECE, FEWEST_PIECES = "partial_result", "the first piece of an answer", 10
#: Order and ratio that tell among first pieces, which are compared in turns, so that a busy machine delays both alike:
#: of few pairs nearly all must differ for ``ERROR``, of many on such a machine three quarters.
PIECES = 0.75, 1.2
_SOCKET_CHATTER = frozenset({"", "ping", "pong", "ack", "heartbeat", "heartbeat_ack", "connection_established"})


class NonInterferenceChecker(Checker):
    """The same script, alone, with others and with others who have other secrets, looks the same to a user.

    The history holds the script several times, each part opened by an operation ``variant``. A variant may be recorded
    more than once: what already differs between two equal parts is noise and is left out. Without variants, what is
    judged is who was told to slow down while somebody put a load on the target (``netra_probe.checkers.refusals``).
    """

    id = "C11"
    guarantee = "What a user observes, and how long they wait for it, is the same whoever else uses the platform."
    source = (
        "non-interference (Goguen and Meseguer, IEEE S&P 1982); OWASP WSTG-BUSL-04 process timing; OWASP "
        "ASVS 5.0 15.4.4; Mann and Whitney, Annals of Mathematical Statistics 18:50, 1947"
    )
    complexity = "time O(bytes observed), memory O(observations of the script), at most 100,000"
    inconclusive_when = (
        "fewer than two variants were recorded, no user took part in all of them, nothing was observed, nobody else "
        "was there in the variant with others, everything observed varies by itself, or many questions were asked "
        "whose answers did not come in pieces; without variants: nobody put a load on the target, or nobody else was "
        "served after it"
    )

    def begin(self, window: Window) -> CheckerRun:
        return NonInterferencePass(window.start)


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation, normalised, and the operations that made it."""

    text: str
    indices: tuple[int, ...]


@dataclass(slots=True)
class Part:
    """One performance of the script: what each user saw, step by step, and how long each act took."""

    variant: str
    index: int
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    waits: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)


class NonInterferencePass(CheckerRun):
    """Collects the parts; compares them at the end."""

    def __init__(self, start: int) -> None:
        self._start = start
        #: How long answered questions took; (user, question) → seconds after which one was given up.
        self._durations: list[int] = []
        self._given_up: dict[tuple[str, str], float] = {}
        self._soon: dict[tuple[str, str], float] = {}
        self._parts: list[Part] = []
        #: Run → its last event; runs whose answer has begun.
        self._last_events: dict[str, int] = {}
        self._begun: set[str] = set()
        #: token → owner and field; nonces of the questions.
        self._canaries: dict[str, tuple[str, str]] = {}
        self._nonces: set[str] = set()
        self._open: dict[int, tuple[str, int]] = {}
        self._kept = 0
        self._noise = 0
        self._refusals = Refusals(start)

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE or action == VARIANT:
            return action in (VARIANT, actions.MINT)
        if surface == "websocket":
            return action in (actions.RECEIVE, actions.SEND) or (action == actions.ASK and bool(self._parts))
        return surface in ("rest", "auth") or (surface in ("llm", "component") and bool(self._parts))

    def feed(self, operation: Operation) -> None:
        action = operation.action
        self._refusals.feed(operation)
        if action == actions.SEND:
            return
        if action == actions.MINT:
            if operation.user:
                detail = operation.detail
                self._canaries[str(detail.get("token"))] = (operation.user, str(detail.get("field", "secret")))
        elif action == VARIANT:
            if operation.index >= self._start:
                self._parts.append(Part(str(operation.detail.get("variant", "")), operation.index))
                self.reconsider()
        elif self._parts and operation.user is not None:
            self._step(self._parts[-1], operation, operation.user)

    def _step(self, part: Part, operation: Operation, user: str) -> None:
        if operation.action == actions.RECEIVE:
            self._frame(part, operation, user)
        elif operation.action == actions.ASK:
            if operation.type == "invoke":
                label = self._label(part, user, "question")
                if operation.nonce:
                    self._nonces.add(operation.nonce)
                    part.runs[operation.nonce] = label
                self._open[operation.index] = label, operation.time
            elif operation.call in self._open:
                label, began = self._open.pop(operation.call)
                self._waited(part, user, "ask", operation.time - began)
                if operation.type == "ok":
                    self._durations.append(operation.time - began)
                elif isinstance(silent := operation.detail.get("silent"), int | float):
                    self._given_up[user, label] = float(silent)
                if run := operation.ids.get("run_id"):
                    self._rename(part, user, run, label)
                self._keep(part, user, f"{label}: end", operation.type, operation.call, operation.index)
        elif operation.type == "invoke":
            if operation.nonce:
                self._nonces.add(operation.nonce)
            self._open[operation.index] = self._label(part, user, operation.action), operation.time
        elif operation.call in self._open:
            label, began = self._open.pop(operation.call)
            self._waited(part, user, operation.action, operation.time - began)
            text = f"{operation.type} {operation.status} {normalised(operation.payload, self._mark(user))}"
            self._keep(part, user, label, text, operation.call, operation.index)

    def _frame(self, part: Part, operation: Operation, user: str) -> None:
        frame = frame_of(operation)
        if frame.name in _SOCKET_CHATTER:
            return
        text = f"{frame.name} {normalised(operation.payload, self._mark(user))}"
        if frame.name in EVENTS:
            self._first_piece(part, user, frame, operation.time)
            id = frame.ids.get("turn_id", "")
            label = part.runs.get(id) or part.runs.get(frame.run) or ""
            if not label:
                label = part.runs[frame.run] = self._label(part, user, "run")
        else:
            label = frame.name
        self._keep(part, user, self._label(part, user, f"{label}: event"), text, operation.index)

    def _first_piece(self, part: Part, user: str, frame: Frame, time: int) -> None:
        """How long the first piece of an answer took, from the event before it on."""
        before = self._last_events.get(frame.run)
        if frame.name == PIECE and before is not None and frame.run not in self._begun:
            self._begun.add(frame.run)
            self._waited(part, user, FIRST_PIECE, time - before)
        if len(self._last_events) < KEPT:
            self._last_events[frame.run] = time

    def _rename(self, part: Part, user: str, run: str, label: str) -> None:
        """Now that the run of a question is known, its events so far belong to that question."""
        unnamed = part.runs.get(run)
        part.runs[run] = label
        if unnamed is not None and unnamed != label:
            seen = part.seen.get(user, {})
            for name in [name for name in seen if name.startswith(f"{unnamed}: ")]:
                seen[label + name.removeprefix(unnamed)] = seen.pop(name)
            counted = part.counters.pop(f"{user} {unnamed}: event", 0)
            part.counters[f"{user} {label}: event"] = counted

    def _label(self, part: Part, user: str, what: str) -> str:
        key = f"{user} {what}"
        number = part.counters[key] = part.counters.get(key, 0) + 1
        return f"{what} {number}"

    def _mark(self, user: str) -> Callable[[str], str | None]:
        """What to put for a canary or a nonce that a user sees: their own are the same in every variant."""

        def mark(text: str) -> str | None:
            if text in self._nonces:
                return "a nonce"
            whose, what = self._canaries.get(text, ("", ""))
            return None if not whose else f"own {what}" if whose == user else f"{whose}'s {what}"

        return mark

    def _waited(self, part: Part, user: str, action: str, nanoseconds: int) -> None:
        part.waits.setdefault(user, {}).setdefault(action, []).append(nanoseconds)

    def _keep(self, part: Part, user: str, label: str, text: str, *indices: int) -> None:
        self._kept += 1
        if self._kept <= KEPT:
            part.seen.setdefault(user, {})[label] = Seen(text, indices)

    def _too_soon(self) -> dict[tuple[str, str], float]:
        """Questions that were given up so soon that their silence is our deadline's doing."""
        least = max(FIRST_WAIT, PATIENCE * int(median(self._durations)) if self._durations else 0)
        return {place: seconds for place, seconds in self._given_up.items() if seconds * 1e9 < least}

    def finish(self) -> Judgement:
        self._soon = self._too_soon()
        doubts = [
            f"{user}'s {label} was given up after {seconds:g} s, before its run was over: raise `deadline`"
            for (user, label), seconds in sorted(self._soon.items())
        ]
        findings: list[Finding] = []
        compared = 0
        variants = {part.variant for part in self._parts if part.seen}
        if not all(part.seen for part in self._parts):
            doubts.append("nothing was observed in a part of the history")
        for before, after, what in _PAIRS:
            if not {before, after} <= variants:
                continue
            subjects = self._subjects(before, after)
            if not subjects:
                doubts.append(f"no user took part both {before!r} and {after!r}")
            for subject in subjects:
                others = self._others(after, subject)
                if not others:
                    doubts.append(f"nobody but {subject} was there in {after!r}")
                asked, pieces = (self._fewest(subject, action, before, after) for action in ("ask", FIRST_PIECE))
                if asked >= FEWEST_PIECES > pieces:
                    doubts.append(f"too few answers to {subject} came in pieces to compare how soon they began")
                found, count = self._compare(subject, others, before, after, what)
                findings += found + self._slower(subject, others, before, after, what)
                compared += count
        findings += self._refusals.findings()
        if not self._parts and self._refusals.loaded:
            doubts += self._refusals.doubts()
        elif len(variants & {ALONE, OTHERS, SECRETS}) < 2:
            doubts.append("fewer than two variants of the script were recorded")
        elif not compared:
            doubts.append("nothing that was observed could be compared")
        if self._kept > KEPT:
            doubts.append(f"more than {KEPT} observations: the rest was not compared")
        evidence = {"observations compared": compared, "observations that vary by themselves": self._noise}
        if self._refusals.loaded:
            evidence["told to slow down"] = len(self._refusals.refused)
        return Judgement(checker="C11", findings=tuple(findings), doubts=tuple(doubts), evidence=evidence)

    def _fewest(self, subject: str, action: str, *variants: str) -> int:
        """How many waits of a kind there are at least on each side."""
        return min(
            sum(len(part.waits.get(subject, {}).get(action, ())) for part in self._of(variant)) for variant in variants
        )

    def _of(self, variant: str) -> list[Part]:
        """The parts of a variant in which anything was observed at all."""
        return [part for part in self._parts if part.variant == variant and part.seen]

    def _subjects(self, before: str, after: str) -> list[str]:
        """Users who went through the script in every part of both variants."""
        parts = self._of(before) + self._of(after)
        common = set.intersection(*(set(part.seen) for part in parts))
        alone = self._of(ALONE)
        return sorted(common.intersection(*(part.seen for part in alone)) if alone else common)

    def _others(self, variant: str, subject: str) -> tuple[str, ...]:
        return tuple(sorted({user for part in self._of(variant) for user in part.seen if user != subject}))

    def _compare(
        self, subject: str, others: tuple[str, ...], before: str, after: str, what: str
    ) -> tuple[list[Finding], int]:
        """Step by step: what is the same among equal parts must be the same across the variants."""
        first = [part.seen[subject] for part in self._of(before)]
        second = [part.seen[subject] for part in self._of(after)]
        differences: list[tuple[str, Seen | None, Seen | None]] = []
        compared = 0
        for label in dict.fromkeys(label for seen in (*first, *second) for label in seen):
            if (subject, label.partition(":")[0]) in self._soon:
                continue
            here, there = [seen.get(label) for seen in first], [seen.get(label) for seen in second]
            if _varies(here) or _varies(there):
                self._noise += 1
                continue
            compared += 1
            if _text(here[0]) != _text(there[0]):
                differences.append((label, here[0], there[0]))
        if not differences:
            return [], compared
        label, one, other = differences[0]
        anything = next(iter(first[0].values() if one is None else second[0].values()))
        shown = witness(*(one or anything).indices, *(other or anything).indices)
        explanation = (
            f"Let {subject} do the same in two parts of the history, {before!r} and {after!r}, which differ only in "
            + (f"the presence of {listed(others)}" if what == "presence" else f"what {listed(others)} keep secret")
            + f". Then #{shown[0]} and #{shown[-1]}, the same step ({label}), look different to {subject}, or one of "
            "them is missing: a contradiction."
        )
        return [
            Finding(
                checker="C11",
                kind=f"depends on {what}",
                summary=f"what {subject} observes depends on the {what} of {listed(others) or 'others'} "
                f"({times(len(differences), 'step')})",
                victims=others,
                recipients=(subject,),
                surface="",
                operations=tuple(_step(label, others, (subject,), shown[-1]) for label, _, _ in differences),
                witness=shown,
                explanation=explanation,
            )
        ], compared

    def _slower(self, subject: str, others: tuple[str, ...], before: str, after: str, what: str) -> list[Finding]:
        """Latencies: whether the others make the subject wait, or show in how long the subject waits."""
        findings = []
        actions_done = {action for part in self._of(after) for action in part.waits.get(subject, {})}
        for action in sorted(actions_done):
            samples = [
                [wait for part in self._of(variant) for wait in part.waits.get(subject, {}).get(action, ())]
                for variant in (before, after)
            ]
            if min(map(len, samples)) < (FEWEST_PIECES if action == FIRST_PIECE else FEWEST):
                continue
            result = compare(*samples)
            low, high = sorted(result.medians)
            if what == "presence":
                unfair = result.medians[1] == high > max(RATIO * low, low + NOTICED)
            else:
                order, ratio = PIECES if action == FIRST_PIECE else (ORDER, TELLING_RATIO)
                unfair = high > ratio * low and not 1 - order < result.greater < order
            if result.p >= ERROR or not unfair:
                continue
            shown = tuple(part.index for variant in (before, after) for part in self._of(variant)[:1])
            victims, recipients = ((subject,), others) if what == "presence" else (others, (subject,))
            findings.append(
                Finding(
                    checker="C11",
                    kind=f"wait depends on {what}",
                    summary=f"how long {subject} waits for {action} depends on the {what} of {listed(others)}",
                    victims=victims,
                    recipients=recipients,
                    surface="",
                    operations=(_step(action, victims, recipients, shown[-1]),),
                    witness=shown,
                    explanation=(
                        f"Let {before!r} (#{shown[0]}) and {after!r} (#{shown[-1]}) be two samples of the time that "
                        f"{subject} waits for {action}. If the others made no difference, samples so far apart would "
                        f"come up in less than {ERROR:.1%} of cases (Mann–Whitney): a contradiction, at that level."
                    ),
                )
            )
        return findings


def _step(name: str, owners: Sequence[str], recipients: Sequence[str], example: int) -> Place:
    pairs = (Pair(owner=one, recipient=other, example=example) for one in owners for other in recipients)
    return Place(operation=plain(name), pairs=tuple(pairs))


def _text(seen: Seen | None) -> str | None:
    return None if seen is None else seen.text


def _varies(seen: Sequence[Seen | None]) -> bool:
    return len({_text(one) for one in seen}) > 1
