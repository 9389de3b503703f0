"""Runs as a history tells them: whose each event is, over all connections of its user."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import Generic, Protocol, TypeVar

from netra_probe.checkers.base import CheckerRun
from netra_probe.checkers.runs.liveness import Liveness
from netra_probe.checkers.runs.questions import KEPT_RUNS, Asks, Claims
from netra_probe.checkers.runs.unidentified_events import UnidentifiedEvents
from netra_probe.history.frames import Frame
from netra_probe.history.operation import Operation


class FollowedRun(Protocol):
    user: str
    id: str


R = TypeVar("R", bound=FollowedRun)


class RunFollower(CheckerRun, Generic[R]):
    """Gives each event to its run: the one whose id it carries, else that of the only question it can answer."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._life = Liveness(self, start)
        self._asks = Asks(start)
        self._runs: dict[tuple[str, str], R] = {}
        self._over: deque[tuple[str, str]] = deque()
        self._claims = Claims()
        self._nameless = UnidentifiedEvents(self._life, self._claims, start)
        #: Events of the window: all of runs, and by user those that cannot be distinguished.
        self._events = 0
        self._untied: dict[str, int] = {}
        self._ends = 0

    @abstractmethod
    def new_run(self, operation: Operation, frame: Frame, user: str, id: str) -> R:
        """What is kept of a run whose first event this is."""

    def run_of(self, operation: Operation, frame: Frame, user: str) -> R | None:
        """The run of an event; ``None`` where several come into question."""
        self._events += operation.index >= self._start
        id = frame.run
        run = self._runs.get((user, id)) if id else None
        if run is not None:
            return run
        called = self._nameless.meet(operation, frame, id) if id else self._nameless.name(operation, frame)
        if not called:
            if operation.index >= self._start:
                self._untied[user] = self._untied.get(user, 0) + 1
            return None
        run = self._runs.get((user, called))
        if run is None:
            run = self._runs[user, called] = self.new_run(operation, frame, user, called)
        return run

    def over(self, run: R, index: int) -> R | None:
        """A run has ended; returns the one that is forgotten for it, if one is."""
        self._ends += index >= self._start
        self._over.append((run.user, run.id))
        return self._runs.pop(self._over.popleft(), None) if len(self._over) > KEPT_RUNS else None

    def unseen(self) -> list[str]:
        """The doubts where too little was seen of any run."""
        if not self._events:
            return ["no event of a run was seen"]
        return [] if self._ends else ["no run ended"]

    def untold(self) -> list[str]:
        """The doubts where events cannot be distinguished."""
        return self._nameless.doubts(sum(self._untied.values()), (run.user for run in self._runs.values()))
