"""A recording WebSocket: every frame is in the history, raw, in the order and at the time it came."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Origin, Subprotocol

from netra_probe.clients.liveness import LivenessModel
from netra_probe.clients.protocol import CUT, PING, Phase, SocketProtocol
from netra_probe.clients.replies import Broken, Closed, Refused, Silent, Timeouts, Unreachable
from netra_probe.clients.route import NetworkRoute
from netra_probe.history import actions
from netra_probe.history.frames import Frame, read_frame
from netra_probe.history.operation import Operation
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.tls import why

SURFACE = "websocket"
#: Frames larger than this end the connection (1009): a target must not be able to fill the memory.
LARGEST_FRAME = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Received:
    """A frame and the operation that recorded it."""

    operation: Operation
    frame: Frame


def websocket_url(base_url: str, path: str = "/ws", query: Mapping[str, str] | None = None) -> str:
    """``http://host`` → ``ws://host/ws``, with the query, where there is one."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, urlencode(query or {}), ""))


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """One attempt to open a WebSocket.

    Arguments:
        name: the connection's name in the history (``alice/ws-1``).
        backend: number of the backend.
        token: travels in a header, or as ``subprotocols`` say; ``None`` sends none.
        attempt: marks a handshake that must not succeed: ``{"attempt", "owner", "expect"}``.
        detour: dialled instead of the host of the URL, which stays what the target is called by.
    """

    name: str
    user: str | None = None
    backend: int = 0
    path: str = "/ws"
    token: Secret | None = None
    attempt: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocols: tuple[str, ...] = ()
    origin: str | None = None
    detour: NetworkRoute | None = None


class Socket(ABC):
    """An accepted connection of one user, live or recorded.

    Arguments of note: ``welcome`` is the welcome frame, or ``None`` when the target sent none in time; ``name`` is
    the connection's name in the history (``alice/ws-1``).
    """

    def __init__(self, connect: Operation, *, timeouts: Timeouts) -> None:
        self.name = connect.connection or ""
        self.user = connect.user
        self.backend = connect.backend
        self.timeouts = timeouts
        self.welcome: Frame | None = None
        self.received: list[Received] = []
        self.closed: Closed | None = None

    async def send(self, message: Mapping[str, Any], *, attempt: Mapping[str, Any] | None = None) -> Operation:
        """Write one frame; returns an ``ok`` operation when it was written, ``fail`` when the socket was closed.

        ``attempt`` marks an act that must not succeed: ``{"attempt", "object", "owner", "expect"}``.
        """
        return await self.send_text(msgspec.json.encode(message).decode(), attempt=attempt)

    @property
    @abstractmethod
    def local_address(self) -> tuple[str, int]:
        """Our end of the TCP connection: host and port."""

    @property
    @abstractmethod
    def position(self) -> int:
        """How many frames have come by now: where one looks from for the answer to what one is about to send."""

    @abstractmethod
    async def send_text(self, text: str, *, attempt: Mapping[str, Any] | None = None) -> Operation:
        """Write one frame exactly as given, well-formed or not."""

    @abstractmethod
    async def until(
        self, match: Callable[[Frame], bool], *, within: float, start: int = 0
    ) -> Received | Silent | Closed:
        """The first matching frame from position ``start`` of ``received`` on; waits at most ``within`` seconds."""

    @abstractmethod
    async def fence(self) -> Received | Silent | Closed:
        """Prove that the connection is alive now: a ping answered by its pong.

        Frames are delivered in order, so everything that the target had put on this connection before the pong is in
        the history when this returns.
        """

    @abstractmethod
    async def close(self, code: int = 1000) -> Closed:
        """Close in order and wait until the reader has seen the end."""

    @abstractmethod
    async def abort(self) -> Closed:
        """Cut the connection without a closing handshake, as a dying client does."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.closed or 'open'}>"


class LiveSocket(Socket):
    """A connection to a target, which ``protocol`` understands; open one with ``open_socket``."""

    def __init__(
        self, connection: ClientConnection, *, history: Recorder, call: Operation, protocol: SocketProtocol
    ) -> None:
        super().__init__(call, timeouts=protocol.timeouts)
        self.protocol = protocol
        self._connection = connection
        self._history = history
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read(), name=f"reader of {self.name}")

    @property
    def local_address(self) -> tuple[str, int]:
        host, port, *_ = self._connection.local_address
        return host, port

    @property
    def position(self) -> int:
        return len(self.received)

    async def send_text(self, text: str, *, attempt: Mapping[str, Any] | None = None) -> Operation:
        call = self._history.invoke(actions.SEND, payload=text, detail=dict(attempt or {}), **self._process)
        try:
            await self._connection.send(text)
        except ConnectionClosed:
            return self._history.complete(call, "fail", detail={"reason": "closed"})
        return self._history.complete(call, "ok")

    async def until(
        self, match: Callable[[Frame], bool], *, within: float, start: int = 0
    ) -> Received | Silent | Closed:
        position = start
        try:
            async with asyncio.timeout(within):
                while True:
                    news = self._news
                    while position < len(self.received):
                        if match(self.received[position].frame):
                            return self.received[position]
                        position += 1
                    if self.closed is not None:
                        return self.closed
                    await news.wait()
        except TimeoutError:
            return Silent(seconds=within)

    async def greeted(self) -> None:
        """Wait until the connection is open, or closed."""
        await self._outlast(Phase.GREETING)
        await self._outlast(Phase.REFUSING)
        self.welcome = self.protocol.welcome

    async def _outlast(self, phase: Phase) -> None:
        protocol = self.protocol
        if protocol.phase is phase:
            news = await self.until(lambda _: protocol.phase is not phase, within=protocol.patience)
            if isinstance(news, Silent):
                protocol.give_up()

    async def fence(self) -> Received | Silent | Closed:
        protocol, now = self.protocol, asyncio.get_running_loop().time
        if (young := protocol.settling(now())) > 0:
            await self.until(protocol.settles, within=young, start=len(self.received))
        start, within = len(self.received), protocol.ping(now())
        await self.send_text(PING)
        answer = await self.until(lambda frame: frame.name == "pong", within=within, start=start)
        if isinstance(answer, Silent):
            protocol.late()
        return answer

    async def close(self, code: int = 1000) -> Closed:
        within = self.protocol.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._connection.close(code)
        return await self._ended(within)

    async def abort(self) -> Closed:
        within = self.protocol.leave()
        self._connection.transport.abort()
        return await self._ended(within)

    async def _ended(self, within: float) -> Closed:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.shield(self._reader)
        if self.closed is None:
            self._reader.cancel()
            self._end(None, "no closing handshake")
        assert self.closed is not None
        return self.closed

    async def _read(self) -> None:
        history, connection, process = self._history, self._connection, self._process
        try:
            async for message in connection:
                text = message if isinstance(message, str) else message.decode("utf-8", "replace")
                frame = read_frame(text)
                operation = history.observe(actions.RECEIVE, payload=text, ids=frame.ids, **process)
                self.received.append(Received(operation=operation, frame=frame))
                answers = self.protocol.feed(frame)
                self._tell()
                for answer in answers:
                    await self.send_text(answer)
        except ConnectionClosed:
            pass
        finally:
            self._end(connection.close_code, connection.close_reason or "")

    def _end(self, code: int | None, reason: str) -> None:
        if self.closed is not None:
            return
        protocol = self.protocol
        protocol.end(code, reason)
        error = self._history.redactor.clean(protocol.error)
        detail = {"reason": error, "by": "probe" if protocol.leaving else "target"}
        operation = self._history.observe(actions.CLOSED, status=protocol.code, detail=detail, **self._process)
        self.closed = Closed(code=protocol.code or CUT, error=error, operation=operation.index)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    @property
    def _process(self) -> dict[str, Any]:
        return {"user": self.user, "connection": self.name, "backend": self.backend, "surface": SURFACE}


class _Straight(connect):
    """Goes nowhere else: a redirect is an answer, and tokens are for the target alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


