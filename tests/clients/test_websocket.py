"""The recording WebSocket, against the lab and against servers that misbehave as real ones do."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from netra_probe import Closed, Investigation, Refused, Silent, investigate
from netra_probe.clients.replies import Timeouts, Unreachable
from netra_probe.clients.websocket import Handshake, Received, Socket, open_socket, websocket_url
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder

WELCOME = json.dumps({"type": "system_message", "data": {"event": "connection_established", "user_id": "u1"}})
QUICK = Timeouts(welcome=0.3, pong=0.3, settle=0.1, close=0.5, run=0.5)
Handler = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture
def history(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "x.jsonl")


@pytest.fixture(autouse=True)
def _closed(history: Recorder) -> object:
    yield
    history.abandon()


@asynccontextmanager
async def a_server(handler: Handler) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def opened(history: Recorder, url: str) -> Socket:
    handshake = Handshake(name="alice/ws-1", user="alice", token=Secret("any-token"))
    socket = await open_socket(history, url, handshake, timeouts=QUICK)
    assert isinstance(socket, Socket)
    return socket


async def test_a_socket_that_falls_silent_after_its_welcome_is_found_out(history: Recorder) -> None:
    async def zombie(connection: ServerConnection) -> None:
        await connection.send(WELCOME)
        await connection.send('{"type":"ping"}')
        async for _ in connection:
            pass

    async with a_server(zombie) as url:
        socket = await opened(history, url)
        assert await socket.fence() == Silent(seconds=QUICK.pong)
        await socket.close()


async def test_a_socket_without_a_welcome_is_open_and_says_so(history: Recorder) -> None:
    async def quiet(connection: ServerConnection) -> None:
        async for message in connection:
            if json.loads(message)["type"] == "ping":
                await connection.send('{"type":"pong"}')

    async with a_server(quiet) as url:
        socket = await opened(history, url)
        assert socket.welcome is None
        assert isinstance(await socket.fence(), Received)
        await socket.close()


async def test_an_error_frame_and_a_close_are_one_refusal(history: Recorder) -> None:
    async def refusing(connection: ServerConnection) -> None:
        await connection.send(json.dumps({"type": "error_message", "error_code": "AUTH_FAILED", "details": {}}))
        await connection.close(1008)

    async with a_server(refusing) as url:
        handshake = Handshake(name="stranger/ws-1", token=Secret("any-token"))
        outcome = await open_socket(history, url, handshake, timeouts=QUICK)
    assert outcome == Closed(code=1008, error="AUTH_FAILED")
    assert not outcome
    connects = [operation for operation in history if operation.action == actions.CONNECT]
    assert [operation.type for operation in connects] == ["invoke", "fail"]


async def test_a_handshake_refused_by_http_is_a_refusal_and_a_dead_port_is_not(history: Recorder) -> None:
    async def nothing(connection: ServerConnection) -> None:
        await connection.close()

    async with serve(nothing, "127.0.0.1", 0, process_request=lambda c, r: c.respond(403, "no\n")) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        stranger = Handshake(name="stranger/ws-1")
        assert await open_socket(history, url, stranger, timeouts=QUICK) == Refused(status=403)
    assert isinstance(await open_socket(history, url, stranger, timeouts=QUICK), Unreachable)


@pytest.mark.parametrize(
    "frame", ["not json", "[1, 2]", "", '{"type": 7}', "\ud800".encode("utf-8", "replace").decode()]
)
async def test_a_malformed_frame_is_recorded_and_harms_nothing(history: Recorder, frame: str) -> None:
    async def odd(connection: ServerConnection) -> None:
        await connection.send(WELCOME)
        await connection.send(frame)
        await connection.send(b"\xff\xfe binary")
        async for _ in connection:
            await connection.send('{"type":"pong"}')

    async with a_server(odd) as url:
        socket = await opened(history, url)
        assert isinstance(await socket.fence(), Received)
        await socket.close()
    payloads = [operation.payload for operation in history if operation.action == actions.RECEIVE]
    assert frame in payloads
    assert any("binary" in payload for payload in payloads)


async def test_a_ping_of_the_server_is_answered(history: Recorder) -> None:
    answers: list[str] = []

    async def asking(connection: ServerConnection) -> None:
        await connection.send(WELCOME)
        await connection.send('{"type":"ping"}')
        answers.append(json.loads(await connection.recv())["type"])
        await connection.send('{"type":"agent_started","run_id":"r1"}')

    async with a_server(asking) as url:
        socket = await opened(history, url)
        await socket.until(lambda frame: frame.name == "agent_started", within=2)
        await socket.close()
    assert answers == ["pong"]


async def test_every_frame_is_recorded_once_and_in_order(history: Recorder) -> None:
    async def talkative(connection: ServerConnection) -> None:
        await connection.send(WELCOME)
        for number in range(500):
            await connection.send(json.dumps({"type": "partial_result", "run_id": "r1", "n": number}))
        await connection.close()

    async with a_server(talkative) as url:
        socket = await opened(history, url)
        assert (await socket.until(lambda frame: False, within=5)) == Closed(code=1000)
    frames = [json.loads(operation.payload) for operation in history if operation.action == actions.RECEIVE]
    assert [frame["n"] for frame in frames if "n" in frame] == list(range(500))


def test_addresses_are_made_for_either_scheme() -> None:
    assert websocket_url("https://api.example.org") == "wss://api.example.org/ws"
    assert websocket_url("http://127.0.0.1:8000/base/") == "ws://127.0.0.1:8000/base/ws"


@pytest.fixture
async def probe() -> AsyncIterator[Investigation]:
    investigation = await investigate("C4", users=2)
    yield investigation
    await investigation.close()


async def test_the_lab_binds_each_socket_to_its_token(probe: Investigation) -> None:
    async with probe.sockets() as sockets:
        welcomed = [socket.welcome.ids["user_id"] for socket in sockets if socket.welcome]
    assert [user.id.startswith(seen) for user, seen in zip(probe.users, welcomed, strict=True)] == [True, True]


async def test_a_cut_run_is_neither_lost_nor_done(probe: Investigation) -> None:
    alice = probe.users[0]
    async with probe.sockets([alice]):
        asking = probe.start([alice.ask("Where do I overspend?")])
        await alice.until_event("agent_started")
        await alice.cut()
        (run,) = await asking
    assert isinstance(run.outcome, Closed)
    asked = [operation for operation in probe.history if operation.action == actions.ASK]
    assert [operation.type for operation in asked] == ["invoke", "info"]


async def test_a_question_without_an_answer_is_silent_until_the_deadline(history: Recorder) -> None:
    from netra_probe.clients.agent import ask

    async def mute(connection: ServerConnection) -> None:
        await connection.send(WELCOME)
        async for _ in connection:
            pass

    async with a_server(mute) as url:
        socket = await opened(history, url)
        run = await ask(history, socket, "Anybody there?", nonce="n-1")
        await socket.close()
    assert run.outcome == Silent(seconds=QUICK.run)
    assert str(run.outcome) == "silent for 0.5 s"
