"""A turnstile before the handshakes of a target: never more than two refusals in a row, so that nobody is shut out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from netra_probe.clients.websocket import Handshake, Opened, Socket
from netra_probe.history.secret import Secret

#: Refused handshakes in a row at one backend before one that is known to be good goes in between. Five can shut out
#: everybody (netra-wire §1), and another notebook of the same run may be at it, too.
MOST_IN_A_ROW = 2
Open = Callable[[Handshake], Awaitable[Opened]]


class HandshakeGuard:
    """Lets handshakes that are to be refused through one at a time, with good ones in between."""

    def __init__(self) -> None:
        self._locks: dict[int, asyncio.Lock] = {}
        self._refused: dict[int, int] = {}
        #: User → the token that has opened a connection of theirs last.
        self._good: dict[str, Secret] = {}
        self._numbers = itertools.count(1)

    async def through(self, handshake: Handshake, open: Open) -> Opened:
        """What comes of a handshake; before it, a good connection is opened and closed, if that is due."""
        mark, backend = handshake.attempt, handshake.backend
        if mark.get("expect") != "refused" or mark.get("control"):
            opened = await open(handshake)
            if isinstance(opened, Socket):
                self._refused[backend] = 0
                if handshake.user is not None and handshake.token is not None and "credential" not in mark:
                    self._good[handshake.user] = handshake.token
            return opened
        async with self._locks.setdefault(backend, asyncio.Lock()):
            if self._refused.get(backend, 0) >= MOST_IN_A_ROW:
                await self._show_a_good_one(backend, open)
            opened = await open(handshake)
            self._refused[backend] = 0 if isinstance(opened, Socket) else self._refused.get(backend, 0) + 1
            return opened

    async def _show_a_good_one(self, backend: int, open: Open) -> None:
        for user, token in list(self._good.items()):
            name = f"{user}/between-{next(self._numbers)}"
            opened = await open(Handshake(name=name, user=user, backend=backend, token=token))
            if isinstance(opened, Socket):
                await opened.close()
                self._refused[backend] = 0
                return
            # It has ended since, and would only make things worse.
            del self._good[user]
