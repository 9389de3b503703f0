"""What a user observes, with everything taken out that differs between two equal runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from netra_probe.history.canary import WHOLE
from netra_probe.history.untrusted import decoded

#: Fields that tell the time, the place or the run, and nothing about the user's data.
_VOLATILE = re.compile(
    r"(^|_)(time|timestamp|date|at|ms|seconds|duration|latency|elapsed|uptime|expires|exp|iat|nonce|seq|sequence|cursor|etag"
    r"|token|ticket|trace|span|attempt|server|server_id|correlation_id|request_id|connection_id|event_id)($|_)"
)
_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    # Possessive and bounded: a text of nothing but underscores would keep it busy for minutes.
    r"|\b[^\W_]*+_(?=[\w-]{0,200}?[0-9a-f]{6})[\w-]*+"
    r"|\b[0-9a-f]{12,}\b"
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
#: What stands for a text that differs by design, or ``None``.
Mark: TypeAlias = Callable[[str], str | None]

_NO_JSON = object()
_encode = msgspec.json.Encoder(order="sorted").encode


def normalised(text: str, mark: Mark = lambda text: None) -> str:
    """The text without ids, moments, secrets and nonces: equal for two observations that mean the same.

    Ids become ``id-1``, ``id-2``, … in order of appearance, so that two equal ids stay equal; ``mark`` says what to put
    for a canary (``alice's title``) or a nonce, and ``None`` for any other text.

    >>> normalised('{"id": "thread_0a1b2c3d4e5f", "total": 3, "created_at": "2025-09-01T10:00:00Z"}')
    '{"id":"id-1","total":3}'
    """
    aliases: dict[str, str] = {}
    value = decoded(text, _NO_JSON)
    if value is _NO_JSON:
        return _plain(text, mark, aliases)
    return _encode(_walk(value, mark, aliases)).decode()


def _walk(value: Any, mark: Mark, aliases: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _walk(value[key], mark, aliases) for key in sorted(value) if not _VOLATILE.search(key)}
    if isinstance(value, list):
        return [_walk(item, mark, aliases) for item in value]
    if isinstance(value, str):
        return _plain(value, mark, aliases)
    return value


def _plain(text: str, mark: Mark, aliases: dict[str, str]) -> str:
    known = mark(text)
    if known is not None:
        return known
    if "CANARY" in text:
        text = WHOLE.sub(lambda match: mark(match[0]) or "somebody's secret", text)
    text = _MOMENT.sub("then", text)
    return _ID.sub(lambda match: aliases.setdefault(match[0], f"id-{len(aliases) + 1}"), text)
