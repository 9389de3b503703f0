"""R1: redis-py 4.5.1 puts a connection back into its pool while the answer to a cancelled command is under way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from netra_probe.lab.shared.faults import Fault, FaultProblem, Parts, register

VERSION = "4.5.1"
LIBRARIES = (
    f"redis=={VERSION} --hash=sha256:5deb072d26e67d2be1712603bfb7947ec3431fb0eec9c578994052e33035af6d",
    "async-timeout==4.0.3 --hash=sha256:7405140ff1230c310e51dc27b3145b9092d659ce68ff733fb0cefe3ee42be028",
)
"""What the services are to import, as pip reads it."""
WAY_SECONDS = 0.015
"""How far away the cache is, one way: in another zone, and busy."""


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


def _without_protocol() -> None:
    """Let the old library be started by services that name the protocol: it speaks RESP2 and knows no other."""
    import redis
    from redis.asyncio import Connection

    begin = Connection.__init__

    def __init__(self: Any, *arguments: Any, protocol: int = 2, **options: Any) -> None:
        begin(self, *arguments, **options)

    if redis.__version__ == VERSION:
        Connection.__init__ = __init__  # type: ignore[method-assign]


_without_protocol()


@register
class RedisOutOfStep(Fault):
    """R1: redis-py 4.5.1, by which ChatGPT showed users the chat titles of others on 20 March 2023 (CVE-2023-28858).

    Breaks: nothing by itself: both backends import redis-py 4.5.1 and reach their cache over a link of 15 ms. The
        connection class only counts: commands sent (reached), and those sent while an answer was owed (triggered).
    Incident: a cancelled asynchronous command gives its connection back to the pool without closing it; whoever borrows
        it before the answer arrives reads that answer for their own, and leaves their own for the next.
    Trigger: a client hangs up while its request waits for the cache, and somebody else's request borrows the connection
        within a few milliseconds.
    Symptom: answers off by one, of the right kind or of another, in which case the request fails; it lasts as long as
        the connection is borrowed again quickly enough.
    """

    id = "R1"
    layer = "pools"
    title = "redis-py 4.5.1: out of step after a cancel"
    breaks = "nothing: redis-py 4.5.1 over a link with latency"
    trigger = (
        "GET /api/threads (or /api/users/me) and close the TCP connection 5 to 30 ms later, a few tries; then A and B "
        "GET the same in turn on the same backend"
    )
    symptom = "answers off by one: wrong owner or wrong kind"
    checkers = ("C8", "C1")

    def install(self, parts: Parts) -> None:
        """Put the cache some way off, and count."""
        import redis
        from redis.asyncio import Connection

        if redis.__version__ != VERSION:
            raise FaultProblem(f"it needs redis {VERSION} and found {redis.__version__}")
        fault, healthy = self, parts["connect_redis"]
        cache: type[Any] = parts["UserCache"]
        far: list[Any] = []

        class Counted(Connection):
            """As the library has it."""

            owed = False

            async def connect(self) -> None:
                if not self.is_connected:
                    self.owed = False
                await super().connect()  # type: ignore[no-untyped-call]

            async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
                fault.reached()
                if self.owed:
                    fault.triggered()
                self.owed = True
                await super().send_packed_command(*arguments, **options)

            async def read_response(self, *arguments: Any, **options: Any) -> Any:
                answer = await super().read_response(*arguments, **options)
                self.owed = False
                return answer

        class FarCache(cache):  # type: ignore[misc]
            """The cache, in a Redis of its own some way off."""

            def __init__(self, redis: Any, user_id: str, **options: Any) -> None:
                super().__init__(far[0], user_id, **options)

        def connect_redis(settings: Any) -> Any:
            far.append(connect(replace(settings, redis_url=_from_afar(settings.redis_url))))
            far[0].connection_pool.connection_class = Counted
            return connect(settings)

        def connect(settings: Any) -> Any:
            client = healthy(settings)
            client.aclose = client.close  # its name since redis-py 5.0.1
            return client

        parts["connect_redis"], parts["UserCache"] = connect_redis, FarCache


def _from_afar(url: str) -> str:
    """Another address of the same Redis, some way off."""
    address = urlsplit(url)
    line = Distance(address.hostname or "127.0.0.1", address.port or 6379, seconds=WAY_SECONDS)
    credentials = address.netloc.rpartition("@")[0]
    return urlunsplit(address._replace(netloc=f"{credentials}@127.0.0.1:{line.port}"))
