"""Which runs their users asked to be stopped, or gave the platform reason to stop."""

from __future__ import annotations

from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation

#: Client messages and routes by which a user ends a run of their own.
_WORDS = ("stop", "cancel", "abort", "interrupt")
_NAMES = ("run_id", "turn_id", "thread_id")
#: What a stop without any id is taken to mean.
_EVERYTHING = ""


def stops(action: str) -> bool:
    """Whether a request of this route may end a run; for ``CheckerRun.wants``.

    >>> stops("POST /api/agents/{id}/cancel"), stops("GET /api/threads")
    (True, False)
    """
    return any(word in action for word in _WORDS)


class Cancellations:
    """Remembers stops by user; memory is one entry per id that was ever to be stopped."""

    def __init__(self) -> None:
        self._asked: set[tuple[str, str]] = set()
        #: Users who named a thread and no run of it.
        self._by_thread: set[str] = set()
        #: Users whose way to the platform was disturbed, who hung up on an answer, or whose credentials ended.
        self._hurt: set[str] = set()
        #: User → the last end of one of their connections.
        self._left: dict[str, int] = {}
        self._all_hurt = False

    def harm(self, operation: Operation) -> None:
        """Take in what may have ended runs that nobody asked to be ended."""
        if operation.action == actions.CLOSED:
            self._left[operation.user or ""] = operation.index
        elif operation.user is not None:
            self._hurt.add(operation.user)
        else:
            self._all_hurt = True

    def excused(self, user: str, first: int) -> bool:
        """Whether a run of the user whose first event has index ``first`` may have ended for what happened to them."""
        return self._all_hurt or user in self._hurt or self._left.get(user, -1) > first

    def feed(self, operation: Operation) -> None:
        """Take in a request that may end a run, or a frame that a user sends."""
        user, text = operation.user, operation.payload
        if user is None:
            return
        if operation.action == actions.SEND:
            if not stops(text) or not stops(read_frame(text).name):
                return
            named = set()
        else:
            named = set(str(operation.detail.get("path")).split("/")) - {""} if "{" in operation.action else set()
        ids = read_frame(text).ids
        named.update(ids[name] for name in _NAMES if name in ids)
        if "thread_id" in ids and not ids.keys() & {"run_id", "turn_id"}:
            self._by_thread.add(user)
        self._asked.update((user, id) for id in named or {_EVERYTHING})

    def asked(self, user: str, run: str, thread: str) -> bool:
        """Whether the user asked for the end of the run: by its id, by its thread, or by no id at all.

        Where the events of a run do not tell its thread, the stop of any thread of its user may have been for it.
        """
        if not thread and user in self._by_thread:
            return True
        return not self._asked.isdisjoint(((user, run), (user, thread or run), (user, _EVERYTHING)))
