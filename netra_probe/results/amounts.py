"""How much a run makes and tries, counted in its recording."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from netra_probe.history import actions
from netra_probe.history.operation import Operation

#: Rows that the lab writes for an account (its session, profile and audit) and for a run (messages, steps, tools, …).
ROWS_PER_ACCOUNT, ROWS_PER_MESSAGE = 5, 10


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What is made and tried.

    Arguments:
        accounts: registered, or taken from ``accounts``.
        sockets: handshakes.
        messages: questions to agents, each of which is a run.
        attempts: requests, handshakes and messages that have to be refused.
        requests: over HTTP, roughly.
        rows: that the target will have written in its own tables, roughly.
    """

    accounts: int = 0
    sockets: int = 0
    messages: int = 0
    attempts: int = 0
    requests: int = 0
    rows: int = 0

    @classmethod
    def of(cls, recorded: Iterable[Operation]) -> Amounts:
        """What these operations of a recording made and tried."""
        return sum((_counted(operation) for operation in recorded), cls())

    def with_rows(self) -> Amounts:
        """The same with the rows that the target will have written about it."""
        return replace(self, rows=ROWS_PER_ACCOUNT * self.accounts + ROWS_PER_MESSAGE * self.messages)

    def scaled(self, factor: float, *, accounts: int) -> Amounts:
        """So many times as much, rounded up, with so many more accounts."""
        more = {one.name: math.ceil(getattr(self, one.name) * factor) for one in fields(self)}
        return Amounts(**more | {"accounts": self.accounts + accounts})

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))

    def __str__(self) -> str:
        told = [f"{value:,} {one.name}" for one in fields(self) if (value := getattr(self, one.name))]
        told = [f"about {one}" if one.endswith(("requests", "rows")) else one for one in told]
        return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else "".join(told)


def _counted(operation: Operation) -> Amounts:
    asked = operation.type == "invoke"
    return Amounts(
        accounts=operation.action == actions.PRINCIPAL,
        sockets=asked and operation.action == actions.CONNECT,
        messages=asked and operation.action == actions.ASK,
        attempts=asked and bool(operation.detail.get("attempt")),
        requests=asked and " /" in operation.action,
    )


def amounts_by_case(recorded: Iterable[Operation]) -> dict[str, Amounts]:
    """Case id → what was made and tried since the case before; what follows the last case is counted with it."""
    found: dict[str, Amounts] = {}
    so_far = Amounts()
    for operation in recorded:
        so_far += _counted(operation)
        if operation.action in (actions.CHECK, actions.SKIP):
            found[operation.detail["case"]], so_far = so_far, Amounts()
    if found:
        found[next(reversed(found))] += so_far
    return found
