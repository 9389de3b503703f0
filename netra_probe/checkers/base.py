"""What a checker is: a pure function from a history to a judgement, run as one pass of a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from netra_probe.checkers.verdict import Judgement, checker_name
from netra_probe.history.actions import RECEIVE
from netra_probe.history.frames import Frame, read_frame
from netra_probe.history.operation import Operation, Outcome

#: The passes that see a kind of operation, by position: those that take it whole, and those that take its frame.
Route: TypeAlias = tuple[
    list[tuple[int, Callable[[Operation], None]]], list[tuple[int, Callable[[Operation, Frame], None]]]
]

#: Kinds of operation whose route is remembered. A real history has some dozens; a hostile one must not fill the memory.
MAX_ROUTES = 10_000


@dataclass(frozen=True, kw_only=True)
class Window:
    """The operations on which a case is judged: ``start <= index < end``.

    Everything before ``start`` is context (who owns which canary, thread, run); nothing before it is accused again.
    ``end=None`` is the end of the history.
    """

    start: int = 0
    end: int | None = None

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self.start <= index and (self.end is None or index < self.end)


class Checker(ABC):
    """One guarantee, checked over a recorded history without I/O, clock or randomness.

    ``probe.check("C4.2", canary(), delivery())`` combines several; ``judge`` runs them in a single pass.
    """

    id: ClassVar[str]
    #: One sentence: what holds when this checker finds nothing and has no doubt.
    guarantee: ClassVar[str]
    #: Where the rule comes from: a paper, a CVE, a clause of a standard.
    source: ClassVar[str]
    #: Time and memory, in operations n, users u, runs r.
    complexity: ClassVar[str]
    #: What turns a silent checker into ``inconclusive``.
    inconclusive_when: ClassVar[str]

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword arguments that rebuild this checker (JSON values): stored with the verdict, used by ``recheck``."""
        return {}

    @abstractmethod
    def begin(self, window: Window) -> CheckerRun:
        """A fresh pass over a history."""

    def __call__(self, operations: Iterable[Operation], window: Window | None = None) -> Judgement:
        return judge([self], operations, window or Window())[0]

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({options})"


class CheckerRun(ABC):
    """The state of one checker while a history streams by.

    ``judge`` sets ``last_frames``, the last frame of each connection, which all passes share, and ``reconsider``, which
    a pass calls when it wants other kinds of operation from now on.
    """

    last_frames: Mapping[str | None, Operation] = {}
    reconsider: Callable[[], None] = staticmethod(lambda: None)

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        """Whether operations of this kind matter here; asked once per kind, so that the others cost nothing."""
        return True

    @abstractmethod
    def feed(self, operation: Operation) -> None:
        """Take in the next operation, in order of index."""

    def frame(self, operation: Operation, frame: Frame) -> None:
        """Take in a ``receive``, with its frame already read; passes that override this share one reading."""
        self.feed(operation)

    @abstractmethod
    def finish(self) -> Judgement:
        """The judgement after the last operation."""


def judge(checkers: Sequence[Checker], operations: Iterable[Operation], window: Window) -> list[Judgement]:
    """Run all checkers in one pass over the operations.

    An exception inside a checker is a doubt of that checker, never a pass and never an error of the others.
    """
    passes: list[CheckerRun | Judgement] = [checker.begin(window) for checker in checkers]
    routes: dict[tuple[str, str, Outcome], Route] = {}
    last_frames: dict[str | None, Operation] = {}
    for running in passes:
        if isinstance(running, CheckerRun):
            running.last_frames, running.reconsider = last_frames, routes.clear
    end = window.end
    for operation in operations:
        if end is not None and operation.index >= end:
            break
        kind = (operation.surface, operation.action, operation.type)
        route = routes.get(kind)
        if route is None:
            if len(routes) >= MAX_ROUTES:
                routes.clear()
            route = routes[kind] = _route(passes, kind)
        for position, feed in route[0]:
            try:
                feed(operation)
            except Exception as error:
                passes[position] = checker_error(
                    checkers[position], f"{type(error).__name__} at operation {operation.index}"
                )
                routes.clear()
        if route[1]:
            last_frames[operation.connection] = operation
            frame = read_frame(operation.payload, operation.ids)
            for position, take in route[1]:
                try:
                    take(operation, frame)
                except Exception as error:
                    what = f"{type(error).__name__} at operation {operation.index}"
                    passes[position] = checker_error(checkers[position], what)
                    routes.clear()
    judgements = []
    for checker, running in zip(checkers, passes, strict=True):
        if isinstance(running, Judgement):
            judgements.append(running)
            continue
        try:
            judgements.append(running.finish())
        except Exception as error:
            judgements.append(checker_error(checker, f"{type(error).__name__} at the end of the history"))
    return judgements


def _route(passes: Sequence[CheckerRun | Judgement], kind: tuple[str, str, Outcome]) -> Route:
    """Which passes see operations of this kind, and which of them see the frame instead."""
    seeing = [
        (position, running)
        for position, running in enumerate(passes)
        if isinstance(running, CheckerRun) and running.wants(*kind)
    ]
    framed = kind[1] == RECEIVE
    return (
        [(position, running.feed) for position, running in seeing if not framed or not _takes_frames(running)],
        [(position, running.frame) for position, running in seeing if framed and _takes_frames(running)],
    )


def _takes_frames(running: CheckerRun) -> bool:
    return type(running).frame is not CheckerRun.frame


def checker_error(checker: Checker, what: str) -> Judgement:
    """The judgement of a checker that failed itself."""
    return Judgement(checker=checker.id, doubts=(f"the {checker_name(checker.id)} check failed itself: {what}",))
