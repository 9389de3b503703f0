"""A turnstile before the handshakes of a target: never more than two refusals in a row, so that nobody is shut out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from netra_probe.clients.websocket import Opened, Socket
from netra_probe.history.secret import Secret

#: Refused handshakes in a row at one backend before one that is known to be good goes in between. Five can shut out
#: everybody (netra-wire §1), and another notebook of the same run may be at it, too.
MOST_IN_A_ROW = 2
#: Opens a connection: its name, its user, their token.
Open = Callable[[str, str, Secret], Awaitable[Opened]]


class HandshakeGuard:
    """Lets handshakes that are to be refused through one at a time, with good ones in between."""

    def __init__(self) -> None:
        self._locks: dict[int, asyncio.Lock] = {}
        self._refused: dict[int, int] = {}
        #: User → the token that has opened a connection of theirs last.
        self._good: dict[str, Secret] = {}
        self._numbers = itertools.count(1)

    async def through(
        self,
        knock: Callable[[], Awaitable[Opened]],
        *,
        backend: int,
        user: str | None,
        token: Secret | None,
        attempt: Mapping[str, Any] | None,
        open: Open,
    ) -> Opened:
        """What comes of ``knock``; before it, a good connection is opened with ``open`` and closed, if that is due."""
        mark = attempt or {}
        if mark.get("expect") != "refused" or mark.get("control"):
            opened = await knock()
            if isinstance(opened, Socket):
                self._refused[backend] = 0
                if user is not None and token is not None and "credential" not in mark:
                    self._good[user] = token
            return opened
        async with self._locks.setdefault(backend, asyncio.Lock()):
            if self._refused.get(backend, 0) >= MOST_IN_A_ROW:
                await self._show_a_good_one(backend, open)
            opened = await knock()
            self._refused[backend] = 0 if isinstance(opened, Socket) else self._refused.get(backend, 0) + 1
            return opened

    async def _show_a_good_one(self, backend: int, open: Open) -> None:
        for user, token in list(self._good.items()):
            opened = await open(f"{user}/between-{next(self._numbers)}", user, token)
            if isinstance(opened, Socket):
                await opened.close()
                self._refused[backend] = 0
                return
            # It has ended since, and would only make things worse.
            del self._good[user]
