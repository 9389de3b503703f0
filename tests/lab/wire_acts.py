"""What a prober does on the wire: enrol people, present tokens, ask who they are taken for, hang up in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
from backend_client import PATIENCE, Socket, backend_url, http, rest
from people import PASSWORD, Person

from netra_probe.lab import Lab


async def enrol(lab: Lab, email: str) -> Person:
    """A new person with an address of our choice."""
    answer = await auth_post(lab, "/auth/register", {"email": email, "password": PASSWORD, "name": "Somebody"})
    body = answer.raise_for_status().json()
    return Person(
        id=body["user"]["id"],
        email=email,
        access_token=body["access_token"],
        refresh_token=body["refresh_token"],
    )


def with_token(who: Person, token: str) -> Person:
    """Somebody who presents another token."""
    return dataclasses.replace(who, access_token=token)


async def auth_post(lab: Lab, path: str, body: Any = None, **headers: str) -> httpx.Response:
    """A request to the auth service."""
    async with http(lab.parameters["auth_url"]) as client:
        return await client.post(path, json=body, headers=headers)


async def identity(lab: Lab, token: str) -> str | None:
    """Who the auth service says the bearer is."""
    return await _user_id(f"{lab.parameters['auth_url']}/auth/me", token)


async def rest_identity(lab: Lab, token: str) -> str | None:
    """Who the backend says the bearer is, over REST."""
    return await _user_id(f"{backend_url(lab)}/api/users/me", token)


async def socket_identity(lab: Lab, token: str) -> str | None:
    """Who the backend says the bearer is, in the welcome of a socket."""
    async with Socket(lab, None, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        data: dict[str, Any] = socket.welcome.get("data", {})
    return data.get("user_id")


async def taken_for(lab: Lab, token: str, user_id: str) -> list[bool]:
    """Whether the bearer is taken for a user by the backend, over REST and on a socket."""
    return [await rest_identity(lab, token) == user_id, await socket_identity(lab, token) == user_id]


async def _user_id(url: str, token: str) -> str | None:
    async with http() as client:
        answer = await client.get(url, headers={"Authorization": f"Bearer {token}"})
    return answer.json()["user_id"] if answer.status_code == 200 else None


async def thread_of(lab: Lab, who: Person, title: str) -> str:
    """A new thread of somebody's with one message that repeats the title; its id."""
    async with rest(lab, who) as client:
        thread_id: str = (await client.post("/api/threads", json={"title": title})).raise_for_status().json()["id"]
        await client.post(f"/api/threads/{thread_id}/messages", json={"content": title})
    return thread_id


async def text_of(lab: Lab, who: Person | None, path: str = "/api/threads") -> str:
    """A whole answer, as text; empty when it is a refusal."""
    async with rest(lab, who) as client:
        answer = await client.get(path)
    return answer.text if answer.status_code == 200 else ""


async def hang_up(lab: Lab, who: Person, method: str, path: str, body: Any = None, *, after: float = PATIENCE) -> float:
    """Send a request and close the connection when its answer begins, or `after` seconds; how many that were."""
    address = urlsplit(backend_url(lab))
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {who.access_token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    began = time.monotonic()
    writer.write(head.encode() + content)
    await writer.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(after):
            await reader.read(1)
    seconds = time.monotonic() - began
    writer.transport.abort()
    await writer.wait_closed()
    return seconds
