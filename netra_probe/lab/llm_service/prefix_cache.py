"""Prefixes that the model has read already: a request that begins with one is answered sooner.

As in engines that keep whole blocks of a prompt, only a long beginning of the first line counts: what follows is the
user's own data. Whoever sends another ``cache_salt`` shares nothing (CVE-2025-46570, and its remedy in vLLM).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict

PREFIX = 2_000
"""Characters of a prefix; shorter requests are read at once."""
PREFILL_SECONDS = 0.06
"""The pause before the first piece of an answer to a prefix that is new."""
MOST_PREFIXES = 10_000


class PrefixCache:
    """Remembers prefixes by their salt."""

    def __init__(self) -> None:
        self._read: OrderedDict[str, str] = OrderedDict()

    def place(self, salt: str, prefix: str) -> str:
        """Where a prefix is kept."""
        return hashlib.sha256(json.dumps([salt, prefix]).encode("utf-8", "surrogatepass")).hexdigest()

    async def read(self, salt: str, system: str, request: str) -> str | None:
        """Read the beginning of a request, which takes a moment; at once, and whose it was, where it is known."""
        line = request.partition("\n")[0]
        if len(line) < PREFIX:
            return None
        place = self.place(salt, f"{system}\n{line[:PREFIX]}")
        known = self._read.get(place)
        if known is None:
            await asyncio.sleep(PREFILL_SECONDS)
            self._read[place] = salt
            if len(self._read) > MOST_PREFIXES:
                self._read.popitem(last=False)
        return known
