"""Whose an event is: which names are events of a run, and to which run, and so to which question, one belongs."""

from __future__ import annotations

from collections.abc import Iterable

from netra_probe.history.frames import RUN_EVENTS, Frame

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


class Following:
    """Decides which frames of a user belong to one question, as they come.

    ``beside`` are the user's last questions: where events name neither thread nor turn, each gets a run of its own,
    and where they name no run either, an end of its own.
    """

    def __init__(self, *, thread_id: str, turn_id: str, beside: Iterable[Following] = ()) -> None:
        self.thread_id = thread_id
        self.turn_id = turn_id
        self.run_id = ""
        self.over = False
        self.end: Frame | None = None
        self._beside = beside

    def mine(self, frame: Frame) -> bool:
        """Whether an event is of the question's run; the first one that names a run tells which that is."""
        if not (frame.name.startswith(("agent_", "tool_")) or frame.name in EVENTS):
            return False
        run = frame.ids.get("run_id", "")
        known = belongs(frame, turn=self.turn_id, run=self.run_id, thread=self.thread_id)
        if known is None and run and any(self._is_of(other, run, frame) for other in self._others):
            return False
        if known is not False:
            self.run_id = self.run_id or run
        return known is not False

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
    def _others(self) -> Iterable[Following]:
        return (other for other in self._beside if other is not self)

    def _is_of(self, other: Following, run: str, frame: Frame) -> bool:
        """Whether an event is of another question: its run is, or is called after that question's thread."""
        if run == other.run_id:
            return not (other.over and frame.name == STARTED)
        theirs = other.thread_id
        return not other.over and bool(theirs) and theirs != self.thread_id and theirs in run
