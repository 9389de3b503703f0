"""Questions and runs: who asked what, how it ended, and which events make up a run."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TypeVar

import msgspec

from netra_probe.history.operation import Operation

#: Ended runs that are remembered, to recognise what comes too late; the oldest are forgotten.
KEPT_RUNS = 5_000
#: Ids of threads, runs and questions that are remembered, likewise.
KEPT_IDS = 200_000
KEPT_RUN_IDS = 50_000

#: A question is given up too soon, to call its answer lost, before so many times what answers usually take.
PATIENCE = 3
#: The least wait, in nanoseconds, after which an answer can be called lost: for the first one, and for those that
#: follow, of which the probe gives up earlier.
FIRST_WAIT, LATER_WAIT = 5_000_000_000, 1_500_000_000
#: Answers of the window whose duration says what is usual.
KEPT_DURATIONS = 1_000

Value = TypeVar("Value")


class Ask(msgspec.Struct, gc=False):
    """One question: who asked, and what came of it (``outcome`` is "" while it is open)."""

    index: int
    time: int
    user: str
    connection: str | None
    nonce: str
    thread: str
    outcome: str = ""
    done: int = -1
    finished: int = -1
    run: str = ""
    #: Silent until its deadline, rather than cut off; and that deadline, in seconds.
    silent: bool = False
    deadline: float = 0.0


class Asks:
    """Follows ``ask`` operations; memory is one entry per question that is open or ended without an answer."""

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._durations: deque[int] = deque(maxlen=KEPT_DURATIONS)
        self.open: dict[int, Ask] = {}
        #: Questions that ended ``info``: they may have happened.
        self.uncertain: list[Ask] = []
        #: How many questions are open on a connection.
        self.on: dict[str | None, int] = {}

    def feed(self, operation: Operation) -> Ask | None:
        """Take in an ``ask`` operation; returns the question that it ends, if it ends one."""
        if operation.type == "invoke":
            self.open[operation.index] = Ask(
                index=operation.index,
                time=operation.time,
                user=operation.user or "",
                connection=operation.connection,
                nonce=operation.nonce or "",
                thread=operation.ids.get("thread_id", ""),
            )
            self.on[operation.connection] = self.on.get(operation.connection, 0) + 1
            return None
        ask = self.open.pop(operation.call, None) if operation.call is not None else None
        if ask is None:
            return None
        left = self.on.get(ask.connection, 0) - 1
        if left > 0:
            self.on[ask.connection] = left
        else:
            self.on.pop(ask.connection, None)
        ask.outcome, ask.done, ask.finished = operation.type, operation.index, operation.time
        ask.run = operation.ids.get("run_id") or operation.ids.get("turn_id") or ""
        ask.thread = operation.ids.get("thread_id") or ask.thread
        ask.silent = "closed" not in operation.detail
        if isinstance(silent := operation.detail.get("silent"), int | float):
            ask.deadline = float(silent)
        if ask.outcome == "info":
            self.uncertain.append(ask)
        elif ask.outcome == "ok" and ask.index >= self._start:
            self._durations.append(ask.finished - ask.time)
        return ask

    def waited_enough(self, ask: Ask, heard: Operation | None, *, lost_before: bool) -> bool:
        """Whether a question was waited for so long that a missing answer is the target's fault, not our deadline's.

        Arguments:
            heard: the last frame on the connection that asked: until then something would have been received.
            lost_before: whether an answer is known to be lost since an earlier question, which was waited for longer.
        """
        waited = max(int(ask.deadline * 1e9), heard.time - ask.time if heard is not None else 0)
        usual = int(median(self._durations)) if self._durations else 0
        return waited >= max(LATER_WAIT if lost_before else FIRST_WAIT, PATIENCE * usual)


def too_soon(ask: Ask) -> str:
    """The doubt about a question that was given up too soon."""
    return f"{ask.user}'s question was given up after {ask.deadline:g} s, before its run was over: raise `deadline`"


class Recent(dict[str, Value]):
    """What was learned last under an id: beyond ``most`` ids the oldest are forgotten.

    The order is kept beside the dictionary, which finds its own first key only by looking through all deleted ones.

    >>> recent = Recent[int](2)
    >>> for number, id in enumerate("abca"):
    ...     recent.keep(id, number)
    >>> recent
    {'c': 2, 'a': 3}
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._order: deque[str] = deque()

    def keep(self, key: str, value: Value) -> None:
        if key not in self:
            self._order.append(key)
            if len(self._order) > self._most:
                self.pop(self._order.popleft(), None)
        self[key] = value


class Claims:
    """Whose a run is: the users whose questions it answered, and the owners of its thread."""

    def __init__(self) -> None:
        self._first = Recent[str](KEPT_RUN_IDS)
        self._more: dict[str, set[str]] = {}
        self._threads = Recent[str](KEPT_IDS)

    def claim(self, id: str, user: str) -> None:
        """A run or turn id that answers a question of this user."""
        first = self._first.get(id)
        if first is None:
            self._first.keep(id, user)
        elif first != user:
            self._more.setdefault(id, set()).add(user)

    def own(self, operation: Operation) -> None:
        """Take in an ``own``, or the ``invoke`` of an ``ask``: whoever names a thread first has it."""
        thread, user = operation.ids.get("thread_id"), operation.user
        if thread and user and thread not in self._threads:
            self._threads.keep(thread, user)

    def claimed(self, id: str) -> bool:
        """Whether any question is known to have been answered by this run."""
        return id in self._first

    def known(self, id: str, thread: str) -> bool:
        """Whether the run, or at least its thread, is somebody's."""
        return id in self._first or thread in self._threads

    def foreign(self, user: str, id: str, thread: str) -> bool:
        """Whether the run is somebody else's: that it is seen at all is for C1 and C2 to say, not how it went."""
        first = self._first.get(id)
        if first is None:
            return self._threads.get(thread, user) != user
        return first != user and user not in self._more.get(id, ())
