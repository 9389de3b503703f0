"""Arrivals of the events of one run: what came twice, what came out of order, what is missing."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TypeAlias

import msgspec

from netra_probe.checkers.runs.liveness import Liveness
from netra_probe.history.frames import MILLISECONDS, Frame, Stamp
from netra_probe.history.runs import ENDS, REPORT, STARTED

#: Events that a run has once, so that an equal copy is a second delivery even without a mark of its own.
ONCE = ENDS | {STARTED, REPORT}
#: Two producers of one run may stamp their events this many seconds apart from the order they are sent in.
TOLERANCE = 0.002


#: An event by its name and its own number, id or text.
Mark: TypeAlias = tuple[str, int | str]


class Stream(msgspec.Struct, gc=False):
    """The events of one run on one connection, by their mark."""

    first: int
    last: int = -1
    seen: dict[Mark, int] = {}
    #: The number that the next event has, where events are numbered.
    next: int | None = None
    timestamp: str | float | None = None


class Run(msgspec.Struct, gc=False):
    """One run as one user received it, over all connections."""

    user: str
    id: str
    thread: str
    first: int
    ended: int = -1
    #: When the first event was produced, by its own word.
    produced: Stamp = None
    streams: dict[str | None, Stream] = {}
    #: Whether the numbers of the events were not simply one after the other.
    irregular: bool = False

    def gaps(self, life: Liveness) -> list[tuple[int, int, int]]:
        """Absent sequence numbers: how many, and the operations before and after.

        What was on its way when a connection of the user ended is not missed: it may have been sent (``info``), and who
        comes back without saying what they saw last cannot be sent it again.
        """
        absent: list[tuple[int, int, int]] = []
        if not self.irregular and len(self.streams) == 1:
            return absent
        numbers: dict[int, int] = {}
        for stream in self.streams.values():
            for (_, number), index in stream.seen.items():
                if isinstance(number, int):
                    numbers[number] = min(index, numbers.get(number, index))
        for number, following in pairwise(sorted(numbers)):
            before, after = numbers[number], numbers[following]
            if following != number + 1 and not life.ended_between(self.user, before, after):
                absent.append((following - number - 1, before, after))
        return absent


def mark(frame: Frame) -> Mark | None:
    """What makes an event itself and no other, or ``None`` where an equal frame may be another event."""
    if frame.sequence is not None:
        return frame.name, frame.sequence
    if frame.event_id:
        return frame.name, frame.event_id
    if frame.name in ONCE or _is_fine(frame.timestamp):
        return frame.name, f"{hash(frame.text):x}"
    return None


def delivered_before(run: Run, stream: Stream, connection: str | None, mark: Mark, life: Liveness) -> int:
    """Index of the earlier delivery of the same event, or -1.

    Each open connection may get its copy; a connection opened after another one was closed must not get again what
    that one had received.
    """
    index = stream.seen.get(mark, -1)
    if index >= 0 or len(run.streams) == 1:
        return index
    here = life.get(connection)
    for name, other in run.streams.items():
        if other is not stream and mark in other.seen:
            there = life.get(name)
            opened = stream.first if here is None or here.opened < 0 else here.opened
            if there is None or 0 <= there.closed < opened:
                return other.seen[mark]
    return -1


def is_late(frame: Frame, stream: Stream) -> bool:
    """Whether an event was produced before the one that came ahead of it on the same connection."""
    if frame.sequence is not None and stream.next is not None:
        return frame.sequence < stream.next - 1
    now, before = frame.timestamp, stream.timestamp
    if isinstance(now, str) and isinstance(before, str):
        if len(now) != len(before) or now >= before:
            return False
        try:
            return (datetime.fromisoformat(before) - datetime.fromisoformat(now)).total_seconds() > TOLERANCE
        except (ValueError, TypeError):
            return False
    if isinstance(now, str) or isinstance(before, str) or now is None or before is None:
        return False
    return before - now > (TOLERANCE * 1000 if before > MILLISECONDS else TOLERANCE)


def uneven(run: Run, life: Liveness) -> tuple[int, int] | None:
    """For a run copied to several connections that were open throughout: an event that one of them did not get.

    Returns the index of that event on the other connection and of a later frame on the one that lacks it. Connections
    without any common event are no copies: a target may send each event to one of them.
    """
    last = max(stream.last for stream in run.streams.values())
    complete = []
    for name, stream in run.streams.items():
        connection = life.get(name)
        if (
            connection is not None
            and connection.closed < 0
            and connection.opened < run.first
            and connection.last > last
        ):
            complete.append((connection, stream))
    for connection, stream in complete:
        for _, other in complete:
            absent = [index for mark, index in other.seen.items() if mark not in stream.seen]
            if absent and len(absent) < len(other.seen):
                return absent[0], connection.last
    return None


def _is_fine(timestamp: str | float | None) -> bool:
    """Whether a time is exact enough to tell two equal events apart."""
    if isinstance(timestamp, str):
        return "." in timestamp
    return isinstance(timestamp, float) and not timestamp.is_integer()
