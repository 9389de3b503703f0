"""One thing that happened, as the history keeps it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

Outcome: TypeAlias = Literal["invoke", "ok", "fail", "info"]

#: Surfaces on which one user's data can become visible to another.
SURFACES = ("auth", "rest", "websocket", "database", "cache", "llm", "component")
#: A number that fits into a table; a stored one beyond it is damaged.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
#: The surface of operations that describe the investigation itself.
PROBE = "probe"


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One recorded step: a request, its outcome, a frame, a row read, a disturbance.

    The model is Jepsen's (https://github.com/jepsen-io/history): an act is an ``invoke`` and later exactly one of
    ``ok`` (it happened), ``fail`` (it surely did not: refused, or never sent) or ``info`` (it may have happened:
    time-out, cut connection, HTTP 5xx). What the target sends unasked is a lone ``ok`` without ``call``.

    Arguments:
        index: position in the history, from 0, without gaps.
        time: nanoseconds of the monotonic clock since the history began.
        type: ``invoke``, ``ok``, ``fail`` or ``info``.
        action: what was done; the vocabulary is in ``netra_probe.history.actions``.
        user: alias of the principal that acted or received (``alice``); ``None`` for the environment.
        connection: the connection it went over (``alice/ws-1``); with ``user`` this is Jepsen's process.
        backend: which backend served it (``backend-1``), where known.
        surface: one of ``SURFACES``, or ``probe``.
        call: for ``ok``, ``fail`` and ``info``: the index of their ``invoke``; ``None`` for an observation.
        status: HTTP status or WebSocket close code.
        ids: ids read from or put into the payload: ``user_id``, ``thread_id``, ``run_id``, ``message_id``, ….
        nonce: the request's own mark, expected back in its response.
        payload: raw text after redaction (request body, response body, frame, row or value as JSON).
        detail: small structured extras, named by the action.
    """

    index: Number
    time: Number
    type: Outcome
    action: str
    user: str | None = None
    connection: str | None = None
    backend: str | None = None
    surface: str = PROBE
    call: Number | None = None
    status: Number | None = None
    ids: dict[str, str] = {}
    nonce: str | None = None
    payload: str = ""
    detail: dict[str, Any] = {}

    def __repr__(self) -> str:
        who = self.connection or self.user or "-"
        status = f" {self.status}" if self.status is not None else ""
        return f"<#{self.index} {who} {self.type} {self.action}{status}>"
