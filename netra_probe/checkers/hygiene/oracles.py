"""Refusals that tell which ids exist: a defect where ids can be guessed, and a fact to be counted where they cannot."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from netra_probe.checkers.hygiene.base import Exchange, Issue, Rule

#: Random bits from which on nobody guesses an id that exists.
UNGUESSABLE_BITS = 64
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([1-8])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
#: Random bits of a UUID by its version; the others are made of times, addresses and names (RFC 9562).
_RANDOM_BITS_OF_UUID = {"4": 122.0, "7": 74.0}
_WORD = re.compile(r"[0-9A-Za-z]+")


def random_bits(id: str, others: Iterable[str] = ()) -> float:
    """How many bits of an id could be random, at most, seen from outside.

    >>> random_bits("0b4b6c0e-6f43-4f1e-9f53-0a8a6f1e2d3c"), random_bits("41"), random_bits("invoice-2024-0007")
    (122.0, 0.0, 0.0)
    >>> round(random_bits("thread_8f14e45fceea167a5a36dedd4bea2543"))
    128

    Arguments:
        others: further ids of the same kind; a beginning or end that all of them share is not random.
    """
    if found := _UUID.search(id):
        return _RANDOM_BITS_OF_UUID.get(found[1], 0.0)
    own = id
    for other in others:
        if other != id:
            own = _without_common(own, other)
    # Digits alone count something; words and dates are no secret either.
    candidates = [word for word in _WORD.findall(own) if not word.isdigit() and any(c.isdigit() for c in word)]
    return max((_bits(word) for word in candidates), default=0.0)


def _bits(word: str) -> float:
    if re.fullmatch("[0-9a-f]+|[0-9A-F]+", word):
        return 4.0 * len(word)
    alphabet = 26 * (any(map(str.islower, word)) + any(map(str.isupper, word))) + 10 * any(map(str.isdigit, word))
    return math.log2(alphabet) * len(word)


def _without_common(id: str, other: str) -> str:
    start = 0
    while start < min(len(id), len(other)) and id[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(id), len(other)) - start and id[-1 - end] == other[-1 - end]:
        end += 1
    return id[start : len(id) - end]


class ExistenceOracle(Rule):
    """Two refusals that differ tell whoever guesses ids which of them exist.

    The platform's contract says 403 for a foreign and 404 for a missing object (netra-wire §7), which gives nothing
    away as long as nobody can guess an id.
    """

    kind = "existence oracle"
    topic = "refusals"
    clause = "OWASP WSTG-ATHZ-04; ASVS 5.0 8.2.2; CWE-204"
    demand = "refusals of guessable ids do not tell a foreign object from a missing one"

    def __init__(self) -> None:
        super().__init__()
        self._foreign: dict[tuple[str, str], Exchange] = {}
        self._missing: dict[tuple[str, str], Exchange] = {}
        self._ids: dict[tuple[str, str], set[str]] = defaultdict(set)

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        detail = exchange.call.detail
        attempt, aim = detail.get("attempt"), detail.get("object")
        if attempt in ("foreign id", "missing id") and isinstance(aim, dict) and 400 <= exchange.status < 500:
            place = (exchange.call.surface, exchange.place)
            if attempt == "foreign id" and exchange.call.user not in (None, detail.get("owner")):
                self._foreign.setdefault(place, exchange)
                self._ids[place].add(str(aim.get("id", "")))
            elif attempt == "missing id":
                self._missing.setdefault(place, exchange)
        return iter(())

    def finish(self) -> Iterator[Issue]:
        for place, foreign in sorted(self._foreign.items()):
            missing = self._missing.get(place)
            if missing is None:
                continue
            self.seen["foreign and missing ids compared"] += 1
            if foreign.status == missing.status:
                continue
            ids = self._ids[place]
            if all(random_bits(id, ids) >= UNGUESSABLE_BITS for id in ids):
                self.seen["existence told, of ids that nobody guesses"] += 1
                continue
            yield Issue(
                said=f"a foreign object is refused with {foreign.status}, a missing one with {missing.status}, "
                "and the ids can be guessed",
                shows=(*foreign.shows, *missing.shows), surface=place[0], place=place[1], user=foreign.call.user,
            )  # fmt: skip


RULES: tuple[type[Rule], ...] = (ExistenceOracle,)
