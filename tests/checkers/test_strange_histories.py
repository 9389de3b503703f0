"""Whatever a target sends and a client writes down, no checker breaks over it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from netra_probe.checkers import REGISTRY, Window, judge
from netra_probe.checkers.attribution.attribution import attribute
from netra_probe.history import actions
from netra_probe.history.operation import Operation

NAMES = [value for name, value in vars(actions).items() if name.isupper() and isinstance(value, str)]
ROUTES = ["GET /api/threads/{id}", "PUT /api/threads/{id}", "DELETE /api/threads/{id}", "GET /auth/me",
          "POST /auth/logout", "POST /auth/refresh", "revoke", "expire"]  # fmt: skip
TOKEN = "CANARYAAAAAAAAAAAAAAAA"
WORDS = st.sampled_from(["alice", "bob", "t1", "t2", "u-1", "u-2", "", "refused", "self", "foreign id", TOKEN])
JSON: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
DETAILS = st.dictionaries(
    st.sampled_from(
        ["attempt", "object", "owner", "expect", "path", "query", "token", "field", "control", "kind", "id", "txn",
         "name", "value", "cycle", "table", "key", "owners", "credential", "what", "target", "single_use", "phase",
         "size", "by"]
    ),
    JSON,
    max_size=5,
)  # fmt: skip
IDS = st.dictionaries(st.sampled_from(["user_id", "thread_id", "run_id", "id"]), WORDS, max_size=2)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Operations of every action, with details of every type, answering anything."""
    found = []
    for index in range(draw(st.integers(1, 25))):
        found.append(
            Operation(
                index=index,
                time=draw(st.integers(0, 10**10)),
                type=draw(st.sampled_from(["invoke", "ok", "fail", "info"])),
                action=draw(st.sampled_from(NAMES + ROUTES)),
                user=draw(st.sampled_from(["alice", "bob", None])),
                connection=draw(st.sampled_from(["alice/ws-1", "bob/ws-1", None])),
                backend=draw(st.sampled_from(["backend-1", None])),
                surface=draw(st.sampled_from(["probe", "auth", "rest", "websocket", "database", "cache"])),
                call=draw(st.none() | st.integers(0, max(0, index - 1))),
                status=draw(st.sampled_from([None, 200, 403, 404, 500, 1000, 1008])),
                ids=draw(IDS),
                nonce=draw(st.sampled_from([None, "n-1"])),
                payload=draw(st.sampled_from(["", "{", "[]", "null", '{"id":"t1","user_id":"u-1"}', TOKEN])),
                detail=draw(DETAILS),
            )
        )
    return found


@given(history=histories(), start=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_no_checker_breaks_over_a_strange_history(history: list[Operation], start: int) -> None:
    assert_none_breaks(history, start)


@pytest.mark.nightly
@given(history=histories(), start=st.integers(0, 5))
@settings(max_examples=2000, deadline=None)
def test_no_checker_breaks_over_many_strange_histories(history: list[Operation], start: int) -> None:
    assert_none_breaks(history, start)


def assert_none_breaks(history: list[Operation], start: int) -> None:
    window = Window(start=start)
    judgements = judge([REGISTRY[id]() for id in ("C5", "C6", "C7", "C9", "C10", "C12")], history, window)
    assert [doubt for judgement in judgements for doubt in judgement.doubts if " broke: " in doubt] == []
    attribute([finding for judgement in judgements for finding in judgement.findings], history, window)
