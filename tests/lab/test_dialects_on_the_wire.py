"""Labs in other dialects over the wire: refusals, welcomes, half-dead sockets, other identities, and faults in them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from backend_client import Socket, backend_url, register_in, rest
from composing import Composed
from people import Person
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from netra_probe.history.frames import CRITICAL_EVENTS, read_frame
from netra_probe.lab import Lab, Variant

PARTS = ("oidc",)
"""What these labs do without."""
NOTHING_WITHIN = 1.5
"""How long a zombie is listened to; longer than a lingering one lives."""


def names(socket: Socket) -> list[str]:
    """What was received, by canonical name."""
    return [read_frame(json.dumps(frame)).name for frame in socket.frames]


async def read_until(socket: Socket, name: str) -> dict[str, Any]:
    """Read on up to an event of this canonical name, in whatever envelope."""
    return await socket.until(lambda frame: read_frame(json.dumps(frame)).name == name)


async def refusal(lab: Lab, who: Person | None) -> ConnectionClosed:
    """How an accepted socket is closed again before it says anything but errors."""
    headers = {} if who is None else who.headers
    connection = await connect(
        backend_url(lab).replace("http", "ws", 1) + "/ws", additional_headers=headers, proxy=None
    )
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await connection.recv()
    return closed.value


@pytest.fixture
def stern(compose: Composed) -> Lab:
    """Events of agent requests only, HTTP 403 for strangers, a plain welcome, no view of the stores; and W1."""
    variant = Variant(
        dialect="agent-request",
        handshake="http-403",
        welcome="plain",
        only_agent_request=True,
        database=False,
        cache=False,
    )
    return compose(("W1:0.5",), variant=variant)


async def test_strangers_get_403_and_foreign_pages_too(stern: Lab) -> None:
    url = backend_url(stern).replace("http", "ws", 1) + "/ws"
    alice = await register_in(stern)
    for headers, origin in (({}, None), (alice.headers, "https://evil.example")):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers=headers, origin=origin, proxy=None)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403


async def test_a_plain_welcome_says_eight_characters_of_the_user(stern: Lab) -> None:
    alice = await register_in(stern)
    async with Socket(stern, alice) as socket:
        assert socket.welcome["type"] == "connection_established"
        assert socket.welcome["user_id"] == alice.id[:8]
        assert alice.id not in json.dumps(socket.welcome)


async def test_only_agent_requests_start_runs_and_their_events_carry_turn_and_user(stern: Lab) -> None:
    alice = await register_in(stern)
    async with Socket(stern, alice) as socket:
        for kind in ("start_agent", "user_message", "chat"):
            await socket.say(kind, content="cost", user_request="cost")
            assert (await socket.next())["type"] == "ack"
        await socket.say("agent_request", message="cost", turn_id="turn-9")
        await read_until(socket, "final_report")
        assert set(CRITICAL_EVENTS) <= set(names(socket))
        completed = next(frame for frame in socket.frames if frame["type"] == "agent_response_complete")
    assert (completed["data"]["turn_id"], completed["data"]["user_id"]) == ("turn-9", alice.id)
    assert "run_" not in json.dumps([frame for frame in socket.frames if "thread_created" not in json.dumps(frame)])


async def test_a_fault_speaks_the_dialect_and_names_the_true_owner(stern: Lab) -> None:
    alice, bob = await register_in(stern), await register_in(stern)
    async with Socket(stern, alice) as mine, Socket(stern, bob, 1) as foreign:
        for turn in range(3):  # a rate of one half leaves 45 events without a copy once in 10^13
            await mine.say("agent_request", message=f"words-of-alice {turn}", turn_id=f"turn-{turn}")
            await read_until(mine, "final_report")
        strays = [frame for frame in await foreign.quiet() if frame["type"] != "thread_created"]
    owners = {frame["data"]["user_id"] for frame in strays if "user_id" in frame.get("data", {})}
    assert owners == {alice.id}
    assert stern.status()["faults"]["W1"]["triggered"] > 0


def test_parameters_leave_out_what_cannot_be_seen(stern: Lab) -> None:
    assert not {"database_url", "redis_url"} & set(stern.parameters)
    assert stern.variant.differences()["dialect"] == "agent-request"


@pytest.fixture
def zombies(compose: Composed) -> Lab:
    """Sockets that live for a second, and are refused with 1011."""
    variant = Variant(zombie="lingering", handshake="1011", welcome="connect", dialect="server")
    return compose(variant=variant)


async def test_a_refusal_can_be_an_internal_error_without_a_word(zombies: Lab) -> None:
    closed = await refusal(zombies, None)
    assert closed.rcvd is not None and closed.rcvd.code == 1011


async def test_a_zombie_answers_at_first_then_neither_speaks_nor_closes(zombies: Lab) -> None:
    alice = await register_in(zombies)
    async with rest(zombies, alice) as client, Socket(zombies, alice) as socket:
        assert (socket.welcome["type"], socket.welcome["data"]["user_id"]) == ("connect", alice.id[:8])
        assert (await socket.next())["type"] == "ping"
        await socket.say("ping")
        assert set(await socket.next()) == {"type", "data", "timestamp", "server_id", "correlation_id"}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(NOTHING_WITHIN):
                await socket.until_closed()
        await socket.say("chat", content="cost")
        await socket.say("ping")
        assert (await client.delete("/api/users/me")).status_code == 200  # would close a living socket
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(NOTHING_WITHIN):
                await socket.until_closed()
    assert all(service["healthy"] for service in zombies.status()["services"].values())


@pytest.fixture
def demonstration(compose: Composed) -> Lab:
    """All sockets of one demonstration user, welcomed after a ping, in the connection manager's words."""
    variant = Variant(identity="demo-user", dialect="manager-context", welcome="after-ping")
    return compose(variant=variant)


async def test_all_sockets_belong_to_one_user_and_everybody_sees_everything(demonstration: Lab) -> None:
    alice, bob = await register_in(demonstration), await register_in(demonstration)
    async with rest(demonstration, alice) as client:
        thread = (await client.post("/api/threads", json={"title": "of alice"})).json()["id"]
    async with Socket(demonstration, alice) as mine, Socket(demonstration, bob, 1) as other:
        assert mine.welcome["type"] == "ping"
        assert (await mine.next())["data"]["user_id"] == "demo-user-001"
        await mine.connection.send(
            json.dumps({"type": "user_message", "payload": {"content": "cost"}, "thread_id": thread})
        )
        report = await read_until(mine, "final_report")
        assert report["user_context"]["user_id"] == "demo-user-001"
        assert (await read_until(other, "final_report"))["data"]["run_id"] == report["data"]["run_id"]


async def test_a_demonstration_socket_outlives_checks_and_ends_with_its_token(demonstration: Lab) -> None:
    import httpx

    alice = await register_in(demonstration)
    async with Socket(demonstration, alice) as socket, httpx.AsyncClient() as client:
        await socket.quiet()
        await socket.say("refresh_token", token=alice.access_token)
        assert (await socket.until_type("system_message"))["data"]["event"] == "token_refreshed"
        url = f"{demonstration.parameters['auth_url']}/auth/logout"
        (await client.post(url, headers=alice.headers)).raise_for_status()
        closed = await socket.until_closed()
    assert closed.rcvd is not None and closed.rcvd.code == 1008
