"""Sockets: who gets one, what may be said on it, and that nothing is lost when it goes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from backend_client import LAST, ORDER, PATIENCE, RUN_EVENTS, Socket, backend_url, register_in, rest
from composing import Composed
from people import Register
from waiting import wait_until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from netra_probe.lab import Lab

FORGED = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."


async def test_the_welcome_names_the_user_of_the_token(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with Socket(lab, alice) as socket:
        data = socket.welcome["data"]
    assert socket.welcome["type"] == "system_message"
    assert (data["event"], data["user_id"], data["connection_ready"]) == ("connection_established", alice.id, True)
    assert data["connection_id"].startswith(f"ws_{alice.id[:8]}_")
    assert data["config"] == {"heartbeat_interval": 25.0, "max_message_size": 8192}


async def test_a_token_may_come_as_subprotocol_or_in_the_query(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    encoded = base64.urlsafe_b64encode(alice.access_token.encode()).rstrip(b"=").decode()
    async with Socket(lab, None, subprotocols=["jwt-auth", f"jwt.{encoded}"]) as socket:
        assert socket.connection.subprotocol == "jwt-auth"
        assert socket.welcome["data"]["user_id"] == alice.id
    async with Socket(lab, None, query=f"?token={alice.access_token}&user_id=somebody-else") as socket:
        assert socket.welcome["data"]["user_id"] == alice.id


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "NO_TOKEN"),
        ({"Authorization": "Bearer nonsense"}, "INVALID_FORMAT"),
        ({"Authorization": "Basic YTpi"}, "INVALID_FORMAT"),
        ({"Authorization": f"Bearer {FORGED}"}, "VALIDATION_FAILED"),
    ],
)
async def test_a_handshake_without_a_good_token_is_refused_with_a_reason(
    lab: Lab, headers: dict[str, str], code: str
) -> None:
    async with Socket(lab, None, additional_headers=headers) as socket:
        assert (socket.welcome["type"], socket.welcome["error_code"]) == ("error_message", code)
        closed = await socket.until_closed()
    assert closed.rcvd is not None and closed.rcvd.code == 1008
    assert "nonsense" not in json.dumps(socket.welcome)


async def test_a_refresh_token_opens_no_socket(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    headers = {"Authorization": f"Bearer {alice.refresh_token}"}
    async with Socket(lab, None, additional_headers=headers) as socket:
        assert socket.welcome["error_code"] == "VALIDATION_FAILED"


async def test_pages_of_other_origins_and_unknown_paths_get_no_handshake(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    url = backend_url(lab).replace("http", "ws", 1)
    for path, origin in (("/ws", "https://evil.example"), ("/nowhere", None)):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url + path, additional_headers=alice.headers, origin=origin, proxy=None)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("sent", "kind", "code"),
    [
        ('{"type":"ping"}', "pong", None),
        ('{"type":"heartbeat"}', "heartbeat_ack", None),
        ('{"type":"user_typing","payload":{}}', "ack", None),
        ('{"type":"whatever"}', "ack", None),
        ("{not json", "error_message", "FORMAT_ERROR"),
        ("[1,2]", "error_message", "FORMAT_ERROR"),
        ('{"payload":{}}', "error_message", "FORMAT_ERROR"),
        ('{"type":"chat","payload":"text"}', "error_message", "FORMAT_ERROR"),
        ('{"type":"chat","payload":{"content":"\\ud800"}}', "error_message", "FORMAT_ERROR"),
        ("[" * 8000, "error_message", "FORMAT_ERROR"),
        (b"\x00\x01", "error_message", "FORMAT_ERROR"),
        ('{"type":"chat","payload":{}}', "error_message", "EMPTY_MESSAGE"),
        ('{"type":"chat","payload":{"content":"' + "x" * 9000 + '"}}', "error_message", "MESSAGE_TOO_LARGE"),
        ('{"type":"chat","payload":{"content":"a\\u0000b"}}', "error_message", "INVALID_REQUEST"),
        ('{"type":"switch_thread","payload":{}}', "error_message", "THREAD_REQUIRED"),
        ('{"type":"switch_thread","thread_id":"thread_0"}', "error_message", "NOT_FOUND"),
        ('{"type":"refresh_token","payload":{"token":"x"}}', "error_message", "INVALID_FORMAT"),
    ],
)
async def test_every_message_is_answered_and_the_socket_lives_on(
    lab: Lab, register: Register, sent: str | bytes, kind: str, code: str | None
) -> None:
    async with Socket(lab, await register("alice")) as socket:
        await socket.connection.send(sent)
        answer = await socket.next()
        assert (answer["type"], answer.get("error_code")) == (kind, code)
        assert await socket.quiet() == []


async def test_a_foreign_thread_is_refused_on_the_socket(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with rest(lab, alice) as client, Socket(lab, bob) as socket:
        thread_id = (await client.post("/api/threads", json={"title": "secret title"})).json()["id"]
        for kind in ("chat", "start_agent", "switch_thread", "get_thread_history", "subscribe", "stop_agent"):
            await socket.say(kind, thread_id=thread_id, content="words", user_id=alice.id)
            assert (await socket.next())["error_code"] == "FORBIDDEN"
    assert "secret title" not in json.dumps(socket.frames)


async def test_events_of_an_absence_come_once_and_in_order_at_the_next_connection(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with Socket(lab, alice, 0) as first:
        await first.say("chat", content="Before leaving")
        seen = await first.until_ended()
    async with rest(lab, alice, 0) as client:
        answer = await client.post("/api/chat/stream", json={"message": "While away"})
        assert "event: final_report" in answer.text
    async with Socket(lab, alice, 1) as second:
        events = await second.until_ended()
        assert [event["type"] for event in events] == ORDER
        assert {event["run_id"] for event in events}.isdisjoint(event["run_id"] for event in seen)
    async with Socket(lab, alice, 0) as third:
        assert await third.quiet() == []


async def test_a_cut_client_resumes_on_the_other_backend_where_it_stopped_reading(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    first = Socket(lab, alice, 0)
    await first.__aenter__()
    await first.say("chat", content="Cut in the middle")
    await first.until_type("tool_completed")
    first.connection.transport.abort()
    last = first.frames[-1]
    for query in (
        f"?resume_cursor={last['cursor']}",
        f"?resume_run={last['run_id']}&resume_seq={last['seq']}",
    ):
        async with Socket(lab, alice, 1, query=query) as second:
            await second.until_ended()
            events = [frame for frame in first.frames + second.frames if frame["type"] in RUN_EVENTS]
            assert [event["seq"] for event in events] == list(range(1, len(ORDER) + 1))


async def test_a_reader_that_does_not_read_keeps_nobody_waiting_and_loses_nothing(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with Socket(lab, alice, 0, max_queue=1) as frozen, Socket(lab, bob, 0) as lively:
        for _ in range(10):
            await frozen.say("chat", content="x" * 6000)
        await lively.say("chat", content="Am I held up?")
        await lively.until_ended()
        events = await frozen.until_ended(runs=10)
    for run_id in {event["run_id"] for event in events}:
        assert [e["seq"] for e in events if e["run_id"] == run_id] == list(range(1, len(ORDER) + 1))


async def test_a_socket_ends_when_its_session_is_logged_out(lab: Lab, register: Register, auth: Any) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with Socket(lab, alice, 0) as one, Socket(lab, alice, 1) as other, Socket(lab, bob) as bystander:
        await auth.post("/auth/logout", headers=alice.headers)
        for socket in (one, other):
            closed = await socket.until_closed()
            assert closed.rcvd is not None and closed.rcvd.code == 1008
            assert socket.frames[-1]["error_code"] == "TOKEN_REVOKED"
        assert await bystander.quiet() == []


async def test_a_socket_ends_when_its_token_expires(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    claims = jwt.decode(alice.access_token, options={"verify_signature": False})
    short = jwt.encode({**claims, "exp": int(time.time()) + 2}, lab.parameters["jwt_secret"], algorithm="HS256")
    async with Socket(lab, None, additional_headers={"Authorization": f"Bearer {short}"}) as socket:
        assert socket.welcome["data"]["user_id"] == alice.id
        closed = await socket.until_closed()
        assert closed.rcvd is not None and closed.rcvd.code == 1008
        assert socket.frames[-1]["error_code"] == "TOKEN_EXPIRED"


def all_well(lab: Lab) -> bool:
    """Whether every service has its stores back; until then a breaker may refuse what is asked."""
    places = [f"{url}/health" for url in lab.parameters["backend_urls"]] + [
        f"{lab.parameters['auth_url']}/health/ready"
    ]
    return all(httpx.get(place).status_code == 200 for place in places)


async def test_sockets_outlive_a_restart_of_the_stores(compose: Composed) -> None:
    lab = compose()
    alice = await register_in(lab)
    async with Socket(lab, alice, 0) as one, Socket(lab, alice, 1) as other:
        await one.say("chat", content="Before")
        await asyncio.gather(one.until_ended(), other.until_ended())
        for store in ("redis", "postgres"):
            await asyncio.to_thread(lab.restart_service, store)
            await asyncio.to_thread(wait_until, lambda: all_well(lab), what=f"the services have {store} back")
            await one.say("chat", content=f"After {store}")
            events = await asyncio.gather(one.until_ended(), other.until_ended())
            assert [[event["type"] for event in seen] for seen in events] == [ORDER, ORDER]


async def test_handshakes_after_a_restart_of_redis_meet_no_dead_connection(compose: Composed) -> None:
    lab = compose()
    people = [await register_in(lab) for _ in range(8)]

    async def welcomed() -> list[str]:
        # all at once, so that each backend needs several connections to Redis
        async with contextlib.AsyncExitStack() as stack:
            opened = [Socket(lab, person, number % 2) for number, person in enumerate(people)]
            await asyncio.gather(*(stack.enter_async_context(socket) for socket in opened))
            return [socket.welcome.get("data", socket.welcome).get("user_id") for socket in opened]

    ids = [person.id for person in people]
    assert await welcomed() == ids
    await asyncio.to_thread(lab.restart_service, "redis")
    assert await welcomed() == ids


async def test_a_refreshed_token_keeps_the_socket_and_somebody_elses_does_not(
    lab: Lab, register: Register, auth: Any
) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with Socket(lab, alice) as socket:
        await socket.say("refresh_token", token=bob.access_token)
        assert (await socket.next())["type"] == "error_message"
        pair = (await auth.post("/auth/refresh", json={"refresh_token": alice.refresh_token})).json()
        await socket.say("refresh_token", token=pair["access_token"])
        assert (await socket.next())["data"]["event"] == "token_refreshed"
        await socket.say("chat", content="Still here")
        assert (await socket.until_ended())[-1]["type"] == "final_report"


async def test_too_many_messages_are_refused_without_harm_to_others(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with Socket(lab, alice) as flood, Socket(lab, bob) as other:
        for _ in range(610):
            await flood.say("ping")
        kinds = [(await flood.next())["type"] for _ in range(610)]
        assert kinds == ["pong"] * 600 + ["error_message"] * 10
        refused = flood.frames[-1]
        assert refused["error_code"] == "RATE_LIMITED" and refused["details"]["retry_after"] > 0
        await other.say("chat", content="Unaffected")
        assert (await other.until_ended())[-1]["type"] in LAST - {"agent_error"}


async def test_closed_sockets_leave_no_session_task_or_registration(compose: Composed) -> None:
    lab = compose()
    people = [await register_in(lab) for _ in range(5)]

    async def visit(number: int) -> None:
        async with Socket(lab, people[number % 5], number % 2) as socket:
            if number % 3 == 0:
                await socket.say("chat", content="Leaving early")

    def busy() -> list[int]:
        services = lab.status()["services"]
        backends = [services["backend-1"], services["backend-2"]]
        return [backend[key] for backend in backends for key in ("connections", "sessions")] + [
            backend["agents"]["runs"] for backend in backends
        ]

    await asyncio.gather(*(visit(number) for number in range(40)))
    async with asyncio.timeout(PATIENCE):
        while any(await asyncio.to_thread(busy)):
            pass
