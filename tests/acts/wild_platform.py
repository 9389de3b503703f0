"""A server that registers people properly and misbehaves in everything else, as its seed has it.

It speaks HTTP and WebSockets over bare sockets, because no library would send what it sends: half answers, wrong
lengths, reserved bits, texts that are no UTF-8, documents that describe nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import random
import struct
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

WORDS = (
    "agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed", "final_report", "pong",
    "ping", "error_message", "system_message", "connection_established", "thread_created", "ack",
)  # fmt: skip
KEYS = (
    "type", "event", "event_type", "payload", "data", "run_id", "thread_id", "user_id", "turn_id", "seq", "id",
    "timestamp", "user_context", "access_token", "status", "threads", "message_id", "paths", "properties",
)  # fmt: skip
STATUSES = (200, 200, 200, 201, 204, 206, 299, 302, 304, 400, 401, 403, 404, 409, 418, 422, 429, 500, 503)
#: Bytes of what is called huge here.
HUGE = 300_000
#: Seconds of what is called slow, and most sockets and answers that one server is slow with.
SLOW, MOST_SLOW = 0.2, 20
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class WildPlatform:
    """Auth service and backend in one, on a free port; ``url`` once it is ``running``."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._tokens: dict[str, dict[str, str]] = {}
        self._slow = 0
        self._visitors: set[asyncio.Task[None]] = set()
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[WildPlatform]:
        server = await asyncio.start_server(self._visited, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for visitor in self._visitors:
                visitor.cancel()
            await asyncio.gather(*self._visitors, return_exceptions=True)

    def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitor = asyncio.ensure_future(self._connected(reader, writer))
        self._visitors.add(visitor)
        visitor.add_done_callback(self._visitors.discard)

    # What it does properly

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                if request.headers.get("upgrade", "").lower() == "websocket":
                    await self._socket(request, reader, writer)
                    break
                if not await self._answer(request, writer):
                    break
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever hangs up, or asks in another tongue, is not served any further
        finally:
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        path = request.path.partition("?")[0]
        if path in ("/auth/register", "/auth/login") and (answer := self._enter(request)):
            writer.write(_response(200, json.dumps(answer).encode()))
            return True
        who = self._tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if path == "/auth/me" and who:
            writer.write(_response(200, json.dumps(who).encode()))
            return True
        return await self._draw.choice(self._ways())(writer)

    def _enter(self, request: Request) -> dict[str, Any] | None:
        """An account for everybody who asks; the same one for the same address."""
        try:
            email = json.loads(request.body)["email"]
        except (ValueError, KeyError, TypeError):
            return None
        user = {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, str(email))), "email": email}
        token = f"opaque-{uuid.uuid4().hex}"
        self._tokens[token] = {"user_id": user["id"], "email": email}
        return {"access_token": token, "refresh_token": uuid.uuid4().hex, "token_type": "Bearer", "user": user}

    # What it does wildly

    def _ways(self) -> list[Callable[[asyncio.StreamWriter], Awaitable[bool]]]:
        return [self._nonsense, self._nonsense, self._raw, self._huge, self._short, self._slowly, self._hang_up,
                self._elsewhere, self._described, self._encoded, self._chunked]  # fmt: skip

    async def _nonsense(self, writer: asyncio.StreamWriter) -> bool:
        status = self._draw.choice(STATUSES)
        writer.write(_response(status, b"" if status in (204, 304) else self._json()))
        return True

    async def _raw(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(_response(200, self._draw.randbytes(self._draw.randrange(200)), kind="application/json"))
        return True

    async def _huge(self, writer: asyncio.StreamWriter) -> bool:
        body = json.dumps({"threads": ["x" * 97] * (HUGE // 100)}).encode()
        deep = b"[" * 900 + b"]" * 900
        writer.write(_response(200, self._draw.choice((body, deep, b"[" * HUGE))))
        return True

    async def _short(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(_response(200, self._json(), length=10_000))
        return False

    async def _slowly(self, writer: asyncio.StreamWriter) -> bool:
        for byte in _response(200, self._json())[:60]:
            writer.write(bytes([byte]))
        await self._linger()
        return False

    async def _linger(self) -> None:
        self._slow += 1
        if self._slow <= MOST_SLOW:
            await asyncio.sleep(SLOW)

    async def _hang_up(self, writer: asyncio.StreamWriter) -> bool:
        ends = (b"", b"HTTP/1.1", b"HTTP/9.9 999 what\r\n\r\n", b"\x16\x03\x01", b"HTTP/1.1 200 OK\r\n: \r\n\r\n")
        writer.write(self._draw.choice(ends))
        return False

    async def _elsewhere(self, writer: asyncio.StreamWriter) -> bool:
        places = ("/", "//", "http://[", "javascript:alert(1)", "/auth/me", "http://127.0.0.1:1/", "\x80")
        place = self._draw.choice(places)
        writer.write(_response(302, b"", more=f"Location: {place}\r\n"))
        return True

    async def _described(self, writer: asyncio.StreamWriter) -> bool:
        """What looks like an OpenAPI document, on any path."""
        paths = {f"/{self._draw.choice(KEYS)}/{{{self._draw.choice(KEYS)}}}": self._item() for _ in range(3)}
        paths |= {f"/{self._draw.choice(KEYS)}": self._item() for _ in range(2)}
        document = {"openapi": "3.1.0", "paths": paths, "components": self._value(), "servers": self._value()}
        writer.write(_response(200, json.dumps(document).encode()))
        return True

    def _item(self) -> Any:
        methods = self._draw.sample(("get", "post", "put", "patch", "delete"), 2)
        return self._draw.choice(({method: self._operation() for method in methods}, self._value()))

    def _operation(self) -> Any:
        schema = self._schema()
        named = [{"name": "id", "in": "path", "schema": schema}, {"name": "user_id", "in": "query", "schema": schema}]
        return {
            "parameters": self._draw.choice((named, self._value())),
            "requestBody": {"content": {"application/json": {"schema": schema}}},
            "security": self._value(),
        }

    def _schema(self) -> Any:
        schemas: tuple[Any, ...] = (
            {"$ref": "#/paths"},
            {"$ref": "#/components/schemas/None"},
            {"type": "string", "pattern": "(["},
            {"type": "object", "properties": self._value(), "required": self._value()},
            {"type": "integer", "minimum": 9, "maximum": 1},
            {"type": "array", "minItems": 3, "items": {"$ref": "#"}},
            {"allOf": self._value()},
            {"minLength": -4, "maxLength": "many"},
            {"enum": self._value()},
            self._value(),
        )
        return self._draw.choice(schemas)

    async def _encoded(self, writer: asyncio.StreamWriter) -> bool:
        coding = self._draw.choice(("gzip", "deflate", "br", "klingon"))
        kind = self._draw.choice(("application/json; charset=klingon", "text/html; charset=utf-16", "\x01"))
        writer.write(_response(200, self._json(), more=f"Content-Encoding: {coding}\r\n", kind=kind))
        return False

    async def _chunked(self, writer: asyncio.StreamWriter) -> bool:
        chunk = self._draw.choice((b"zz\r\n", b"5\r\nab", b""))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
        return False

    # Sockets

    async def _socket(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._draw.random() < 0.25:
            ways = (self._nonsense, self._elsewhere, self._hang_up, self._short, self._chunked)
            await self._draw.choice(ways)(writer)
            return
        key = request.headers.get("sec-websocket-key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest()).decode()
        odd = ("Sec-WebSocket-Protocol: klingon\r\n", "Sec-WebSocket-Extensions: x\r\n")
        more = self._draw.choice(("", "", "", "", *odd))
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{more}\r\n".encode()
        )
        if self._draw.random() < 0.6:
            welcome = {"type": "connection_established", "user_id": self._draw.choice((None, 7, "", "demo-user-001"))}
            writer.write(_frame(1, json.dumps(welcome).encode()))
        while not reader.at_eof():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(65536), 0.1)
            if not await self._say(writer):
                break
            await writer.drain()

    async def _say(self, writer: asyncio.StreamWriter) -> bool:
        """One outburst; false where the connection ends with it."""
        what = self._draw.randrange(16)
        if what < 7:
            for _ in range(self._draw.randrange(4)):
                writer.write(_frame(1, self._json()))
        elif what < 9:
            writer.write(_frame(1, json.dumps({"type": "pong"}).encode()))
        elif what == 9:
            writer.write(_frame(2, self._draw.randbytes(100)))
        elif what == 10:
            writer.write(_frame(1, b'"' + b"x" * HUGE + b'"') + _frame(1, b"[" * 50_000))
        elif what == 11:
            writer.write(_frame(0x9, b"?") + _frame(1, json.dumps({"type": "ping"}).encode()) * 5)
        elif what == 12:
            await self._linger()
        elif what == 13:
            code = self._draw.choice((1000, 1001, 1008, 1011, 1012, 3000, 4999))
            writer.write(_frame(8, struct.pack(">H", code) + b"because"))
            return False
        elif what == 14:
            # Against the protocol: a text that is none, a stray continuation, codes that nobody may send, and more.
            broken = (_frame(1, b"\xff\xfe"), _frame(0, b"x"), _frame(8, b"\x03\xee"), _frame(8, b"\x01"))
            writer.write(self._draw.choice((*broken, b"\xf1\x01x", b"\x81\xff")))
            return self._draw.random() < 0.5
        else:
            return False
        return True

    # Values

    def _json(self) -> bytes:
        return json.dumps(self._value(), allow_nan=True).encode()

    def _value(self, depth: int = 0) -> Any:
        draw = self._draw
        kind = draw.randrange(12 if depth < 3 else 7)
        if kind < 2:
            return draw.choice(WORDS)
        if kind < 7:
            return draw.choice((None, True, 0, -1, 2**70, 1e308, float("nan"), "", "\ud800", "\x00", "CANARY", "é" * 9))
        if kind == 7:
            return [self._value(depth + 1) for _ in range(draw.randrange(4))]
        if draw.random() < 0.7:
            body = {draw.choice(KEYS): self._value(depth + 1) for _ in range(draw.randrange(5))}
            return {"type": draw.choice(WORDS), **body}
        return {draw.choice(KEYS): self._value(depth + 1) for _ in range(draw.randrange(6))}


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


def _response(
    status: int, body: bytes, *, length: int | None = None, kind: str = "application/json", more: str = ""
) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n{more}\r\n"
    return head.encode("latin-1") + body


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + struct.pack(">H", size) + payload
    return bytes([0x80 | opcode, 127]) + struct.pack(">Q", size) + payload
