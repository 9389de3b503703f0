"""One direction of one connection: bytes in, bytes out, and a gate between them."""

from __future__ import annotations

import asyncio
from enum import StrEnum

#: Bytes taken in one piece, where nothing narrower is asked for.
PIECE = 65_536


class Direction(StrEnum):
    """Which way bytes flow: ``UP`` to the target, ``DOWN`` to the user."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class News:
    """Tells whoever waits that something has happened; they look for themselves what."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next news."""
        await self._event.wait()


class Flow:
    """Passes bytes from a reader to a writer, piece by piece, as far as it is let.

    Arguments:
        news: notified of every piece that came or went.
        piece: most bytes in hand at any time.

    While the gate is closed one piece is in hand and nothing more is read, so that the sender's buffers fill up as they
    do before a reader that has stopped reading.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, news: News, piece: int = PIECE
    ) -> None:
        #: Bytes that went through, and those in hand.
        self.passed = 0
        self.held = 0
        #: The first piece, by which the protocol can be told.
        self.first = b""
        #: Seconds by which every piece is late.
        self.delay = 0.0
        #: Bytes of one segment; 0 leaves pieces whole.
        self.slice = 0
        #: Bytes that pass in a second; 0 sets no limit.
        self.rate = 0
        self._reader = reader
        self._writer = writer
        self._piece = piece
        self._gate = asyncio.Event()
        self._gate.set()
        self._news = news

    @property
    def is_stopped(self) -> bool:
        """Whether nothing passes at the moment."""
        return not self._gate.is_set()

    def stop(self) -> None:
        """Let nothing pass from now on."""
        self._gate.clear()

    def go_on(self) -> None:
        """Let pass what is in hand, and what follows."""
        self._gate.set()

    async def run(self) -> None:
        """Pass everything, and at last the end. Raises OSError when either side breaks."""
        while piece := await self._reader.read(self._piece):
            self.first = self.first or piece
            self.held = len(piece)
            self._news.tell()
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._gate.wait()
            await self._write(piece)
            self.held = 0
            self.passed += len(piece)
            self._news.tell()
        await self._gate.wait()
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def _write(self, piece: bytes) -> None:
        size = self.slice or len(piece)
        for start in range(0, len(piece), size):
            segment = piece[start : start + size]
            self._writer.write(segment)
            await self._writer.drain()
            # Lets the segment leave before the next one is there to be joined with it.
            await asyncio.sleep(len(segment) / self.rate if self.rate else 0)
