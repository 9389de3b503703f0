"""Threads as a client of a socket sees them: announced, opened, refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netra_probe.clients.websocket import Received, Socket

#: What answers a client that asks for a thread.
ANSWERS = frozenset(("thread_switched", "thread_history", "error"))


@dataclass(frozen=True, kw_only=True)
class OpenedThread:
    """What came of asking for a thread.

    Arguments:
        event: ``thread_switched``, ``thread_history``, ``error``, or ``""`` where nothing came in time.
        thread: the id that the event names.
        messages: role and content of each message, as they came.
        error: the code and the sentence of an error.
    """

    event: str = ""
    thread: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    error: tuple[str, str] = ("", "")

    def asked(self, questions: Iterable[str]) -> list[str]:
        """Which of these questions stand in the history as the user's own, in the order of the history.

        >>> OpenedThread(messages=(("user", "And Bern?"), ("assistant", "Rome?"))).asked(["Rome?", "And Bern?"])
        ['And Bern?']
        """
        known = list(questions)
        return [one for role, content in self.messages if role == "user" for one in known if one in content]


async def open_thread(socket: Socket | None, thread: str, *, by: str = "switch_thread") -> OpenedThread:
    """Ask for a thread over a connection, as the interface does; what came of it.

    >>> shown = await workloads.open_thread(alice.socket, thread)      # doctest: +SKIP

    ``by`` is the message: ``switch_thread`` or ``get_thread_history``.
    """
    if socket is None:
        return OpenedThread()
    start = socket.position
    await socket.send({"type": by, "thread_id": thread, "payload": {"thread_id": thread}})
    seen = await socket.until(lambda frame: frame.name in ANSWERS, within=socket.timeouts.reply, start=start)
    if not isinstance(seen, Received):
        return OpenedThread()
    body = seen.frame.body
    listed: Any = body.get("messages")
    messages = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return OpenedThread(
        event=seen.frame.name,
        thread=seen.frame.ids.get("thread_id", ""),
        messages=tuple((str(one.get("role", "")), str(one.get("content", ""))) for one in messages),
        error=(str(body.get("error_code", "")), str(body.get("error_message", ""))),
    )


def announced(socket: Socket | None, thread: str) -> int:
    """How often a connection has been told that this thread was created."""
    received = socket.received if socket is not None else []
    return sum(seen.frame.name == "thread_created" and seen.frame.ids.get("thread_id") == thread for seen in received)
