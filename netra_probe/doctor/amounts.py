"""How much is done to a target: read off the notebooks, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What is made and tried.

    Arguments:
        accounts: registered, or taken from ``accounts``.
        sockets: handshakes.
        messages: questions to agents, each of which is a run.
        attempts: requests and handshakes that have to be refused.
        requests: over HTTP, roughly.
        rows: that the target will have written in its own tables, roughly.
    """

    accounts: int = 0
    sockets: int = 0
    messages: int = 0
    attempts: int = 0
    requests: int = 0
    rows: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    def __mul__(self, times: int) -> Amounts:
        return Amounts(**{one.name: getattr(self, one.name) * times for one in fields(self)})

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))

    def __str__(self) -> str:
        told = [f"{value:,} {name}" for name in _NAMES if (value := getattr(self, name))]
        told += [f"about {value:,} {name}" for name in ("requests", "rows") if (value := getattr(self, name))]
        return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else "".join(told)


_NAMES = ("accounts", "sockets", "messages", "attempts")
