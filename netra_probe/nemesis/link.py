"""A link: one user's way to the target through the nemesis, and the disturbances on it as operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from netra_probe.clients.http import Http
from netra_probe.clients.websocket import Socket
from netra_probe.history import actions
from netra_probe.investigation.context import permit
from netra_probe.nemesis.flow import Direction, Flow, News
from netra_probe.nemesis.proxy import Channel, Proxy
from netra_probe.target.deployment import Mode

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: What a disturbance concerns: one socket, the HTTP connections to one service, or (None) all connections of the user.
Over: TypeAlias = Socket | Http | None

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


class Link:
    """What can be done to a user's connections; each act is a ``disturb`` in the history before it happens.

    In a replay there are no connections: every disturbance and every synchronisation point is passed over.
    """

    def __init__(self, probe: Investigation, user: User, proxies: dict[tuple[str, int], Proxy], news: News) -> None:
        self.name = f"nemesis of {user.name}"
        self._history = probe.history
        self._user = user
        self._within = probe.timeouts.reply
        self._proxies = proxies
        self._news = news

    def address(self, base_url: str) -> tuple[str, int] | None:
        """Where to dial for a service of the target."""
        proxy = self._proxies.get(_place(base_url))
        return proxy.address if proxy is not None else None

    # Disturbances

    async def cut(self, over: Over = None, *, reset: bool = True) -> None:
        """End connections at once, by a reset or (``reset=False``) as if the other side had closed."""
        self._note("cut (reset)" if reset else "cut (close)", over)
        for channel in list(self._channels(over)):
            channel.cut(reset=reset)

    async def freeze(self, over: Over = None, direction: Direction = Direction.BOTH) -> None:
        """Let nothing pass any more, as a cable that was pulled: nobody is told."""
        self._stop(f"freeze {direction}", over, direction)

    async def hold_replies(self, over: Over = None) -> None:
        """Keep what the target answers until ``resume``; ``reply_held`` says that there is something."""
        self._stop("hold replies", over, Direction.DOWN)

    async def slow_reader(self, over: Over = None) -> None:
        """Stop reading what the target sends, as a phone that went to sleep; ``resume`` wakes it."""
        self._stop("slow reader", over, Direction.DOWN)

    async def resume(self, over: Over = None) -> None:
        """Let everything pass again, first what was kept."""
        self._note("resume", over)
        for proxy in self._concerned(over):
            proxy.treat(Direction.BOTH, stop=False)
        for flow in self._flows(over, Direction.BOTH):
            flow.go_on()

    async def delay(self, seconds: float, over: Over = None, direction: Direction = Direction.BOTH) -> None:
        """Be late with every piece from now on; 0 ends it."""
        self._note(f"delay {direction}", over)
        for proxy in self._concerned(over):
            proxy.treat(direction, delay=seconds)
        for flow in self._flows(over, direction):
            flow.delay = seconds

    async def slice(self, size: int, over: Over = None, direction: Direction = Direction.BOTH) -> None:
        """Pass everything in segments of ``size`` bytes from now on; 0 ends it."""
        self._note(f"slice {direction}", over)
        for proxy in self._concerned(over):
            proxy.treat(direction, slice=size)
        for flow in self._flows(over, direction):
            flow.slice = size

    async def limit(self, rate: int, over: Over = None, direction: Direction = Direction.DOWN) -> None:
        """Let pass ``rate`` bytes a second from now on; 0 ends it."""
        self._note(f"slow down {direction}", over)
        for flow in self._flows(over, direction):
            flow.rate = rate

    # Synchronisation points

    async def reply_held(self, over: Over = None) -> bool:
        """Wait until the target has answered and the answer is in hand; false when it did not in time."""
        return await self._reached(over, Direction.DOWN, lambda flow: flow.is_stopped and flow.held > 0)

    async def request_passed(self, over: Over = None, *, beyond: int = 0) -> bool:
        """Wait until a request has gone to the target: more than ``beyond`` bytes in all (see ``sent``)."""
        return await self._reached(over, Direction.UP, lambda flow: flow.passed > beyond)

    def sent(self, over: Over = None) -> int:
        """Bytes that have gone to the target on the connection that sent most."""
        return max((flow.passed for flow in self._flows(over, Direction.UP)), default=0)

    def __repr__(self) -> str:
        return f"<Link of {self._user.name}>"

    # How

    def _note(self, what: str, over: Over) -> None:
        name = over.name if isinstance(over, Socket) else over.connection if over is not None else None
        self._history.observe(
            actions.DISTURB,
            user=self._user.name,
            connection=name,
            detail={"what": what, "target": name or self._user.name},
        )

    def _stop(self, what: str, over: Over, direction: Direction) -> None:
        self._note(what, over)
        for proxy in self._concerned(over):
            proxy.treat(direction, stop=True)
        for flow in self._flows(over, direction):
            flow.stop()

    def _concerned(self, over: Over) -> Iterator[Proxy]:
        """The proxies whose new connections are concerned as well."""
        for place, proxy in self._proxies.items():
            if over is None or (isinstance(over, Http) and place == _place(over.base_url)):
                yield proxy

    def _channels(self, over: Over) -> Iterator[Channel]:
        for place, proxy in self._proxies.items():
            for channel in proxy.channels:
                if isinstance(over, Socket):
                    concerned = channel.port == over.local_address[1]
                elif over is not None:
                    concerned = not channel.is_websocket and place == _place(over.base_url)
                else:
                    concerned = True
                if concerned:
                    yield channel

    def _flows(self, over: Over, direction: Direction) -> list[Flow]:
        return [flow for channel in self._channels(over) for flow in channel.flows(direction)]

    async def _reached(self, over: Over, direction: Direction, test: Callable[[Flow], bool]) -> bool:
        if not self._proxies:
            return True
        try:
            async with asyncio.timeout(self._within):
                while not any(map(test, self._flows(over, direction))):
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def between(probe: Investigation, user: User, *, window: int = 0) -> AsyncIterator[Link]:
    """Put the nemesis between a user and the target for the duration of a block.

    Connections that were open before stay straight; those opened inside end with the block.

    Arguments:
        window: bytes that the target may send ahead of the user's reading (for slow readers); 0 for no limit.

    Raises ParameterError where the target may not be disturbed.
    """
    permit(probe, Mode.ATTACK, "disturbing connections")
    proxies: dict[tuple[str, int], Proxy] = {}
    news = News()
    if probe.wire.live:
        for url in (probe.target.auth_url, *probe.target.backend_urls):
            proxies.setdefault(_place(url), Proxy(*_place(url), news=news, window=window))
    try:
        for proxy in proxies.values():
            await proxy.start()
        link = Link(probe, user, proxies, news)
        user.detour = link
        yield link
    finally:
        user.detour = None
        for proxy in proxies.values():
            await proxy.close()
