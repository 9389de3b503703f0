"""How long runs let their users wait: for a first sign, between two events, and for the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING

from netra_probe.clients.agent import Run
from netra_probe.clients.component_process import Undecided
from netra_probe.clients.websocket import Socket
from netra_probe.display.tables import Table
from netra_probe.display.views import View
from netra_probe.history import actions
from netra_probe.history.runs import ENDS, REPORT

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

#: What a layer of the interface waits for, and the wait that is measured for it.
FIRST_SIGN, BETWEEN, ANSWER = "first sign", "next event", "answer"
#: An event cannot be called late where an ordinary request took more than this share of its window.
BUSY = 0.5


@dataclass(frozen=True, kw_only=True)
class RunWaits:
    """What the user of one run waited for: name → seconds, ``None`` where it never came."""

    user: str
    seconds: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class EventWaits:
    """The waits of several runs, by the clock of the recording.

    Arguments:
        ordinary: the median time of REST requests in the meantime; ``None`` where none was sent.
    """

    runs: Sequence[RunWaits]
    ordinary: float | None

    def late(self, what: str, *, within: float) -> list[str] | Undecided:
        """Whose wait for something was too long, or for nothing; undecided where the whole target was slow.

        Arguments:
            what: ``first sign``, ``next event`` or ``answer``.
            within: seconds.
        """
        late = [run.user for run in self.runs if (seconds := run.seconds[what]) is None or seconds > within]
        if late and self.ordinary is not None and self.ordinary > BUSY * within:
            return Undecided(reason=f"an ordinary request took {self.ordinary:.1f} s at the same time")
        return late

    def table(self, **windows: float) -> WaitTable:
        """Each wait beside its window, such as ``first_sign=1.0``: median, 95 % and the longest."""
        rows = []
        for name, within in windows.items():
            what = name.replace("_", " ")
            seconds = sorted(wait for run in self.runs if (wait := run.seconds[what]) is not None)
            told = [f"{value:.3f}" for value in _summary(seconds)] if seconds else ["–"] * 3
            rows.append([what, f"{within:g}", str(len(seconds)), *told])
        headings = ["wait for", "window", "runs", "median", "95 %", "longest"]
        numbers = frozenset(range(1, 6))
        return WaitTable(Table(caption="Seconds that users waited", headings=headings, rows=rows, numeric=numbers))


class WaitTable(View):
    """Waits beside their windows; the figures are other ones in each run."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def text(self) -> str:
        return self._table.text()

    def html(self) -> str:
        return self._table.html()


def event_waits(probe: Investigation, runs: Iterable[Run]) -> EventWaits:
    """How long the users of these runs waited, as their connections received the events.

    >>> waits = workloads.event_waits(probe, [run])      # doctest: +SKIP
    >>> probe.expect("the first sign is in time", waits.late("first sign", within=1.0), [])  # doctest: +SKIP
    """
    asked: dict[str, int] = {}
    begun: dict[int, int] = {}
    ordinary: list[float] = []
    for operation in probe.recorded():
        if operation.type == "invoke":
            begun[operation.index] = operation.time
        elif (begin := begun.get(operation.call if operation.call is not None else -1)) is None:
            continue
        elif operation.action == actions.ASK:
            asked[operation.ids.get("run_id", "")] = begin
        elif operation.surface == "rest":
            ordinary.append((operation.time - begin) / 1e9)
    measured = [_waits_of(run, asked.get(run.run_id)) for run in runs]
    return EventWaits(runs=measured, ordinary=median(ordinary) if ordinary else None)


def seen_by(run: Run, socket: Socket) -> Run:
    """The same run as another connection of its user received it."""
    return replace(run, events=tuple(seen for seen in socket.received if seen.frame.run == run.run_id))


def _waits_of(run: Run, asked: int | None) -> RunWaits:
    times = [seen.operation.time for seen in run.events]
    end = next((seen.operation.time for seen in run.events if seen.frame.name in ENDS | {REPORT}), None)
    steps = [(after - before) / 1e9 for before, after in pairwise(times)]
    return RunWaits(
        user=run.user,
        seconds={
            FIRST_SIGN: (times[0] - asked) / 1e9 if times and asked is not None else None,
            BETWEEN: max(steps, default=None) if end is not None else None,
            ANSWER: (end - asked) / 1e9 if end is not None and asked is not None else None,
        },
    )


def _summary(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 95 % and the longest of sorted values."""
    high = quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return median(seconds), high, seconds[-1]
