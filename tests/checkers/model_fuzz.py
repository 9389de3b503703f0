"""What a hostile or broken target might send, and what a confused recorder might write about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from netra_probe.history import actions
from netra_probe.history.frames import ID_FIELDS, RUN_EVENTS
from netra_probe.history.operation import SURFACES, Operation

TOKEN = "CANARYAAAAAAAAAAAAAAAA"
KEYS = (
    "type", "event", "event_type", "payload", "data", "user_context", "timestamp", "seq", "sequence", "status",
    "tool_name", "tool", "event_id", "id", *ID_FIELDS,
)  # fmt: skip
WORDS = (
    *RUN_EVENTS, "system_message", "connection_established", "pong", "error", "agent_error", "cancelled", "", "a", "r1",
    "r2", "thread_a", "alice", "bob", TOKEN, TOKEN[:12], TOKEN.lower(), TOKEN.encode().hex(), "Q0FOQVJZ", "NBTkFSW",
    "%43%41NARY", "\\u0043\\u0041NARY", "\x00", "\ud800", "ß", "İ", "😀", "0" * 40, "2025-09-01T10:00:00.123456Z",
    "00000000-0000-4000-8000-000000000000",
)  # fmt: skip
NAMES = [value for name, value in vars(actions).items() if name.isupper() and isinstance(value, str)]
ACTIONS = (*NAMES, "variant", "GET /api/threads/{id}", "POST /api/agents/run", "GET /a//{", "{}", "", "DELETE")
DETAILS = (
    "path",
    "query",
    "object",
    "expect",
    "token",
    "field",
    "control",
    "kind",
    "id",
    "variant",
    "nonce_back",
    "closed",
)


def value(random: Random, depth: int = 3) -> Any:
    """Any JSON value, and some that only Python's writer lets through."""
    choice = random.randrange(12 if depth else 8)
    if choice < 3:
        return random.choice(WORDS)
    if choice < 8:
        return random.choice((None, True, False, 0, 1, -1, 7, 10**30, -(2**63), 1.5, 1e300, float("inf"), float("nan")))
    if choice < 10:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    keys = (random.choice(KEYS) if random.random() < 0.8 else random.choice(WORDS) for _ in range(random.randrange(7)))
    return {key: value(random, depth - 1) for key in keys}


def text(random: Random) -> str:
    """A payload: JSON of any shape, JSON cut or damaged, nested without end, or no JSON at all."""
    choice = random.randrange(10)
    if choice == 0:
        return random.choice(("", "{", "[" * 5000, '{"payload":' * 2000, "null", '"', "\ufeff{}", "[]{}", "NaN"))
    if choice == 1:
        return random.randbytes(random.randrange(60)).decode(random.choice(("latin-1", "utf-8")), "replace")
    whole = json.dumps(value(random, 4), ensure_ascii=random.random() < 0.5)
    if choice == 2:
        return whole[: random.randrange(len(whole) + 1)]
    if choice == 3 and whole:
        position = random.randrange(len(whole))
        return whole[:position] + chr(random.randrange(0x500)) + whole[position + 1 :]
    return whole


def operations(random: Random, count: int) -> Iterator[Operation]:
    """A history in which anything may follow anything; types are those of the model, everything else is not."""
    for index in range(count):
        yield Operation(
            index=index,
            time=random.randrange(10**9),
            type=random.choice(("invoke", "ok", "ok", "fail", "info")),
            action=random.choice(ACTIONS) if random.random() < 0.5 else actions.RECEIVE,
            user=random.choice(("alice", "bob", None)),
            connection=random.choice(("alice/ws-1", "bob/ws-1", None)),
            surface=random.choice((*SURFACES, "probe")),
            call=random.choice((None, random.randrange(index + 1))),
            status=random.choice((None, 200, 403, 500)),
            ids={name: random.choice(WORDS) for name in random.sample(ID_FIELDS, random.randrange(3))},
            nonce=random.choice((None, "r1", "")),
            payload=text(random),
            detail={name: value(random, 2) for name in random.sample(DETAILS, random.randrange(4))},
        )
