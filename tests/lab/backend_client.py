"""A plain client of the backend for its tests: REST with a token, and sockets that wait for what they expect."""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx
from people import PASSWORD, Person
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from netra_probe.lab import Lab

PATIENCE = 10.0
#: Labs are reached without TLS; reading all certificate authorities for each client takes longer than most requests.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
LAST = frozenset({"final_report", "agent_error"})
RUN_EVENTS = frozenset(
    {
        "agent_started", "agent_thinking", "tool_executing", "tool_completed", "partial_result", "agent_completed",
        "final_report", "agent_error",
    }
)  # fmt: skip
ORDER = [
    "agent_started", "agent_thinking", "agent_thinking",
    "tool_executing", "tool_completed", "tool_executing", "tool_completed", "tool_executing", "tool_completed",
    "agent_thinking", "partial_result", "partial_result", "partial_result", "agent_completed", "final_report",
]  # fmt: skip

Frame = dict[str, Any]


def http(base_url: str = "", **options: Any) -> httpx.AsyncClient:
    """A client of any lab."""
    return httpx.AsyncClient(base_url=base_url, timeout=PATIENCE, verify=NO_AUTHORITIES, **options)


async def register_in(lab: Lab, name: str = "alice") -> Person:
    """A new person in any lab."""
    body = {"email": f"probe+{uuid.uuid4().hex}.{name}@netra-probe.example", "password": PASSWORD, "name": name}
    async with http(lab.parameters["auth_url"]) as client:
        answer = (await client.post("/auth/register", json=body)).raise_for_status().json()
    return Person(
        id=answer["user"]["id"],
        email=answer["user"]["email"],
        access_token=answer["access_token"],
        refresh_token=answer["refresh_token"],
    )


def backend_url(lab: Lab, number: int = 0) -> str:
    """One of the two backends."""
    url: str = lab.parameters["backend_urls"][number]
    return url


def rest(lab: Lab, who: Person | None, number: int = 0) -> httpx.AsyncClient:
    """A REST client of one person."""
    headers = {} if who is None else who.headers
    return http(backend_url(lab, number), headers=headers)


class Socket:
    """An open socket; `welcome` is its first frame, `frames` everything that came after it."""

    def __init__(self, lab: Lab, who: Person | None, number: int = 0, *, query: str = "", **options: Any) -> None:
        self._url = backend_url(lab, number).replace("http", "ws", 1) + "/ws" + query
        self._options: dict[str, Any] = {"proxy": None, "max_size": None, **options}
        if who is not None:
            self._options.setdefault("additional_headers", who.headers)
        self.frames: list[Frame] = []
        self.connection: ClientConnection

    async def __aenter__(self) -> Self:
        self.connection = await connect(self._url, **self._options)
        self.welcome: Frame = json.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.connection.close()

    async def say(self, kind: str, **payload: Any) -> None:
        """Send one message."""
        await self.connection.send(json.dumps({"type": kind, "payload": payload, "message_id": payload.get("mid")}))

    async def next(self) -> Frame:
        """The next frame."""
        frame: Frame = json.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE))
        self.frames.append(frame)
        return frame

    async def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Read on up to the first frame that is wanted."""
        while True:
            frame = await self.next()
            if wanted(frame):
                return frame

    async def until_type(self, *kinds: str) -> Frame:
        """Read on up to the first frame of one of these types."""
        return await self.until(lambda frame: frame["type"] in kinds)

    async def until_ended(self, runs: int = 1) -> list[Frame]:
        """Read until so many runs have ended; returns their events."""
        start = len(self.frames)
        for _ in range(runs):
            await self.until(lambda frame: frame["type"] in LAST)
        return [frame for frame in self.frames[start:] if frame["type"] in RUN_EVENTS]

    async def quiet(self) -> list[Frame]:
        """Everything that came before the answer to a ping sent now; events in flight get a round trip to arrive."""
        start = len(self.frames)
        await self.say("ping")
        await self.until_type("pong")
        return self.frames[start:-1]

    async def until_closed(self) -> ConnectionClosed:
        """Read until the server closes."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as closed:
            return closed
