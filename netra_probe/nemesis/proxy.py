"""A TCP proxy that disturbs the connections that pass through it on command."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct

from netra_probe.nemesis.flow import PIECE, Direction, Flow, News

#: With this option set, closing a connection resets it: what was on its way is lost.
_RESET = struct.pack("ii", 1, 0)
#: What every network can carry in one piece (RFC 9293 §3.7.1).
_SMALL_SEGMENT = 536
#: Seconds in which the target has to take a connection.
CONNECT_SECONDS = 5.0


class Channel:
    """One connection through a proxy: a user's side, the target's side, and a flow in each direction."""

    def __init__(self, number: int, port: int, user: asyncio.StreamWriter, target: asyncio.StreamWriter) -> None:
        self.number = number
        #: Port of the user's end, by which a client finds its channel.
        self.port = port
        self._ends = (user, target)
        self._passing: list[asyncio.Task[None]] = []
        self.up: Flow
        self.down: Flow

    @property
    def is_websocket(self) -> bool:
        """Whether the user has asked for a WebSocket on it."""
        return b"upgrade: websocket" in self.up.first.lower()

    def flows(self, direction: Direction) -> tuple[Flow, ...]:
        """The flow or flows of a direction."""
        return {Direction.UP: (self.up,), Direction.DOWN: (self.down,), Direction.BOTH: (self.up, self.down)}[direction]

    async def run(self) -> None:
        """Pass bytes both ways until both sides have ended, or one breaks: then the other is reset, too."""
        self._passing = [asyncio.create_task(flow.run()) for flow in (self.up, self.down)]
        try:
            await asyncio.wait(self._passing, return_when=asyncio.FIRST_EXCEPTION)
            problems = [task.exception() for task in self._passing if task.done() and not task.cancelled()]
            for problem in filter(None, problems):
                if not isinstance(problem, OSError):
                    raise problem
                self.cut(reset=True)
        finally:
            self.cut(reset=False)
            await asyncio.wait(self._passing)

    def cut(self, *, reset: bool) -> None:
        """End both sides at once; what is in hand is lost."""
        for task in self._passing:
            task.cancel()
        for end in self._ends:
            if reset:
                with contextlib.suppress(OSError):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()
            else:
                end.close()


class Proxy:
    """In front of one address, on a free port of this machine.

    Arguments:
        news: notified of everything that happens here.
        window: bytes that the target may send ahead of the user's reading; 0 leaves it to the operating system.
    """

    def __init__(self, host: str, port: int, *, news: News, window: int = 0) -> None:
        self.channels: list[Channel] = []
        self._target = (host, port)
        self._window = window
        self._news = news
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        #: What new connections begin with.
        self._stopped: set[Direction] = set()
        self._delay: dict[Direction, float] = {}
        self._slice: dict[Direction, int] = {}

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None, "start the proxy first"
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def close(self) -> None:
        """End all connections and stop listening; returns when nothing of it is left."""
        if self._server is not None:
            self._server.close()
        for channel in self.channels:
            channel.cut(reset=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def begin_with(self, flow: Flow, direction: Direction) -> None:
        """Treat a new connection as all are treated at the moment."""
        if direction in self._stopped:
            flow.stop()
        flow.delay = self._delay.get(direction, 0.0)
        flow.slice = self._slice.get(direction, 0)

    def treat(
        self, direction: Direction, *, stop: bool | None = None, delay: float | None = None, slice: int | None = None
    ) -> None:
        """From now on treat new connections like this, too."""
        for one in (Direction.UP, Direction.DOWN) if direction is Direction.BOTH else (direction,):
            if stop is not None:
                (self._stopped.add if stop else self._stopped.discard)(one)
            if delay is not None:
                self._delay[one] = delay
            if slice is not None:
                self._slice[one] = slice

    async def _accept(self, from_user: asyncio.StreamReader, to_user: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(from_user, to_user)
        except asyncio.CancelledError:
            pass  # close() ends the proxy; nobody awaits this task for its outcome.
        finally:
            self._tasks.discard(task)

    async def _serve(self, from_user: asyncio.StreamReader, to_user: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                from_target, to_target = await self._connect()
        except OSError:
            # Including TimeoutError: whom the target does not take is turned away.
            to_user.transport.abort()
            return
        channel = Channel(next(self._numbers), to_user.get_extra_info("peername")[1], to_user, to_target)
        channel.up = Flow(from_user, to_target, news=self._news)
        channel.down = Flow(from_target, to_user, news=self._news, piece=self._window or PIECE)
        for direction in (Direction.UP, Direction.DOWN):
            self.begin_with(channel.flows(direction)[0], direction)
        self.channels.append(channel)
        self._news.tell()
        try:
            await channel.run()
        finally:
            self.channels.remove(channel)
            self._news.tell()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(*self._target, type=socket.SOCK_STREAM)
        problem: OSError = ConnectionError("no address")
        for family, kind, protocol, _, address in found:
            raw = socket.socket(family, kind, protocol)
            raw.setblocking(False)
            if self._window:
                # Before connecting: afterwards the window that was announced can no longer shrink.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window)
                # And small segments: within one machine they are huge, and the sender's buffer grows with them.
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SMALL_SEGMENT)
            try:
                await loop.sock_connect(raw, address)
                return await asyncio.open_connection(sock=raw, limit=self._window or PIECE)
            except OSError as error:
                raw.close()
                problem = error
            except BaseException:
                raw.close()
                raise
        raise problem
