"""What a reviewer would object to, beside leaks and clearly apart from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import plain, told
from netra_probe.checkers.hygiene import accounts, errors, headers, honesty, oracles, sockets, tokens
from netra_probe.checkers.hygiene.base import Exchange, Issue, Rule
from netra_probe.checkers.principals import witness
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.frames import Frame, read_frame
from netra_probe.history.operation import PROBE, Operation, Outcome

RULES: tuple[type[Rule], ...] = (
    *tokens.RULES,
    *headers.RULES,
    *errors.RULES,
    *oracles.RULES,
    *sockets.RULES,
    *accounts.RULES,
    *honesty.RULES,
)
#: Topic → what must have been seen for silence about it to mean anything.
TOPICS: Mapping[str, tuple[str, ...]] = {
    "tokens": ("lifetimes compared", "personal answers"),
    "refusals": ("malformed requests", "refusals read"),
    "sockets": ("own sockets that answered", "handshakes from other origins", "handshakes without a token"),
    "accounts": ("refused log-ins compared",),
    "health": ("answers about health", "uses between two looks at health"),
}


class HygieneChecker(Checker):
    """Tokens, refusals, sockets, accounts and health are as a reviewer expects them.

    What merely makes attacks easier is of severity ``hygiene`` and stands beside the verdict; what harms by itself
    turns it red (``checkers.severity``). Every rule cites its clause. What was found before an earlier check of
    the same history is not reported again; what happened before the first one, such as registering, belongs to it.

    >>> def op(index, type, **more):
    ...     return Operation(index=index, time=index, type=type, action="GET /api/threads", surface="rest",
    ...                      user="alice", **more)
    >>> history = [op(0, "invoke"), op(1, "fail", call=0, status=403, payload="Traceback (most recent call last)")]
    >>> finding = HygieneChecker()(history).findings[0]
    >>> finding.summary, finding.severity
    ('an error shows a stack trace: GET /api/threads (1 time)', 'hygiene')

    Arguments:
        topics: what this case is about (``tokens``, ``refusals``, ``sockets``, ``accounts``, ``health``): without
            anything seen of it, silence is a doubt. All rules judge in any case.
    """

    id = "H1"
    guarantee = (
        "Nothing that was seen breaks a clause on sessions, tokens, errors, sockets, accounts, health or limits."
    )
    source = "OWASP ASVS 5.0 chapters 3, 4, 6, 7, 9, 14 and 16; OWASP WSTG 4.2; each finding cites its clause"
    complexity = "time O(n + bytes of answers), memory O(kinds of issue)"
    inconclusive_when = "nothing was answered, or nothing was seen of a topic that the case is about"

    def __init__(self, *topics: str, about: Iterable[str] = ()) -> None:
        self.topics = tuple(dict.fromkeys((*topics, *about)))
        unknown = sorted(set(self.topics) - set(TOPICS))
        if unknown:
            raise ValueError(f"no topic {unknown[0]!r} of hygiene; there are {', '.join(TOPICS)}")

    @property
    def options(self) -> Mapping[str, Any]:
        return {"about": list(self.topics)} if self.topics else {}

    def begin(self, window: Window) -> CheckerRun:
        return _HygienePass(window.start, self.topics)


@dataclass
class _Group:
    """Issues of one rule that say the same on the same surface."""

    rule: Rule
    first: Issue
    #: place → user → how often, and the operation that shows it first.
    places: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)

    @property
    def start(self) -> int:
        return min(self.first.shows)


class _HygienePass(CheckerRun):
    def __init__(self, start: int, topics: tuple[str, ...]) -> None:
        self._start = start
        self._topics = topics
        self._rules = [rule() for rule in RULES]
        self._by_frame = [rule for rule in self._rules if type(rule).frame is not Rule.frame]
        self._by_note = [rule for rule in self._rules if type(rule).note is not Rule.note]
        self._open: dict[int, Operation] = {}
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._checked = False
        self._answers = 0

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action in (actions.TOKEN, actions.CHECK)
        if surface == sockets.SURFACE:
            return action in (actions.CONNECT, actions.SEND, actions.RECEIVE)
        return surface in ("auth", "rest") and action != actions.ATTEMPT

    def feed(self, operation: Operation) -> None:
        if operation.action == actions.CHECK:
            if operation.index < self._start:
                self._checked = True
                for rule in self._rules:
                    rule.seen.clear()
        elif operation.action == actions.RECEIVE:
            self.frame(operation, read_frame(operation.payload, operation.ids))
        elif operation.surface == PROBE or operation.action == actions.SEND:
            for rule in self._by_note:
                self._take(rule, rule.note(operation))
        elif operation.type == "invoke":
            self._open[operation.index] = operation
        elif operation.call is not None and (call := self._open.pop(operation.call, None)) is not None:
            self._answers += operation.status is not None and operation.index >= self._start
            exchange = Exchange(call, operation)
            for rule in self._rules:
                self._take(rule, rule.exchange(exchange))

    def frame(self, operation: Operation, frame: Frame) -> None:
        for rule in self._by_frame:
            self._take(rule, rule.frame(operation, frame))

    def _take(self, rule: Rule, issues: Iterator[Issue]) -> None:
        for issue in issues:
            place = (issue.kind or rule.kind, issue.surface, issue.said)
            group = self._groups.setdefault(place, _Group(rule, issue))
            users = group.places.setdefault(plain(issue.place), {})
            count, shown = users.get(issue.user or "", (0, max(issue.shows)))
            users[issue.user or ""] = (count + 1, shown)
            if issue.user is not None:
                group.users.add(issue.user)

    def finish(self) -> Judgement:
        for rule in self._rules:
            self._take(rule, rule.finish())
        # Before the first check lies preparation, which belongs to it; before a later one, what was reported.
        findings = [
            _finding(kind, group)
            for (kind, _, _), group in sorted(self._groups.items())
            if not self._checked or group.start >= self._start
        ]
        seen: Counter[str] = Counter()
        for rule in self._rules:
            seen.update(rule.seen)
        doubts = [] if self._answers else ["nothing was answered"]
        for topic in self._topics if self._answers else ():
            doubts += [f"{topic}: no {what}" for what in TOPICS[topic] if not seen.get(what)]
        told = {name for topic in self._topics for name in _names_of(topic, self._rules)}
        return Judgement(
            checker=HygieneChecker.id,
            findings=tuple(findings),
            doubts=tuple(doubts),
            evidence={name: count for name, count in sorted(seen.items()) if name in told},
        )


def _names_of(topic: str, rules: Iterable[Rule]) -> set[str]:
    return {name for rule in rules if rule.topic == topic for name in rule.seen}


def _finding(kind: str, group: _Group) -> Finding:
    first = group.first
    finding = Finding(
        checker=HygieneChecker.id,
        kind=kind,
        summary=first.said,
        story=first.said,
        operations=tuple(
            Place(
                operation=place,
                pairs=tuple(
                    Pair(owner=user, recipient=user, count=count, example=example)
                    for user, (count, example) in sorted(users.items())
                ),
            )
            for place, users in sorted(group.places.items())
        ),
        victims=tuple(sorted(group.users)),
        surface=first.surface,
        witness=witness(*first.shows),
        explanation=(
            f"Let r1 = #{first.shows[0]}, then #{first.shows[-1]}: {first.said}. {group.rule.clause} demands: "
            f"{group.rule.demand}; a contradiction."
        ),
    )
    return told(finding)
