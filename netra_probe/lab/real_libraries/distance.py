"""A server that is some way off: bytes pass as they are, in order, a little later."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Distance:
    """Listens on a port of this machine and passes everything on to a server, and back, each way after a delay.

    It works in a thread of its own, so that it is there before the process's event loop is.

    Arguments:
        host, port: the server.
        seconds: how long each way takes.
    """

    def __init__(self, host: str, port: int, *, seconds: float) -> None:
        self._server = (host, port)
        self._seconds = seconds
        self._ready = threading.Event()
        self.port = 0
        threading.Thread(target=lambda: asyncio.run(self._serve()), name="distance", daemon=True).start()
        self._ready.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._server)
        except OSError:  # the server is away: whoever called finds out as if it had called there
            writer.close()
            return
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, to its end; what arrives while something is under way travels beside it."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        arriving = asyncio.create_task(arrive())
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                under_way.put_nowait((loop.time() + self._seconds, data))
        under_way.put_nowait((loop.time() + self._seconds, b""))
        with contextlib.suppress(OSError):
            await arriving
        writer.close()
