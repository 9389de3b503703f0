"""Events that were kept from a living connection and came only when the user connected again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from netra_probe.checkers.delivery.streams import Run
from netra_probe.checkers.runs.questions import Ask
from netra_probe.history.frames import MILLISECONDS, Stamp, read_frame
from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import number

#: Seconds by which the clocks of a platform's processes may differ.
SKEW = 1.0


def held_back(ask: Ask, run: Run, last_frames: Mapping[str | None, Operation]) -> int | None:
    """Index of a sign of life that the asking connection gave after the run's first event had been produced.

    By the platform's own clock: a connection delivers in order, so an event that was produced before the pong and did
    not come before it was not sent there at all. ``None`` where the connection got events of the run, or where nothing
    tells when things were produced: then the run may only have been slow.
    """
    if not ask.silent or ask.connection in run.streams:
        return None
    sign = last_frames.get(ask.connection)
    if sign is None or sign.index < ask.done:
        return None
    alive, produced = seconds(read_frame(sign.payload).timestamp), seconds(run.produced)
    return sign.index if alive is not None and produced is not None and produced + SKEW < alive else None


def seconds(stamp: Stamp) -> float | None:
    """A producer's time in seconds since 1970.

    >>> seconds("1970-01-01T00:00:01.5+00:00"), seconds(1500.0), seconds("soon")
    (1.5, 1500.0, None)
    """
    if isinstance(stamp, str):
        try:
            return datetime.fromisoformat(stamp).timestamp()
        except (ValueError, OverflowError):
            return None
    told = number(stamp)
    return told / 1000 if told is not None and told > MILLISECONDS else told
