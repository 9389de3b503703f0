"""Questions that stayed without an end, and what had happened to connections by then."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from netra_probe.history import actions
from netra_probe.history.operation import Operation

#: What disturbances are called that end or stall a connection.
_ENDS = ("kill", "freeze", "die", "dying", "cut")


@dataclass(frozen=True, kw_only=True)
class _Connection:
    """Where a connection goes, when it was opened, and which others were stalled at that moment."""

    user: str
    backend: str
    since: int
    beside: frozenset[str] = frozenset()


@dataclass
class Losses:
    """Follows a history and counts the questions of its window that stayed without an end, by what explains it.

    Questions of those who left, or whose own connection was disturbed, count for nothing: they may well be lost.

    Arguments:
        crossed: asked at another backend than is listened to.
        rivalled: asked on a connection beside another one of the same user to the same backend.
        bereaved: another user's connection had died or stalled since theirs was opened.
        outlived: on a connection that was open when what the target depends on was interrupted.
        orphaned: an earlier connection of the same user to the same backend had, at any time.
    """

    start: int = 0
    asked: int = 0
    silent: int = 0
    crossed: int = 0
    rivalled: int = 0
    bereaved: int = 0
    orphaned: int = 0
    outlived: int = 0
    backends: set[str] = field(default_factory=set)
    #: Users whose connections were ended or stalled in the window, and those made to read slowly.
    bad: set[str] = field(default_factory=set)
    slowed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._connections: dict[str, _Connection] = {}
        #: (user, backend) → connections that the target may hold to be open; those that ever were one of several.
        self._open: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._rivals: set[str] = set()
        #: Connection → when it was disturbed last; those that are disturbed now; those that closed meanwhile.
        self._struck: dict[str, int] = {}
        self._interrupted = -1
        self._stalled: set[str] = set()
        self._left: set[str] = set()

    @property
    def others_died(self) -> bool:
        """Whether most of what is lost was lost after another user's connection had died or stalled."""
        return self.bereaved * 2 > self.silent

    def harmed_others(self, lost_by: set[str]) -> bool:
        """Whether connections died, and somebody lost something whose own was left alone."""
        return bool(self.bad) and not lost_by <= self.bad | self.slowed

    def feed(self, operation: Operation) -> None:
        """Take in the next operation."""
        action = operation.action
        if operation.backend:
            self.backends.add(operation.backend)
        if action == actions.CONNECT:
            if operation.type == "ok":
                self._connected(operation, operation.connection or "")
        elif action == actions.CLOSED:
            self._closed(operation.connection or "")
        elif action == actions.DISTURB:
            self._disturbed(operation)
        elif action == actions.ASK and operation.index >= self.start:
            if operation.type == "invoke":
                self.asked += 1
            elif operation.type == "info" and "silent" in operation.detail:
                self._unanswered(operation, operation.connection or "")

    def _connected(self, operation: Operation, name: str) -> None:
        here = _Connection(
            user=operation.user or "",
            backend=operation.backend or "",
            since=operation.index,
            beside=frozenset(self._stalled),
        )
        others = self._open[here.user, here.backend]
        if others:
            self._rivals |= {*others, name}
        others.add(name)
        self._connections[name] = here

    def _closed(self, name: str) -> None:
        if name in self._stalled:
            # The target does not know yet.
            self._left.add(name)
        elif name in self._connections:
            here = self._connections[name]
            self._open[here.user, here.backend].discard(name)

    def _disturbed(self, operation: Operation) -> None:
        what, name = str(operation.detail.get("what", "")), str(operation.detail.get("target", ""))
        user = operation.user or name.partition("/")[0]
        if "interrupt" in what:
            self._interrupted = operation.index
        elif "resume" in what:
            self._stalled.discard(name)
            if name in self._left:
                self._closed(name)
        elif "slow" in what or any(word in what for word in _ENDS):
            self._struck[name] = operation.index
            if "cut" not in what and "kill" not in what:
                self._stalled.add(name)
            if operation.index >= self.start:
                (self.slowed if "slow" in what else self.bad).add(user)

    def _unanswered(self, operation: Operation, name: str) -> None:
        here = self._connections.get(name)
        if here is None or name in self._struck:
            return
        self.silent += 1
        self.crossed += bool(operation.backend) and operation.backend != here.backend
        self.outlived += here.since < self._interrupted
        self.rivalled += name in self._rivals
        self.bereaved += any(
            self._owner(other) != here.user
            for other, when in self._struck.items()
            if when > here.since or other in here.beside
        )
        self.orphaned += any(
            other in self._connections
            and (self._connections[other].user, self._connections[other].backend) == (here.user, here.backend)
            for other in self._struck
        )

    def _owner(self, name: str) -> str:
        return self._connections[name].user if name in self._connections else name.partition("/")[0]
