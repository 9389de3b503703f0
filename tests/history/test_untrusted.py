"""What a target sends may be anything: whoever reads it gets a value, or nothing, and never an exception."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from netra_probe.checkers.delivery.checker import seconds
from netra_probe.checkers.delivery.streams import Stream, is_late
from netra_probe.checkers.hygiene.base import Exchange
from netra_probe.checkers.hygiene.headers import CredentialsInRedirect
from netra_probe.checkers.json_bodies import values
from netra_probe.checkers.judging import versions_said
from netra_probe.checkers.observations import normalised
from netra_probe.checkers.recipients import Shares
from netra_probe.clients.auth import _lifetime
from netra_probe.clients.exchange import LiveExchange
from netra_probe.clients.http import Http, Service
from netra_probe.clients.replies import Answered, from_api, seconds_to_wait
from netra_probe.forgery.tokens import claims_of
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation
from netra_probe.history.redaction import Redactor
from netra_probe.history.secret import Secret
from netra_probe.history.store import History, Recorder
from netra_probe.openapi.arguments import missing
from netra_probe.openapi.document import read_interface
from netra_probe.openapi.examples import MOST, Instances
from netra_probe.workloads.hygiene.sessions import _timestamp
from netra_probe.workloads.websocket.resume import _cursor

ADDRESSES = (
    "http://[", "http://[::1", "//[x]/p", "http://a:99999999/", "http://\u2100.x/?a=b", "http://a\x00b/\x1b[2J", "\x80",
    "javascript:alert(1)", "?" + "&" * 10_000, "http://" + "[" * 10_000, "\ud800",
)  # fmt: skip
#: JSON values as they stand in a body.
VALUES = (
    *(f"{'[' * depth}{']' * depth}" for depth in (150, 900, 100_000)),
    *(f'{{"a":{"[" * depth}{"]" * depth}}}' for depth in (150, 900, 100_000)),
    "[" * 100_000, '{"a":' * 100_000, "9" * 300, "9" * 4_000, "9" * 10_000, "-1e999", "NaN",
    '"\\ud800"', "\x00", "{}", "", "7",
)  # fmt: skip
FIELDS = ("cursor", "timestamp", "seq", "exp", "iat", "info", "title", "version", "id", "servers", "share_url")


def bodies() -> list[str]:
    inner = (*VALUES, *(json.dumps(one) for one in ADDRESSES))
    return [*VALUES, *(json.dumps(dict.fromkeys(FIELDS, 0)).replace("0", one or "0") for one in inner)]


def answer(text: str) -> Operation:
    return Operation(index=1, time=1, type="ok", action="GET /health", call=0, status=200, payload=text)


def read_share(text: str) -> None:
    shares = Shares()
    made = Operation(
        index=0, time=0, type="invoke", action="POST /api/threads/{id}/share", user="alice", surface="rest"
    )
    shares.feed(made)
    shares.feed(answer(text))


def read_token(text: str) -> None:
    part = base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode().rstrip("=")
    token = Secret(f"{part}.{part}.x")
    with contextlib.suppress(ValueError):  # its documented answer to what is no token
        claims_of(token)
    _lifetime(token, 3600)


def read_stamps(text: str) -> None:
    frame = read_frame(text)
    seconds(frame.timestamp)
    stream = Stream(first=0)
    for before in (1.5, "2025-01-01T00:00:00Z", 10**20):
        stream.timestamp = before
        is_late(frame, stream)
    _ = frame.body, frame.status, frame.event_id


READERS: tuple[Callable[[str], object], ...] = (
    read_share, read_token, read_stamps, values, normalised, _cursor,
    lambda text: versions_said([answer(text)]),
)  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_no_body_makes_a_reader_raise(read: Callable[[str], object]) -> None:
    for body in bodies():
        read(body)


@pytest.mark.parametrize("place", ADDRESSES)
def test_no_address_makes_a_reader_raise(place: str) -> None:
    assert from_api(Answered(status=302, location=place)).status == 302  # type: ignore[union-attr]
    done = Operation(index=1, time=1, type="ok", action="GET /login", call=0, status=302, detail={"location": place})
    rule = CredentialsInRedirect()
    list(rule.exchange(Exchange(call=done, done=done)))
    read_share(json.dumps({"share_url": place}))
    assert read_interface("backend", {"paths": {}, "servers": [{"url": place}]}) is not None


def test_no_number_makes_a_reader_raise() -> None:
    for told in ("9" * 10_000, "²", "-1", "1e5", "", "9" * 400):
        assert seconds_to_wait({"retry-after": told}) is None
        missing(told)
    assert seconds_to_wait({"retry-after": "7"}) == 7.0
    for value in (
        10**4_000,
        -(10**400),
        "9" * 10_000,
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59-23:59",
        True,
        None,
        [],
    ):
        _timestamp(value)
        seconds(value)  # type: ignore[arg-type]
    assert _lifetime(Secret("opaque"), 10**4_000) == 0.0


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9, "items": {}},
        {"type": "array", "minItems": 99, "items": {"minItems": 99, "items": {"minItems": 99, "items": {}}}},
        {"type": "string", "minLength": 10**10},
        {"type": "string", "maxLength": "many"},
        {"type": "string", "minLength": [1]},
        {"type": "number", "multipleOf": 1e-308, "minimum": 1e308},
        {"type": "integer", "minimum": 10**400, "maximum": 1.5},
        {"allOf": 3},
        {"enum": 7},
        {"required": 5, "properties": 3},
    ],
    ids=str,
)  # fmt: skip
def test_no_schema_makes_a_body_without_end(schema: dict[str, object]) -> None:
    make = Instances({}, seed=7)
    assert len(json.dumps(make(schema))) < 20 * MOST
    make.required(schema)


HOSTILE = (
    b"HTTP/1.1 302 X\r\nLocation: http://[\r\ncontent-length: 0\r\n\r\n",
    # Characters that cannot be written as UTF-8.
    b"HTTP/1.1 200 X\r\ncontent-type: text/plain; charset=utf-7\r\ncontent-length: 6\r\n\r\n+2AA-xx"[:-1],
    b"HTTP/1.1 200 X\r\ncontent-type: text/plain; charset=hex\r\ncontent-length: 2\r\n\r\n00",
    b"HTTP/1.1 200 X\r\ncontent-length: 200000\r\n\r\n" + b"[" * 200_000,
    b"HTTP/1.1 429 X\r\nretry-after: " + b"9" * 10_000 + b"\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 X\r\nx-request-id: \xff\xfe\r\nset-cookie: \xff=\x80\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 X\r\ncontent-length: 10000\r\n\r\n" + b"9" * 10_000,
    b"HTTP/1.1 200 X\r\ncontent-length: 4006\r\n\r\n" + b'{"id":' + b"9" * 3_999 + b"}",
)


@pytest.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[tuple[Http, Recorder]]:
    """A client of a server that gives the hostile answers, one after the other."""
    answers = iter(HOSTILE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    history = Recorder(tmp_path / "history.jsonl")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    http = Http(LiveExchange(history, Service(base_url=url, surface="rest", user="alice")))
    yield http, history
    await http.close()
    server.close()


async def test_no_answer_makes_a_client_raise_and_all_are_read_back(hostile: tuple[Http, Recorder]) -> None:
    http, history = hostile
    for _ in HOSTILE:
        from_api(await http.request("GET", "/"))
    assert [operation.index for operation in History.open(history.close())] == list(range(2 * len(HOSTILE) + 1))


@pytest.mark.parametrize("text", ["_" * 100_000, "a_-" * 30_000, "a_" * 50_000, "://a:" * 10_000])
def test_no_text_keeps_a_reader_busy(text: str) -> None:
    begin = time.process_time()
    assert normalised(text) == Redactor(key=b"k").clean(text) == text
    assert time.process_time() - begin < 5
