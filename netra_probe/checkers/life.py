"""Signs of life: which sockets were open in the window, and when each last gave a sign of life."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netra_probe.history import actions
from netra_probe.history.operation import Operation

#: The actions that ``Life`` wants to see.
ACTIONS = frozenset({actions.CONNECT, actions.RECEIVE, actions.CLOSED})


@dataclass(slots=True)
class Connection:
    """One socket of one user; indices are -1 where a thing has not happened.

    A connection whose opening is not in the history counts as open from its first frame.
    """

    name: str
    user: str
    opened: int
    last: int = -1
    closed: int = -1
    #: Time of the last frame, in nanoseconds.
    seen: int = 0


class Life:
    """Follows connections; memory is one entry per connection that is open or was closed inside the window."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._connections: dict[str, Connection] = {}

    def feed(self, operation: Operation) -> None:
        """Take in a ``connect``, ``receive`` or ``closed`` operation."""
        name, user = operation.connection, operation.user
        if name is None or user is None:
            return
        connection = self._connections.get(name)
        if operation.action == actions.RECEIVE:
            if connection is None or connection.closed >= 0:
                connection = self._connections[name] = Connection(name, user, operation.index)
            connection.last = operation.index
            connection.seen = operation.time
        elif operation.action == actions.CONNECT:
            if operation.type == "ok" and (connection is None or connection.closed >= 0):
                self._connections[name] = Connection(name, user, operation.index)
            elif operation.type == "fail" and connection is not None and connection.closed < 0:
                connection.closed = operation.index
        elif connection is not None:
            if operation.index < self._start:
                del self._connections[name]
            else:
                connection.closed = operation.index

    def get(self, name: str | None) -> Connection | None:
        """What is known of a connection; nothing of one that was closed before the window."""
        return self._connections.get(name or "")

    def latest(self, user: str) -> Connection | None:
        """The connection that gave the user's last sign of life."""
        mine = [connection for connection in self._connections.values() if connection.user == user]
        return max(mine, key=lambda connection: connection.last, default=None)

    def ended_between(self, user: str, before: int, after: int) -> bool:
        """Whether a connection of the user ended between two operations, so that one followed on another connection."""
        low, high = min(before, after), max(before, after)
        return any(
            connection.user == user and low < connection.closed < high for connection in self._connections.values()
        )

    def open(self) -> Iterator[Connection]:
        """The connections that nobody has closed."""
        return (connection for connection in self._connections.values() if connection.closed < 0)

    def silent(self, shown: Mapping[str, int]) -> list[str]:
        """Doubts about open sockets that gave no sign of life after some other user was shown to be served.

        Their silence proves nothing. ``shown`` is the index at which each user's positive control was first seen.
        """
        doubts = []
        for connection in self.open():
            after = max((index for user, index in shown.items() if user != connection.user), default=self._start)
            if connection.last < after:
                doubts.append(f"{connection.name} gave no sign of life after the deliveries to others")
        return sorted(doubts)