Opened: TypeAlias = Socket | Refused | Broken | Closed | Silent | Unreachable


async def open_socket(
    history: Recorder,
    base_url: str,
    handshake: Handshake,
    *,
    headers: Mapping[str, str] | None = None,
    timeouts: Timeouts | None = None,
    trust: LivenessModel | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Opened:
    """Open a connection and wait for its welcome or its refusal.

    A target may refuse in the handshake (HTTP 4xx → ``Refused``), or accept, say why in an error frame and close
    (1008 → ``Closed``). Both are refusals; 1011 and 5xx are failures of the target.

    Arguments:
        headers: sent with every handshake of the target.
        trust: what earlier sockets of the target have shown.
    """
    timeouts = timeouts or Timeouts()
    url, token, detour = websocket_url(base_url, handshake.path, handshake.query), handshake.token, handshake.detour
    sent = {**(headers or {}), **handshake.headers}
    if token is not None and not handshake.subprotocols:
        sent["Authorization"] = f"Bearer {token.reveal()}"
    address = detour.address(url) if detour is not None else None
    dialled: dict[str, Any] = {"host": address[0], "port": address[1]} if address is not None else {}
    asked = urlsplit(url).query
    call = history.invoke(
        actions.CONNECT,
        user=handshake.user,
        connection=handshake.name,
        backend=f"backend-{handshake.backend + 1}",
        surface=SURFACE,
        detail={
            **({"query": asked} if asked else {}),
            **({"via": detour.name} if detour is not None else {}),
            **handshake.attempt,
        },
    )
    try:
        connection = await _Straight(
            url,
            additional_headers=sent,
            subprotocols=[Subprotocol(entry) for entry in handshake.subprotocols] or None,
            origin=Origin(handshake.origin) if handshake.origin else None,
            open_timeout=timeouts.connect,
            close_timeout=timeouts.close,
            max_size=LARGEST_FRAME,
            compression=None,
            ping_interval=None,
            proxy=None,
            ssl=ssl_context if url.startswith("wss:") else None,
            **dialled,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        done = history.complete(call, "fail", status=status)
        if status >= 500:
            return Broken(status=status, operation=done.index)
        return Refused(status=status, operation=done.index)
    except TimeoutError:
        done = history.complete(call, "info", detail={"silent": timeouts.connect})
        return Silent(seconds=timeouts.connect, operation=done.index)
    except (OSError, EOFError, WebSocketException, ValueError) as error:
        reason = await why(error, url=url)
        done = history.complete(call, "fail", detail={"reason": reason})
        return Unreachable(reason=reason, operation=done.index)
    protocol = SocketProtocol(
        now=asyncio.get_running_loop().time(), timeouts=timeouts, backend=call.backend, model=trust
    )
    socket = LiveSocket(connection, history=history, call=call, protocol=protocol)
    await socket.greeted()
    if (closed := socket.closed) is not None:
        done = history.complete(call, "fail", status=closed.code, detail={"error": closed.error})
        return Closed(code=closed.code, error=closed.error, operation=done.index)
    ids = socket.welcome.ids if socket.welcome is not None else {}
    history.complete(call, "ok", status=101, ids=ids, detail={"welcome": socket.welcome is not None})
    return socket
