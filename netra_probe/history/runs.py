"""Whose an event is: which names are events of a run, and to which run, and so to which question, one belongs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import msgspec

from netra_probe.history.frames import RUN_EVENTS, Frame

Q = TypeVar("Q", bound="Asked")

STARTED = "agent_started"
COMPLETED = "agent_completed"
REPORT = "final_report"
#: Events that end a run; a final report may follow the first of them.
ENDS = frozenset({COMPLETED, "agent_error", "agent_cancelled", "agent_stopped"})
#: Ends that may come before a run has started.
FAILURES = ENDS - {COMPLETED}
#: After one of these a run is over, but for a final report.
TERMINAL = ENDS | {REPORT}
EVENTS = frozenset(RUN_EVENTS) | ENDS
#: Statuses by which an end says that somebody wanted it.
CANCELLED = frozenset({"cancelled", "canceled", "stopped", "aborted", "interrupted"})


def is_of_a_run(frame: Frame) -> bool:
    """Whether a frame is an event of a run, also where it does not name the run."""
    return bool(frame.run) or frame.name in EVENTS


def belongs(frame: Frame, *, turn: str = "", run: str = "", thread: str = "") -> bool | None:
    """Whether an event is of the run that is known by these ids; ``None`` where it does not name what would tell.

    A turn id tells before a run id does, and a run id before a thread; a thread has many runs, and tells only of those
    that are elsewhere.

    >>> from netra_probe.history.frames import read_frame
    >>> event = read_frame('{"type":"agent_started","run_id":"r1","thread_id":"t1"}')
    >>> belongs(event, run="r1"), belongs(event, run="r2"), belongs(event, thread="t2"), belongs(event, thread="t1")
    (True, False, False, None)
    """
    ids = frame.ids
    for name, known in (("turn_id", turn), ("run_id", run)):
        if known and (said := ids.get(name)):
            return said == known
    return False if thread and ids.get("thread_id", thread) != thread else None


class Asked(msgspec.Struct, kw_only=True, eq=False):
    """A question of one user: the ids that its run goes by, as far as they are known, and whether it is over."""

    thread_id: str = ""
    turn_id: str = ""
    run_id: str = ""
    over: bool = False

    def owns(self, frame: Frame, *, rather_than: Asked) -> bool:
        """Whether an event is of this question: its run is, or is called after this question's thread."""
        run = frame.ids.get("run_id", "")
        if run == self.run_id:
            return bool(run) and not (self.over and frame.name == STARTED)
        thread = self.thread_id
        return not self.over and bool(thread) and thread != rather_than.thread_id and thread in run


def questions_of(frame: Frame, questions: Collection[Q]) -> list[Q]:
    """The questions of one user that an event may be of: the one place that says so, for client and checkers.

    Some producers send no run id and no turn id, and some only with part of their events (netra-wire §6). An event is
    then of any question that no id rules out; with several of them its owner is unknown.

    >>> from netra_probe.history.frames import read_frame
    >>> budget, travel = Asked(turn_id="q1", run_id="r1", thread_id="t1"), Asked(turn_id="q2", thread_id="t2")
    >>> def asked(text):
    ...     return [question.turn_id for question in questions_of(read_frame(text), [budget, travel])]
    >>> asked('{"type":"agent_started","run_id":"r1"}'), asked('{"type":"agent_started","turn_id":"q2"}')
    (['q1'], ['q2'])
    >>> asked('{"type":"agent_thinking","thread_id":"t2"}'), asked('{"type":"agent_thinking"}')
    (['q2'], ['q1', 'q2'])
    """
    found = []
    for one in questions:
        known = belongs(frame, turn=one.turn_id, run=one.run_id, thread=one.thread_id)
        if known is None:
            known = not any(other is not one and other.owns(frame, rather_than=one) for other in questions)
        if known:
            found.append(one)
    return found


class Following(Asked, kw_only=True, eq=False):
    """Decides which frames of a user belong to one question, as they come.

    ``beside`` are the user's last questions: where events name neither thread nor turn, each gets a run of its own,
    and where they name no run either, an end of its own.
    """

    beside: Collection[Following] = ()
    end: Frame | None = None

    def mine(self, frame: Frame) -> bool:
        """Whether an event is of the question's run; the first one that names a run tells which that is."""
        if not (frame.name.startswith(("agent_", "tool_")) or frame.name in EVENTS):
            return False
        mine = self in questions_of(frame, [self, *self._others])
        if mine:
            self.run_id = self.run_id or frame.ids.get("run_id", "")
        return mine

    def ends(self, frame: Frame) -> bool:
        """Whether this is the end of the question's run; one that names no run is the end of one question only."""
        if frame.name not in TERMINAL or not self.mine(frame):
            return False
        if not frame.run and any(other.end is frame for other in self._others):
            return False
        self.end = frame
        return True

    def reports(self, frame: Frame) -> bool:
        """Whether this is the report that follows the end."""
        return frame.name == REPORT and self.mine(frame)

    def refuses(self, frame: Frame) -> bool:
        """Whether this says that the question was not taken; an error that names no message answers what was sent."""
        return frame.name == "error" and frame.ids.get("message_id", self.turn_id) == self.turn_id

    @property
    def _others(self) -> list[Following]:
        return [other for other in self.beside if other is not self]
