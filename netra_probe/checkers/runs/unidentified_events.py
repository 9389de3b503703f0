"""Events that carry no run id: which question they answer, where only one comes into question."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from netra_probe.checkers.principals import times
from netra_probe.checkers.runs.liveness import Liveness
from netra_probe.checkers.runs.questions import Claims
from netra_probe.history.frames import Frame
from netra_probe.history.operation import Operation
from netra_probe.history.runs import ENDS, REPORT, STARTED, Asked, questions_of

#: Questions of one user that an event may answer; older ones are forgotten.
KEPT_QUESTIONS = 50


class Question(Asked, kw_only=True, eq=False):
    """One question of one user, and what is known of its run."""

    index: int
    connection: str | None
    outcome: str = ""
    done: int = -1
    #: Whether its run may go on: it is under way, or nobody waits for it any more.
    goes_on: bool = True
    #: What its run is called: the id that the first event carried, else a name of ours.
    run: str = ""
    #: Connections that have shown its start, its end, and its report.
    started_on: set[str | None] = msgspec.field(default_factory=set)
    ended_on: set[str | None] = msgspec.field(default_factory=set)
    reported_on: set[str | None] = msgspec.field(default_factory=set)


class Other(msgspec.Struct, gc=False):
    """Runs of which nobody knows the question, on one connection: how many there were, and how many are open.

    ``mixed`` is whether several of them were open since one was; then none can be distinguished from the others.
    """

    number: int = 0
    open: int = 0
    mixed: bool = False


def name_of(index: int) -> str:
    """What the run of a question is called that never carried an id."""
    return f"answer to #{index}"


class UnidentifiedEvents:
    """Gives each event the name of its run: the id that it carries, else that of the only question it can answer.

    Some producers send no run id and no turn id, and some only with part of their events (netra-wire §6). Such an event
    belongs to the user's only question that is under way; with several of them its owner is unknown. Of
    those who had several runs at once in the window, and events without an id, nothing is said that rests on which
    event belongs to which run.
    """

    def __init__(self, life: Liveness, claims: Claims, start: int) -> None:
        self._life = life
        self._claims = claims
        self._start = start
        self._asked: dict[str, deque[Question]] = {}
        self._open: dict[int, Question] = {}
        #: Ids that a run turned out to have after it had been given a name.
        self._names: dict[str, str] = {}
        self._others: dict[tuple[str | None, str], Other] = {}
        self._ends: dict[tuple[str | None, str], int] = {}
        #: Users with events of the window that carry no id, and users with several runs at once in it; of some of
        #: these the runs are in different threads.
        self._without_ids: set[str] = set()
        self._at_once: set[str] = set()
        self._in_threads: set[str] = set()
        #: The threads of a user's questions whose runs may go on.
        self._going_on: dict[str, list[str]] = {}

    def feed(self, operation: Operation) -> None:
        """Take in an ``ask`` operation."""
        user = operation.user or ""
        if operation.type == "invoke":
            thread = operation.ids.get("thread_id", "")
            beside = self._going_on.setdefault(user, [])
            if operation.index >= self._start and beside:
                apart = "" not in (thread, *beside) and thread not in beside
                (self._in_threads if apart else self._at_once).add(user)
            beside.append(thread)
            question = Question(
                index=operation.index, connection=operation.connection, turn_id=operation.nonce or "", thread_id=thread
            )
            self._asked.setdefault(user, deque(maxlen=KEPT_QUESTIONS)).append(question)
            self._open[operation.index] = question
        elif operation.call is not None and (known := self._open.pop(operation.call, None)) is not None:
            known.outcome, known.done = operation.type, operation.index
            if operation.type != "info" or known.index < self._start:
                self._going_on[user].remove(known.thread_id)
                known.goes_on = False
            if not known.goes_on:
                known.thread_id = known.thread_id or operation.ids.get("thread_id", "")

    def meet(self, operation: Operation, frame: Frame, id: str) -> str:
        """The name of a run whose id shows for the first time: the id, unless the run has another name already."""
        name = self._names.get(id)
        if name is None:
            name = id
            question = self._question_with(operation, frame, id)
            if question is not None:
                question.run_id = question.run_id or frame.ids.get("run_id", "")
            if question is not None and not question.run:
                question.run = id
            elif question is not None and question.run == name_of(question.index):
                name = self._names[id] = question.run
            elif question is None and operation.index >= self._start:
                # Events without an id, before this one, may have been of the same run.
                self._at_once.add(operation.user or "")
        return name

    def name(self, operation: Operation, frame: Frame) -> str:
        """The name of the run of an event without an id; "" where several runs come into question."""
        user = operation.user or ""
        if operation.index >= self._start:
            self._without_ids.add(user)
        connection, thread = operation.connection, frame.ids.get("thread_id", "")
        if not thread and user in self._in_threads:
            self._at_once.add(user)
        other = self._others.get((connection, thread))
        unknown = other is not None and other.open > 0
        question = self._late(operation, frame, alone=not unknown)
        if question is None:
            found = self._candidates(operation, frame)
            if len(found) + unknown > 1:
                self._mixed(operation, frame, thread, found, other)
                return ""
            question = found[0] if found else None
        if question is not None and not (frame.name == STARTED and connection in question.started_on):
            if frame.name == STARTED:
                question.started_on.add(connection)
            question.run = question.run or name_of(question.index)
            self._claims.claim(question.run, operation.user or "")
            return question.run
        if other is None:
            other = self._others[connection, thread] = Other()
        called = self._unasked(other, frame, f"{connection} {thread}".rstrip())
        if operation.index >= self._start and (not called or user in self._asked):
            self._at_once.add(user)
        return called

    def confuses(self, user: str) -> bool:
        """Whether the user had several runs at once in the window, and events that do not tell of which they are."""
        return user in self._without_ids and user in self._at_once

    def doubts(self, untied: int, users: Iterable[str]) -> list[str]:
        """What cannot be said: of so many events of the window, or of the runs of any of these users."""
        if untied:
            return [f"{times(untied, 'event')} of concurrent runs carried no run id: not to be told apart"]
        everybody = set(users)
        if everybody and all(map(self.confuses, everybody)):
            return ["everybody had several runs at once, with events that carry no run id"]
        return []

    def _unasked(self, other: Other, frame: Frame, place: str) -> str:
        """The name of a run that no question is known of; "" while several of them are open at once."""
        if frame.name == STARTED:
            other.open += 1
            other.mixed = other.mixed or other.open > 1
            other.number += other.open == 1
        elif not other.open and frame.name != REPORT:
            # What comes when nothing is open belongs to a run whose beginning was not seen here.
            other.number += 1
            other.open = int(frame.name not in ENDS)
        elif frame.name in ENDS:
            other.open -= 1
        mixed = other.mixed
        if not other.open:
            other.mixed = False
        return "" if mixed else f"run {other.number} on {place}"

    def _mixed(
        self, operation: Operation, frame: Frame, thread: str, found: list[Question], other: Other | None
    ) -> None:
        """Count the ends of runs that cannot be distinguished: with as many as there are runs, all of them are over."""
        place = (operation.connection, thread)
        if operation.index >= self._start:
            self._at_once.add(operation.user or "")
        if frame.name in ENDS:
            self._ends[place] = self._ends.get(place, 0) + 1
            if self._ends[place] >= len(found) + (other.open if other is not None else 0):
                del self._ends[place]
                for question in found:
                    question.ended_on.add(operation.connection)
                if other is not None:
                    other.open, other.mixed = 0, False

    def passed(self, operation: Operation, frame: Frame, run: str) -> None:
        """Note the end, or the report, of a run on a connection."""
        for question in self._asked.get(operation.user or "", ()):
            if question.run == run:
                (question.reported_on if frame.name == REPORT else question.ended_on).add(operation.connection)
                if question.outcome == "info" and question.goes_on and frame.name in ENDS:
                    question.goes_on = False
                    self._going_on[operation.user or ""].remove(question.thread_id)

    def joined(self, operation: Operation, run: str) -> bool:
        """Whether a connection may have come to a run without an id in its middle."""
        for question in self._asked.get(operation.user or "", ()):
            if question.run == run:
                return question.connection != operation.connection
        return True

    def _question_with(self, operation: Operation, frame: Frame, id: str) -> Question | None:
        for question in self._asked.get(operation.user or "", ()):
            if id in (question.turn_id, question.run):
                return question
        found = self._candidates(operation, frame)
        return found[0] if len(found) == 1 else None

    def _candidates(self, operation: Operation, frame: Frame) -> list[Question]:
        """The user's questions that are under way, as far as this connection can know."""
        return [
            question
            for question in self._possible(operation, frame)
            if operation.connection not in question.ended_on and self._may_go_on(question, operation)
        ]

    def _possible(self, operation: Operation, frame: Frame) -> list[Question]:
        asked = [one for one in self._asked.get(operation.user or "", ()) if one.outcome != "fail"]
        return questions_of(frame, asked)

    def _may_go_on(self, question: Question, operation: Operation) -> bool:
        if question.done < 0:
            return True
        if question.done < self._start <= operation.index:
            return False  # what one case has left under way does not confuse the next
        if question.outcome == "info":
            return True
        # Another connection of the user may get its copies later than the one that asked.
        here = self._life.get(operation.connection)
        return question.connection != operation.connection and here is not None and 0 <= here.opened < question.done

    def _late(self, operation: Operation, frame: Frame, *, alone: bool) -> Question | None:
        """The question of a report that follows its end, or of what comes when nothing is under way any more."""
        connection = operation.connection
        questions = [one for one in self._possible(operation, frame) if one.run]
        if frame.name == REPORT:
            ended = [one for one in questions if connection in one.ended_on and connection not in one.reported_on]
            return ended[-1] if ended else None
        if frame.name == STARTED or not alone or not questions or self._candidates(operation, frame):
            return None
        return questions[-1]
