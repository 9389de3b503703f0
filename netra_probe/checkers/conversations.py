"""Each run stays in the conversation in which it was asked for, whatever else its user has going on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import FindingSet, Spot, place_of
from netra_probe.checkers.json_bodies import leaves
from netra_probe.checkers.principals import witness
from netra_probe.checkers.runs.questions import KEPT_IDS, KEPT_RUN_IDS, Claims, Recent
from netra_probe.checkers.verdict import Judgement
from netra_probe.history import actions
from netra_probe.history.canary import WHOLE
from netra_probe.history.frames import Frame
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.runs import COMPLETED, is_of_a_run
from netra_probe.history.untrusted import decoded

#: Objects of one body that are looked at.
MOST_OBJECTS = 5_000


class ConversationChecker(Checker):
    """The events of a run, and what is stored of it, stand in the thread in which its user asked, and in no other.

    >>> from netra_probe.history.operation import Operation
    >>> ask = {"action": "ask", "user": "alice", "surface": "websocket", "connection": "alice/ws-1"}
    >>> event = '{"type":"agent_%s","run_id":"r","thread_id":"%s","payload":{"turn_id":"q1"}}'
    >>> history = [
    ...     Operation(index=0, time=0, type="invoke", nonce="q1", ids={"thread_id": "t1"}, payload="a", **ask),
    ...     Operation(index=1, time=1, type="invoke", nonce="q2", ids={"thread_id": "t2"}, payload="b", **ask),
    ...     Operation(index=2, time=2, type="ok", **{**ask, "action": "receive"}, payload=event % ("started", "t1")),
    ...     Operation(index=3, time=3, type="ok", **{**ask, "action": "receive"}, payload=event % ("completed", "t2")),
    ... ]
    >>> [finding.summary for finding in ConversationChecker()(history).findings]
    ["a run of alice's went on in another conversation of alice through agent_completed (1 frame)"]
    """

    id = "C13"
    guarantee = "Every event and every stored answer of a run stands in the conversation in which its user asked."
    source = (
        "claude-code issue 79241 and hermes-workspace issue 297 (an answer in the user's other conversation); OWASP "
        "ASVS 5.0 8.2.2; the platform's event contract (netra-wire §6)"
    )
    complexity = "time O(bytes of payload), memory O(runs × conversations that they are named with)"
    inconclusive_when = (
        "no question named its conversation, nobody asked in two conversations, or nothing that came told the "
        "conversation of a run"
    )

    def begin(self, window: Window) -> CheckerRun:
        return ConversationPass(window.start)


_SUMMARIES = {
    "event in another conversation": "a run of {victim}'s went on in another conversation of {recipient}",
    "answer in another conversation": "an answer to {victim} was stored in another conversation of {recipient}",
}


@dataclass(slots=True)
class _Question:
    """One question that named its thread."""

    user: str
    thread: str
    index: int
    done: int | None = None


@dataclass(slots=True)
class _Run:
    """What is known of a run: the questions that it may answer, and where it was seen, by thread."""

    turns: set[str] = field(default_factory=set)
    questions: list[_Question] = field(default_factory=list)
    events: dict[str, tuple[str, Spot]] = field(default_factory=dict)
    stored: dict[str, tuple[str, Spot]] = field(default_factory=dict)
    ended: int | None = None


class ConversationPass(CheckerRun):
    """Notes with which threads each run is named; compares at the end, when it is known who asked for which."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._claims = Claims()
        self._turns = Recent[_Question](KEPT_RUN_IDS)
        self._open: dict[int, _Question] = {}
        self._runs = Recent[_Run](KEPT_RUN_IDS)
        #: An answer with a secret in it, word for word → the run that gave it.
        self._answers = Recent[str](KEPT_RUN_IDS)
        #: Text that stands as a message in a thread: text → thread → where.
        self._messages = Recent[dict[str, tuple[str, Spot]]](KEPT_RUN_IDS)
        #: Thread → the operation by which it is known.
        self._known = Recent[int](KEPT_IDS)
        #: User → threads in which they asked within the window.
        self._asked: dict[str, set[str]] = {}
        self._compared = 0

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action == actions.OWN
        if surface == "websocket":
            return action in (actions.ASK, actions.RECEIVE)
        return surface == "rest" and type == "ok"

    def feed(self, operation: Operation) -> None:
        if operation.action == actions.OWN:
            self._own(operation)
        elif operation.action == actions.ASK:
            self._ask(operation)
        elif operation.index >= self._start and operation.user is not None and '"thread_id"' in operation.payload:
            self._body(operation, operation.user)

    def _own(self, operation: Operation) -> None:
        self._claims.own(operation)
        thread = operation.ids.get("thread_id")
        if thread and thread not in self._known:
            self._known.keep(thread, operation.index)

    def _ask(self, operation: Operation) -> None:
        if operation.type == "invoke":
            self._own(operation)
            thread, user = operation.ids.get("thread_id"), operation.user
            if thread and user and not self._claims.foreign(user, "", thread):
                question = self._open[operation.index] = _Question(user, thread, operation.index)
                if operation.nonce:
                    self._turns.keep(operation.nonce, question)
                if operation.index >= self._start:
                    self._asked.setdefault(user, set()).add(thread)
            return
        ended = self._open.pop(operation.call, None) if operation.call is not None else None
        run = operation.ids.get("run_id")
        if ended is not None and run:
            ended.done = operation.index
            self._run(run).questions.append(ended)

    def _run(self, id: str) -> _Run:
        if id not in self._runs:
            self._runs.keep(id, _Run())
        return self._runs[id]

    def frame(self, operation: Operation, frame: Frame) -> None:
        run, thread, user = frame.run, frame.ids.get("thread_id"), operation.user
        if not run or user is None or operation.index < self._start or not is_of_a_run(frame):
            return
        known = self._run(run)
        if turn := frame.ids.get("turn_id"):
            known.turns.add(turn)
        if thread:
            known.events.setdefault(thread, (user, Spot(operation.index, place_of(operation, frame))))
        if frame.name == COMPLETED:
            known.ended = operation.index
            for _, text in leaves("", frame.body):
                if WHOLE.search(text):
                    self._answers.keep(text, run)

    def _body(self, operation: Operation, user: str) -> None:
        """Objects that name a run and a thread, and messages that are an answer word for word."""
        spot = Spot(operation.index, place_of(operation))
        for thing, thread in _objects(decoded(operation.payload)):
            run = thing.get("run_id")
            if isinstance(run, str):
                self._run(run).stored.setdefault(thread, (user, spot))
            elif "role" in thing:
                for _, text in leaves("", thing):
                    if text in self._answers:
                        if text not in self._messages:
                            self._messages.keep(text, {})
                        self._messages[text].setdefault(thread, (user, spot))

    def finish(self) -> Judgement:
        for text, places in self._messages.items():
            run = self._runs.get(self._answers.get(text, ""))
            if run is not None:
                for thread, place in places.items():
                    run.stored.setdefault(thread, place)
        found = FindingSet("C13", _SUMMARIES, unit="delivery")
        for run in self._runs.values():
            self._compare(run, found)
        return Judgement(
            checker="C13",
            findings=found.findings(),
            doubts=tuple(self._doubts()),
            evidence={"runs in their conversation": self._compared},
        )

    def _compare(self, run: _Run, found: FindingSet) -> None:
        question = self._question_of(run)
        if question is None:
            return
        self._compared += question.thread in run.events or question.thread in run.stored
        for kind, surface, places in (
            ("event in another conversation", "websocket", run.events.items()),
            ("answer in another conversation", "rest", run.stored.items()),
        ):
            for thread, (user, spot) in places:
                if user != question.user or thread == question.thread or not self._is_other(user, thread):
                    continue
                if not found.count(kind, user, user, surface, spot=spot):
                    explanation = (
                        f"Let q = #{question.index} in which {user} asks in one conversation, and r = #{spot.at} in "
                        f"which what belongs to the run of q is told to be in another one of {user}'s. A run belongs "
                        "to the conversation that asked for it: a contradiction."
                    )
                    told = run.events.get(question.thread)
                    shows = (question.index, spot.at, self._known.get(thread), told[1].at if told else run.ended)
                    shown = witness(*shows, question.done, run.ended)
                    found.add(kind, user, user, surface, shown, explanation, spot=spot)

    def _question_of(self, run: _Run) -> _Question | None:
        """The one question that a run is known to answer: by its turn, or because some event names its thread."""
        named = [self._turns[turn] for turn in run.turns if turn in self._turns]
        asked = named or [one for one in run.questions if one.thread in run.events]
        return asked[0] if len({one.index for one in asked}) == 1 else None

    def _is_other(self, user: str, thread: str) -> bool:
        """Whether a thread is one of the user's own that they know: platforms may give a run a thread of its own."""
        return self._claims.known("", thread) and not self._claims.foreign(user, "", thread)

    def _doubts(self) -> list[str]:
        if not self._asked:
            return ["no question named its conversation"]
        if not any(len(threads) > 1 for threads in self._asked.values()):
            return ["nobody asked in two conversations"]
        return [] if self._compared else ["nothing told the conversation of a run"]


def _objects(body: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every object in a body with the thread that it, or what it stands in, names."""
    waiting: list[tuple[Any, str]] = [(body, "")]
    for _ in range(MOST_OBJECTS):
        if not waiting:
            return
        value, thread = waiting.pop()
        if isinstance(value, list):
            waiting += ((one, thread) for one in value)
        elif isinstance(value, dict):
            named = value.get("thread_id")
            thread = named if isinstance(named, str) else thread
            if thread:
                yield value, thread
            waiting += ((one, thread) for one in value.values() if isinstance(one, dict | list))
