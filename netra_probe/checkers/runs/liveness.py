"""Signs of life: which sockets were open in the window, and when each last gave a sign of life."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netra_probe.checkers.base import CheckerRun
from netra_probe.history import actions
from netra_probe.history.operation import Operation


@dataclass(slots=True)
class Connection:
    """One socket of one user; indices are -1 where a thing has not happened or is not in the history."""

    name: str
    user: str
    opened: int = -1
    closed: int = -1
    #: The close code, where the probe did not close it itself.
    status: int | None = None
    #: Index and time of the last frame.
    last: int = -1
    seen: int = 0
    #: The last ping that asked for a sign of life.
    pinged: int = -1


#: Close codes of a target that gives a connection up: it failed, restarts, or the reader was too slow.
GIVEN_UP = frozenset({1011, 1012, 1013})
#: The code of a connection that broke off without a word: of a target, too, whose last word could not be sent any more.
BROKEN_OFF = 1006
#: How the probe asks a socket for a sign of life.
PING = '{"type":"ping"}'


class Liveness:
    """Follows connections; memory is one entry per connection that is open or was closed inside the window."""

    def __init__(self, owner: CheckerRun, start: int) -> None:
        self._owner = owner
        self._start = start
        self._connections: dict[str, Connection] = {}

    def feed(self, operation: Operation) -> None:
        """Take in a ``connect`` or ``closed`` operation, or the ``send`` of a ping."""
        name, user = operation.connection, operation.user
        if name is None or user is None:
            return
        if operation.action == actions.SEND:
            if operation.payload == PING and operation.index >= self._start:
                self._connections.setdefault(name, Connection(name, user)).pinged = operation.index
            return
        begins = operation.action == actions.CONNECT and operation.type in ("invoke", "ok")
        if begins:
            if operation.type == "invoke" or name not in self._connections:
                self._connections[name] = Connection(name, user, operation.index)
        elif operation.index < self._start:
            self._connections.pop(name, None)
        else:
            connection = self._connections.setdefault(name, Connection(name, user))
            connection.closed = operation.index
            connection.status = None if operation.detail.get("by") == "probe" else operation.status

    def get(self, name: str | None) -> Connection | None:
        """What is known of a connection; nothing of one that was closed before the window."""
        connection = self._connections.get(name or "")
        frame = self._owner.last_frames.get(name)
        if frame is not None:
            if connection is None and frame.index >= self._start and name is not None and frame.user is not None:
                connection = self._connections[name] = Connection(name, frame.user)
            if connection is not None:
                connection.last, connection.seen = frame.index, frame.time
        return connection

    def all(self) -> list[Connection]:
        """Every remembered connection, with its last sign of life."""
        names = dict.fromkeys((*self._connections, *self._owner.last_frames))
        return [connection for name in names if (connection := self.get(name)) is not None]

    def observers(self) -> set[str]:
        """The users to whom any frame came in the window."""
        return {
            frame.user
            for frame in self._owner.last_frames.values()
            if frame.index >= self._start and frame.user is not None
        }

    def open(self) -> Iterator[Connection]:
        """The connections that nobody has closed."""
        return (connection for connection in self.all() if connection.closed < 0)

    def latest(self, user: str) -> Connection | None:
        """The connection that gave the user's last sign of life."""
        mine = [connection for connection in self.all() if connection.user == user]
        return max(mine, key=lambda connection: connection.last, default=None)

    def ended_between(self, user: str, before: int, after: int) -> bool:
        """Whether a connection of the user ended between two operations, so that one followed on another connection."""
        low, high = min(before, after), max(before, after)
        return any(
            connection.user == user and low < connection.closed < high for connection in self._connections.values()
        )

    def silent(self, shown: Mapping[str, int]) -> list[str]:
        """Doubts about sockets that were open or pinged in vain after some other user was shown to be served.

        Their silence proves nothing. ``shown`` is the index at which each user's positive control was first seen.
        """
        latest = sorted(shown.items(), key=lambda item: item[1])[-2:]
        doubts = []
        for connection in self.all():
            after = max((index for user, index in latest if user != connection.user), default=self._start)
            if connection.closed < 0 and connection.last < after:
                doubts.append(f"{connection.name} gave no sign of life after the deliveries to others")
        return sorted({*doubts, *self.unanswered()})

    def unanswered(self) -> list[str]:
        """Doubts about sockets that were pinged in vain; one that the target gave up with a code was not silent."""
        return sorted(
            f"{connection.name} did not answer a ping: its silence proves nothing"
            for connection in self.all()
            if connection.last < connection.pinged and connection.status not in GIVEN_UP
        )
