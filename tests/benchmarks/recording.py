"""How much the recording costs: events per second of the recording client against the bare one, side by side.

Run by hand: ``python tests/benchmarks/recording.py``. A server in a process of its own sends the same frames to both,
in alternating rounds; the ratio of the medians is what counts, the absolute numbers belong to the machine.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from netra_probe.clients.websocket import Handshake, Socket, open_socket
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder

FRAMES = 20_000
ROUNDS = 7
WELCOME = json.dumps({"type": "system_message", "data": {"event": "connection_established", "user_id": "u1"}})
EVENT = json.dumps(
    {
        "type": "partial_result",
        "run_id": "run_thread_0123456789abcdef0123456789abcdef_1_a1b2c3d4",
        "thread_id": "thread_0123456789abcdef0123456789abcdef",
        "agent_name": "optimizer",
        "timestamp": "2026-01-01T00:00:00.000000+00:00",
        "payload": {"seq": 7, "content": "Where do I overspend? [CANARYABCDEFGHIJKLMNOP] " * 6},
    }
)


def _serve(port: Connection) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(WELCOME)
        async for _ in connection:
            for _ in range(FRAMES):
                await connection.send(EVENT)
            await connection.send('{"type":"pong"}')

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, compression=None) as server:
            port.send(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


async def _bare(url: str) -> float:
    async with connect(url, compression=None, ping_interval=None, max_size=None) as connection:
        await connection.recv()
        begin = time.perf_counter()
        await connection.send("go")
        async for message in connection:
            if message == '{"type":"pong"}':
                break
        return FRAMES / (time.perf_counter() - begin)


async def _recording(url: str, folder: Path, number: int) -> float:
    history = Recorder(folder / f"{number}.jsonl")
    socket = await open_socket(history, url, Handshake(name="alice/ws-1", user="alice", token=Secret("any-token")))
    assert isinstance(socket, Socket)
    begin = time.perf_counter()
    await socket.send_text("go")
    await socket.until(lambda frame: frame.name == "pong", within=120)
    rate = FRAMES / (time.perf_counter() - begin)
    await socket.close()
    history.abandon()
    return rate


async def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    url = f"ws://127.0.0.1:{ours.recv()}"
    bare, recording = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            bare.append(await _bare(f"{url}/ws"))
            recording.append(await _recording(url, Path(folder), number))
    server.terminate()
    one, other = statistics.median(bare), statistics.median(recording)
    print(f"bare websockets   {one:10,.0f} events/s")
    print(f"recording client  {other:10,.0f} events/s")
    print(f"ratio             {other / one:10.2f}")


if __name__ == "__main__":
    asyncio.run(main())
