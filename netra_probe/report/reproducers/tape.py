"""A recorded history, looked up: who answered what, where a value was first learned, and what caused a frame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from netra_probe.history import actions
from netra_probe.history.canary import WHOLE
from netra_probe.history.frames import Frame, frame_of
from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import decoded

#: A value is looked up where it was learned only if it can hardly be a word: it has a digit, and so many characters.
SHORTEST, LONGEST = 6, 200
_WORDS = re.compile(r"[\w.:-]{6,}")
_ADDRESS = re.compile(r"probe\+([0-9a-f]{6,})\.")
#: Redacted secrets, as a history holds them.
REDACTED = re.compile(r"\[[a-z-]+:[0-9a-f]{8}\]")
#: Requests that make an account or a session: a reproducer does this by itself.
ACCOUNT_ROUTES = ("/auth/register", "/auth/login")


@dataclass(frozen=True)
class Learned:
    """Where a value came from: the operation that answered with it, and its place in the body."""

    source: int
    path: tuple[str | int, ...]


class Tape:
    """All operations of one history, with what a reproducer has to know of them."""

    def __init__(self, history: Iterable[Operation]) -> None:
        self.operations = list(history)
        self.done: dict[int, Operation] = {}
        self.user_ids: dict[str, str] = {}
        self.emails: dict[str, str] = {}
        #: Canary → whose it is; the first request that carries it.
        self.owners: dict[str, str] = {}
        self.planted: dict[str, int] = {}
        self.asks: dict[str, Operation] = {}
        self.ask_of_run: dict[str, Operation] = {}
        self.learned: dict[str, Learned] = {}
        #: Redacted token → an expression for it.
        self.tokens: dict[str, str] = {}
        self.mark = ""
        sent: set[str] = set()
        for operation in self.operations:
            self._note(operation, sent)

    def _note(self, operation: Operation, sent: set[str]) -> None:
        action, user = operation.action, operation.user or ""
        if operation.call is not None:
            self.done.setdefault(operation.call, operation)
        if action == actions.PRINCIPAL:
            self.user_ids[operation.ids.get("user_id", "")] = user
            self.emails[email := str(operation.detail.get("email", ""))] = user
            self.mark = self.mark or (found[1] if (found := _ADDRESS.search(email)) else "")
        elif action == actions.MINT:
            self.owners[str(operation.detail.get("token", ""))] = user
        elif action == actions.ASK:
            if operation.type == "invoke" and operation.nonce:
                self.asks[operation.nonce] = operation
            elif operation.call is not None and (run := operation.ids.get("run_id")):
                self.ask_of_run[run] = self.operations[operation.call]
        elif operation.type == "invoke" and action != actions.ATTEMPT:
            text = spoken(operation)
            sent.update(words(text))
            for token in WHOLE.findall(text):
                self.planted.setdefault(token, operation.index)
        elif operation.surface in ("auth", "rest") and operation.type == "ok" and operation.call is not None:
            self._answered(operation, sent)

    def _answered(self, done: Operation, sent: set[str]) -> None:
        body = decoded(done.payload)
        if not isinstance(body, dict | list):
            return
        if done.action.endswith(ACCOUNT_ROUTES) and isinstance(body, dict) and done.user:
            for field, name in (("access_token", "token"), ("refresh_token", "refresh_token")):
                self.tokens.setdefault(str(body.get(field, "")), f"{done.user}.{name}")
        for path, value in leaves(body):
            if (
                value not in sent
                and value not in self.user_ids
                and len(value) >= SHORTEST
                and any(map(str.isdigit, value))
            ):
                self.learned.setdefault(value, Learned(done.index, path))

    def values_in(self, text: str) -> Iterator[str]:
        """The values in a text that an earlier answer gave, whole or as parts of a path."""
        for word in words(text):
            if word in self.learned or word in self.ask_of_run:
                yield word
            else:
                yield from (part for part in re.split(r"[.:]", word) if part in self.learned)

    def owner_of_id(self, value: str) -> str | None:
        """Whose an id is: the user's whose it is, or who was answered with it first."""
        if value in self.user_ids:
            return self.user_ids[value]
        known = self.learned.get(value)
        return self.operations[known.source].user if known is not None else None

    def cause(self, received: Operation) -> Operation | None:
        """The question whose run a frame is of; none for a frame of no run."""
        ids = received.ids
        return self.ask_of_run.get(ids.get("run_id", "")) or self.asks.get(ids.get("turn_id", ""))

    def send_of(self, asked: Operation) -> Operation | None:
        """The frame by which a question was put."""
        for operation in self.operations[asked.index + 1 : asked.index + 50]:
            sends = operation.action == actions.SEND and operation.type == "invoke"
            if sends and asked.nonce and asked.nonce in operation.payload:
                return operation
        return None

    def connect_of(self, operation: Operation) -> Operation | None:
        """The handshake of the connection that an operation belongs to."""
        for earlier in reversed(self.operations[: operation.index + 1]):
            if (
                earlier.action == actions.CONNECT
                and earlier.type == "invoke"
                and earlier.connection == operation.connection
            ):
                return earlier
        return None

    def frames(self, connection: str | None, start: int, end: int) -> Iterator[tuple[Operation, Frame]]:
        """What a connection received between two operations."""
        for operation in self.operations[start:end]:
            if operation.action == actions.RECEIVE and operation.connection == connection:
                yield operation, frame_of(operation)


def spoken(operation: Operation) -> str:
    """All that a request says: its path, its query, its body."""
    return f"{operation.detail.get('path', '')} {operation.detail.get('query', '')} {operation.payload}"


def words(text: str) -> list[str]:
    """What may be an id in a text."""
    return [one for one in _WORDS.findall(text) if len(one) <= LONGEST and any(map(str.isdigit, one))]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each text in a JSON value, with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, position))
