"""Reading what a target holds on to: sockets and tasks, database connections, cache clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from netra_probe.clients.replies import body_of
from netra_probe.history import actions
from netra_probe.investigation.context import InvestigationContext

#: Seconds between two readings of a number that has yet to fall.
RELEASE_POLL = 0.05
CONNECTIONS = "connections"


class ResourceMetrics:
    """The numbers of one target, with what they were a cycle before."""

    def __init__(self, probe: InvestigationContext) -> None:
        self._probe = probe
        self._held: dict[str, int] = {}
        self._grown: set[str] = set()

    def forget(self) -> None:
        """What comes next is a series of its own."""
        self._held.clear()
        self._grown.clear()

    async def read(self, cycle: int) -> None:
        """Take each number into the history.

        A target takes a moment to notice that a client has gone: a number that is higher than in the cycle before is
        read again until it falls back or the ``release`` time-out is over; what is still held then is held. Only a
        first growth by one is not waited for, except of users' connections: a pool does that once, and stays like it.
        """
        probe = self._probe
        readings: dict[tuple[str, str], Callable[[], Awaitable[int | None]]] = {}
        if probe.database is not None:
            readings["database", "PostgreSQL connections"] = probe.database.backends
        if probe.cache is not None:
            readings["cache", "Redis clients"] = probe.cache.clients
        for number, url in enumerate(probe.target.operator_urls, start=1):
            for name in (CONNECTIONS, "tasks"):
                readings["operator", f"{name} of backend-{number}"] = partial(self._count, url, name)
        for (surface, name), read in readings.items():
            value = await self._released(name, read)
            if value is not None:
                probe.history.observe(
                    actions.GAUGE, surface=surface, detail={"name": name, "value": value, "cycle": cycle}
                )

    async def _released(self, name: str, read: Callable[[], Awaitable[int | None]]) -> int | None:
        value = await read()
        before = self._held.get(name)
        may_stay = name not in self._grown and not name.startswith(CONNECTIONS)
        if may_stay and value is not None and before is not None and value == before + 1:
            self._grown.add(name)
            before = value
        patience = time.monotonic() + self._probe.timeouts.release
        while value is not None and before is not None and value > before and time.monotonic() < patience:
            await asyncio.sleep(RELEASE_POLL)
            value = await read()
        if value is not None:
            self._held[name] = value
        return value

    async def _count(self, url: str, name: str) -> int | None:
        value = (await self._state(url)).get(name)
        return value if isinstance(value, int) else None

    async def healths(self) -> dict[str, str]:
        """What each backend says of its own health."""

        async def ask(number: int, url: str) -> tuple[str, str]:
            name = f"backend-{number}"
            http = self._probe.wire.http(url, surface="rest", backend=name)
            try:
                told = body_of(await http.request("GET", "/health", anonymous=True))
            finally:
                await http.close()
            return name, str(told.get("status", "no answer"))

        urls = self._probe.target.backend_urls
        return dict(await asyncio.gather(*(ask(number, url) for number, url in enumerate(urls, start=1))))

    async def states(self) -> dict[str, dict[str, Any]]:
        """What each backend tells its operator of itself; empty without operator access."""
        urls = self._probe.target.operator_urls
        told = await asyncio.gather(*(self._state(url) for url in urls))
        return {f"backend-{number}": state for number, state in enumerate(told, start=1)}

    async def _state(self, url: str) -> dict[str, Any]:
        token = self._probe.target.secret("operator_token")
        http = self._probe.wire.http(url, surface="operator")
        try:
            reply = await http.request(
                "GET", "/lab/state", anonymous=True, headers={"X-Lab-Operator": token.reveal()} if token else {}
            )
        finally:
            await http.close()
        body = getattr(reply, "body", None)
        return body if reply and isinstance(body, dict) else {}
