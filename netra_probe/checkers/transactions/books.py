"""Books that balance: what is left is what there was and one's own entries, and both move with one's own acts only.

A reading is an operation ``ledger`` with ``detail`` ``key``, ``balance``, ``entries`` (id → amount) and ``acts``, how
often its user has spent from it since the reading before; an ``opening`` one has none before it. Two readings of one
key are compared: the difference of the balances is the sum of the entries that are new, and there are as many of those
as own acts.
Time and memory O(entries).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netra_probe.checkers.principals import times, witness
from netra_probe.checkers.verdict import Finding, Pair, Place
from netra_probe.history.operation import Operation

KIND = "books do not balance"


class Books:
    """Takes in readings of ledgers, and keeps for each key the last one."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._last: dict[str, Operation] = {}
        #: Key → the readings between which it does not balance, and why.
        self._wrong: dict[str, tuple[Operation, Operation, str]] = {}
        self._users: set[str] = set()
        self.compared = 0

    def feed(self, operation: Operation) -> None:
        """The next reading."""
        key = str(operation.detail.get("key", ""))
        before, self._last[key] = self._last.get(key), operation
        if operation.user is not None and operation.index >= self._start:
            self._users.add(operation.user)
        if before is None or operation.index < self._start or operation.detail.get("opening"):
            return
        self.compared += 1
        why = _difference(before.detail, operation.detail)
        if why:
            self._wrong.setdefault(key, (before, operation, why))

    def findings(self) -> Iterator[Finding]:
        """One for each ledger that does not balance."""
        for key, (before, after, why) in sorted(self._wrong.items()):
            user = after.user or ""
            others = tuple(sorted(self._users - {user}))
            pairs = tuple(Pair(owner=user, recipient=other, example=after.index) for other in others or (user,))
            yield Finding(
                checker="C9",
                kind=KIND,
                summary=f"the {key} do not balance: {why}",
                operations=(Place(operation=key, pairs=pairs),),
                victims=(user,),
                recipients=others or (user,),
                surface=after.surface,
                witness=witness(before.index, after.index),
                explanation=(
                    f"Let #{before.index} and #{after.index} read the {key}, with nothing of {user}'s going on. What "
                    f"is left is what there was and {user}'s own entries, one for each of {user}'s acts; but {why}: a "
                    "contradiction, unless somebody else's acts are booked here, or these elsewhere."
                ),
            )


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What does not add up between two readings; "" where everything does."""
    known, now = before.get("entries", {}), after.get("entries", {})
    fresh = {id: amount for id, amount in now.items() if id not in known}
    moved = after.get("balance", 0) - before.get("balance", 0)
    if moved != sum(fresh.values()):
        return f"the balance moved by {moved}, and the new entries ({len(fresh)}) sum up to {sum(fresh.values())}"
    if len(fresh) != after.get("acts", 0):
        return f"there are {len(fresh)} new entries after {times(after.get('acts', 0), 'own act')}"
    return ""
