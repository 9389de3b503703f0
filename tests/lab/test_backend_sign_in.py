"""Signing in at the backend's address, and tickets that open a socket once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest
import redis.asyncio as redis
from backend_client import Socket, backend_url, rest
from people import PASSWORD, Register

from netra_probe.lab import Lab

PREFIXES = ("/api/v1/auth", "/auth")


async def ticket_of(client: httpx.AsyncClient) -> str:
    """A ticket of the caller."""
    answer = await client.post("/api/websocket/ticket")
    assert answer.status_code == 200
    ticket: str = answer.json()["ticket_id"]
    return ticket


async def refusal_of(lab: Lab, query: str, number: int = 0) -> tuple[str, str, int]:
    """Code, reason and close code with which a socket is refused."""
    async with Socket(lab, None, number, query=query) as socket:
        closed = await socket.until_closed()
    assert closed.rcvd is not None
    return socket.welcome["error_code"], socket.welcome["details"]["reason"], closed.rcvd.code


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_everything_from_registering_to_logging_out_works_through_the_backend(
    lab: Lab, unique_email: Callable[[str], str], prefix: str
) -> None:
    credentials = {"email": unique_email("alice"), "password": PASSWORD}
    async with rest(lab, None) as client:
        made = await client.post(f"{prefix}/register", json={**credentials, "name": "Alice"})
        assert (made.status_code, made.json()["user"]["name"]) == (200, "Alice")
        assert (await client.post(f"{prefix}/register", json=credentials)).status_code == 409
        pair = (await client.post(f"{prefix}/login", json=credentials)).json()
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        assert (await client.get("/api/users/me", headers=headers)).json()["email"] == credentials["email"]
        assert (await client.post(f"{prefix}/logout", headers=headers)).json()["status"] == "success"
        assert (await client.get("/api/users/me", headers=headers)).status_code == 401
        assert (await client.post(f"{prefix}/logout", headers=headers)).status_code == 401
        assert (await client.post(f"{prefix}/dev_login")).status_code == 403
        answer = await client.get(f"{prefix}/config")
    assert answer.json()["oauth_enabled"] is True
    assert answer.headers["cache-control"] == "no-store"


async def test_wrong_passwords_are_refused_and_braked_through_the_backend_too(
    lab: Lab, unique_email: Callable[[str], str]
) -> None:
    body = {"email": unique_email("alice"), "password": "not the right one"}
    async with rest(lab, None) as client:
        answers = [await client.post("/auth/login", json=body) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_an_address_is_believed_of_services_only(
    auth: httpx.AsyncClient, service_headers: dict[str, str], unique_email: Callable[[str], str]
) -> None:
    body = {"email": unique_email("alice"), "password": "not the right one"}
    for number in range(11):  # a stranger who claims to be elsewhere each time
        answer = await auth.post("/auth/login", json=body, headers={"X-Client-Address": f"192.0.2.{number}"})
    assert answer.status_code == 429
    elsewhere = {**service_headers, "X-Client-Address": "192.0.2.99"}
    assert (await auth.post("/auth/login", json=body, headers=elsewhere)).status_code == 401


async def test_a_ticket_opens_one_socket_as_its_owner(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as client:
        ticket = await ticket_of(client)
    async with Socket(lab, None, 1, query=f"?ticket={ticket}&user_id=somebody-else") as socket:
        assert socket.welcome["data"]["user_id"] == alice.id
        await socket.say("chat", content="hello")
        assert (await socket.until_ended())[-1]["type"] == "final_report"
    assert await refusal_of(lab, f"?ticket={ticket}") == ("VALIDATION_FAILED", "invalid_ticket", 1008)


async def test_of_many_who_use_a_ticket_at_once_one_gets_in(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as client:
        ticket = await ticket_of(client)

    async def gets_in(number: int) -> bool:
        async with Socket(lab, None, number % 2, query=f"?ticket={ticket}") as socket:
            return bool(socket.welcome["type"] == "system_message")

    assert sum(await asyncio.gather(*(gets_in(number) for number in range(8)))) == 1


async def test_a_ticket_of_a_revoked_token_opens_nothing(lab: Lab, register: Register, auth: httpx.AsyncClient) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as client:
        ticket = await ticket_of(client)
    await auth.post("/auth/logout", headers=alice.headers)
    assert await refusal_of(lab, f"?ticket={ticket}") == ("VALIDATION_FAILED", "token_revoked", 1008)


@pytest.mark.parametrize("forged", ["x", "a.b", ".", "%00.%00", "{bob}.{secret}", "x" * 5000])
async def test_made_up_tickets_open_nothing(lab: Lab, register: Register, forged: str) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with rest(lab, alice) as client:
        secret = (await ticket_of(client)).rpartition(".")[2]
    query = "?ticket=" + forged.format(bob=bob.id, secret=secret)
    assert await refusal_of(lab, query) == ("VALIDATION_FAILED", "invalid_ticket", 1008)


async def test_a_token_counts_before_a_ticket_which_then_stays_valid(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with rest(lab, alice) as client:
        ticket = await ticket_of(client)
    async with Socket(lab, bob, query=f"?ticket={ticket}") as socket:
        assert socket.welcome["data"]["user_id"] == bob.id
    async with Socket(lab, None, query=f"?ticket={ticket}") as socket:
        assert socket.welcome["data"]["user_id"] == alice.id


async def test_strangers_get_no_ticket_and_the_store_shows_neither_ticket_nor_token(
    lab: Lab, register: Register
) -> None:
    alice = await register("alice")
    async with rest(lab, None) as client:
        assert (await client.post("/api/websocket/ticket")).status_code == 401
    async with rest(lab, alice) as client, redis.Redis.from_url(lab.parameters["redis_url"]) as store:
        secret = (await ticket_of(client)).rpartition(".")[2]
        (key,) = [key async for key in store.scan_iter(match=f"user:{alice.id}:socket_ticket:*")]
        kept = key + await store.get(key)
        assert 0 < await store.ttl(key) <= 30
        assert secret.encode() not in kept and alice.access_token.encode() not in kept
        await client.delete("/api/users/me")
        assert await store.exists(key) == 0


@pytest.mark.parametrize("path", ["/ws", "/websocket", "/api/v1/websocket"])
@pytest.mark.parametrize(("query", "mode"), [("", "main"), ("?mode=isolated", "isolated"), ("?mode=odd", "main")])
async def test_sockets_have_several_paths_and_modes_that_behave_alike(
    lab: Lab, register: Register, path: str, query: str, mode: str
) -> None:
    from websockets.asyncio.client import connect

    alice = await register("alice")
    url = backend_url(lab).replace("http", "ws", 1) + path + query
    async with connect(url, additional_headers=alice.headers, proxy=None) as connection:
        welcome = json.loads(await connection.recv())
    assert (welcome["data"]["user_id"], welcome["data"]["mode"]) == (alice.id, mode)
