"""Sockets that open for anybody, for any page, or do not keep to what their welcome says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from netra_probe.checkers.hygiene.base import (
    AFTER_SIZES,
    FOREIGN_ORIGIN,
    FULL_SIZE,
    MARK,
    NO_TOKEN,
    OVERSIZED,
    OWN_HANDSHAKE,
    Exchange,
    Issue,
    Rule,
)
from netra_probe.history import actions
from netra_probe.history.frames import Frame
from netra_probe.history.operation import Operation

SURFACE = "websocket"


class OriginOfHandshake(Rule):
    """A page of somebody else's opens a socket in its visitor's browser, which adds the cookies that it has."""

    kind = "foreign origin accepted"
    topic = "sockets"
    clause = "OWASP ASVS 5.0 4.4.2; WSTG-CLNT-10; RFC 6455 section 10.2"
    demand = "the Origin of a handshake is checked against a list"

    def __init__(self) -> None:
        super().__init__()
        self._own: set[str] = set()

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.call.action != actions.CONNECT:
            return
        if exchange.trial == FOREIGN_ORIGIN:
            self.seen["handshakes from other origins"] += 1
            if exchange.done.type == "ok":
                yield Issue(
                    said="a handshake from another origin is accepted",
                    shows=exchange.shows, surface=SURFACE, user=exchange.call.user,
                )  # fmt: skip
        elif exchange.trial == OWN_HANDSHAKE and exchange.done.type == "ok":
            self._own.add(exchange.call.connection or "")

    def frame(self, operation: Operation, frame: Frame) -> Iterator[Issue]:
        # The control: that others are kept out means something where the user's own socket opens and lives.
        if frame.name == "pong" and operation.connection in self._own:
            self._own.discard(operation.connection or "")
            self.seen["own sockets that answered"] += 1
        return iter(())


class Unauthenticated(Rule):
    """A socket that is open to nobody in particular costs the platform, and what is sent over it has no owner."""

    kind = "socket open without authentication"
    topic = "sockets"
    clause = "OWASP ASVS 5.0 4.4.3; WSTG-CLNT-10; netra-wire §4"
    demand = "a handshake without a credential is refused, or closed at once"

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[str, Exchange] = {}

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.call.action == actions.CONNECT and exchange.trial == NO_TOKEN:
            self.seen["handshakes without a token"] += 1
            if exchange.done.type == "ok":
                self._open[exchange.call.connection or ""] = exchange
                if exchange.done.detail.get("welcome"):
                    yield from self._issue(exchange, exchange.done.index)

    def frame(self, operation: Operation, frame: Frame) -> Iterator[Issue]:
        if self._open and frame.name in ("pong", "heartbeat_ack"):
            exchange = self._open.get(operation.connection or "")
            if exchange is not None:
                yield from self._issue(exchange, operation.index)

    def _issue(self, exchange: Exchange, shown: int) -> Iterator[Issue]:
        yield Issue(
            said="a socket without any credential is let in and served", shows=(*exchange.shows, shown), surface=SURFACE
        )


@dataclass
class _Sizes:
    """One connection on which sizes are tried: when what was sent, and what came of it."""

    sent: dict[str, int] = field(default_factory=dict)
    full: int | None = None
    over: int | None = None
    after: int | None = None


class AnnouncedSize(Rule):
    """A limit that is announced and not kept misleads clients one way, and whoever relies on it the other.

    Frames come in order: a pong before the answer to what was sent after the large ping is the large ping's own.
    """

    kind = "announced message size is not the enforced one"
    topic = "sockets"
    clause = "OWASP ASVS 5.0 2.3.2; WSTG-CLNT-10; netra-wire §4"
    demand = "messages up to max_message_size are taken, and none beyond"

    def __init__(self) -> None:
        super().__init__()
        self._tried: dict[str, _Sizes] = {}

    def note(self, operation: Operation) -> Iterator[Issue]:
        trial = operation.detail.get(MARK)
        if operation.action == actions.SEND and trial in (FULL_SIZE, OVERSIZED, AFTER_SIZES):
            sizes = self._tried.setdefault(operation.connection or "", _Sizes())
            sizes.sent.setdefault(str(trial), operation.index)
        return iter(())

    def frame(self, operation: Operation, frame: Frame) -> Iterator[Issue]:
        sizes = self._tried.get(operation.connection or "") if self._tried else None
        if sizes is None or sizes.after is not None:
            return iter(())
        if frame.name in ("heartbeat_ack", "ack"):
            sizes.after = operation.index
        elif frame.name == "pong" and OVERSIZED not in sizes.sent:
            sizes.full = operation.index
        elif frame.name == "pong":
            sizes.over = operation.index
        return iter(())

    def finish(self) -> Iterator[Issue]:
        for sizes in self._tried.values():
            if sizes.after is None:
                continue  # no sign of life since: silence says nothing about sizes
            self.seen["announced sizes tried"] += 1
            if sizes.over is not None:
                yield Issue(
                    said="a message over the announced size is taken",
                    shows=(sizes.sent[OVERSIZED], sizes.over, sizes.after), surface=SURFACE,
                )  # fmt: skip
            if sizes.full is None and FULL_SIZE in sizes.sent:
                yield Issue(
                    said="a message within the announced size is not taken",
                    shows=(sizes.sent[FULL_SIZE], sizes.after), surface=SURFACE,
                )  # fmt: skip


RULES: tuple[type[Rule], ...] = (OriginOfHandshake, Unauthenticated, AnnouncedSize)
