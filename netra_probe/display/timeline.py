"""The timeline: a lane per connection, a bar per run, a mark per event in its owner's colour; and the same in words."""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netra_probe.checkers.canary import Crossings
from netra_probe.checkers.principals import times
from netra_probe.display.controls import folded, visible
from netra_probe.display.evidence import ELSEWHERE
from netra_probe.display.views import View
from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation

#: Lanes drawn in one picture; more would be unreadable, and the text says how many there are.
MOST_LANES, MOST_ROWS = 24, 60
#: Event → its class, which gives the shape of its mark.
_CLASSES = {
    "agent_started": "start",
    "agent_thinking": "progress",
    "tool_executing": "tool",
    "tool_completed": "tool",
    "partial_result": "progress",
    "agent_completed": "end",
    "final_report": "end",
    "agent_error": "error",
}
_SHAPES = {"start": ">", "progress": "o", "tool": "s", "end": "D", "error": "X", "other": "*"}
#: The palette of Okabe and Ito, which people with any kind of colour vision tell apart; one colour an owner of data.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")


@dataclass(frozen=True, kw_only=True)
class _Mark:
    lane: str
    time: float
    name: str
    foreign: str
    run: str = ""
    backend: str = ""

    @property
    def user(self) -> str:
        return self.lane.partition("/")[0]

    @property
    def owner(self) -> str:
        """Whose the frame is: the first other owner of data in it, else the connection's user."""
        return self.foreign.partition(",")[0] or self.user

    @property
    def kind(self) -> str:
        return _CLASSES.get(self.name, "other")


class Timeline(View):
    """Events over time per connection.

    Times are real, so the picture is PNG, which is never compared; the text counts what each lane shows and does not
    depend on the interleaving.
    """

    def __init__(self, marks: list[_Mark]) -> None:
        self.marks = marks

    @staticmethod
    def of(history: Iterable[Operation], *, start: int = 0) -> Timeline:
        operations = list(history)
        # Whose data is in a frame is what C1 says, so that picture, matrix and heading count the same.
        foreign_in = Crossings.of(operations, start=start).foreign
        marks = []
        begin: int | None = None
        for operation in operations:
            if operation.index < start or operation.action != actions.RECEIVE or not operation.connection:
                continue
            begin = operation.time if begin is None else begin
            foreign = ", ".join(sorted(owner or ELSEWHERE for owner in foreign_in.get(operation.index, ())))
            frame = read_frame(operation.payload)
            name = frame.name or "unreadable"
            if foreign or name in _CLASSES:
                mark = _Mark(
                    lane=operation.connection,
                    time=(operation.time - begin) / 1e9,
                    name=name,
                    foreign=foreign,
                    run=frame.run or "",
                    backend=operation.backend or "",
                )
                marks.append(mark)
        return Timeline(marks)

    @property
    def lanes(self) -> list[str]:
        return sorted({mark.lane for mark in self.marks})

    def text(self) -> str:
        lines = [f"Timeline of {len(self.lanes)} connection(s)"]
        for lane in self.lanes:
            own = Counter(mark.name for mark in self.marks if mark.lane == lane and not mark.foreign)
            alien = Counter(
                owner for mark in self.marks if mark.lane == lane and mark.foreign for owner in mark.foreign.split(", ")
            )
            words = ", ".join(f"{own[name]} {name}" for name in _CLASSES if own[name]) or "nothing"
            warning = "".join(
                f"  ! {times(count, 'frame')} with data of {whom}" for whom, count in sorted(alien.items())
            )
            lines.append(f"  {lane}: {words}{warning}")
        return "\n".join(lines)

    def png(self) -> bytes:
        """The picture: lanes by name from top to bottom, in each a row a run; time to the right in seconds."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        rows = self._rows()
        figure = Figure(figsize=(10, 1.3 + 0.22 * max(2, len(rows))), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        height = {row: len(rows) - number for number, row in enumerate(rows)}
        colours = dict(zip(sorted({mark.owner for mark in self.marks}), itertools.cycle(PALETTE), strict=False))
        for row, marks in rows.items():
            axes.plot([marks[0].time, marks[-1].time], [height[row]] * 2, color="#c8c8c8", linewidth=5, zorder=1)
            for mark in marks:
                axes.scatter(
                    mark.time, height[row], c=colours[mark.owner], marker=_SHAPES[mark.kind], zorder=3,
                    s=90 if mark.foreign else 30, edgecolors="#000000", linewidths=2.2 if mark.foreign else 0.3,
                )  # fmt: skip
                if mark.foreign:
                    axes.annotate(
                        mark.owner[:1].upper(), (mark.time, height[row]), xytext=(0, 6),
                        textcoords="offset points", fontsize=8, weight="bold", ha="center",
                    )  # fmt: skip
        first = {lane: height[row] for row in reversed(rows) for lane in [row[0]]}
        axes.set_yticks(list(first.values()), [self._label(lane) for lane in first])
        axes.set_ylim(0.2, len(rows) + 0.8)
        axes.set_xlabel("seconds since the first frame")
        axes.set_ylabel("connection, a row for each run")
        axes.grid(axis="y", color="#e8e8e8", zorder=0)
        shapes = [
            Line2D([], [], marker=shape, color="#555555", linestyle="", label=kind)
            for kind, shape in _SHAPES.items()
            if any(mark.kind == kind for mark in self.marks)
        ]
        owners = [Line2D([], [], color=colour, linewidth=5, label=f"{owner}’s") for owner, colour in colours.items()]
        if self.marks:
            axes.legend(
                handles=[*owners, *shapes], loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False
            )
        picture = io.BytesIO()
        figure.savefig(picture, format="png", metadata={"Software": None})
        return picture.getvalue()

    def _rows(self) -> dict[tuple[str, str], list[_Mark]]:
        """(lane, run) → its marks in order of time, for the lanes that are drawn."""
        rows: dict[tuple[str, str], list[_Mark]] = {}
        for lane in self.lanes[:MOST_LANES]:
            for mark in sorted((one for one in self.marks if one.lane == lane), key=lambda one: one.time):
                rows.setdefault((lane, mark.run), []).append(mark)
        return dict(itertools.islice(rows.items(), MOST_ROWS))

    def _label(self, lane: str) -> str:
        """``bob · tab 2 · backend-2``."""
        user, _, connection = lane.partition("/")
        tab = connection.replace("ws-", "tab ")
        backend = next((mark.backend for mark in self.marks if mark.lane == lane and mark.backend), "")
        return " · ".join(filter(None, (user, tab, backend)))

    def html(self) -> str:
        data = base64.b64encode(self.png()).decode()
        text = html.escape(self.text())
        return f'<img alt="{text}" src="data:image/png;base64,{data}"><pre style="font-size:12px">{text}</pre>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": folded(visible(self.text())), "image/png": base64.b64encode(self.png()).decode()}
