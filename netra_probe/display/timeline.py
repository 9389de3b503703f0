"""The timeline: a lane per connection, a mark per event, foreign frames in red; and the same in words."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netra_probe.checkers.canary import Crossings
from netra_probe.checkers.principals import times
from netra_probe.display.controls import visible
from netra_probe.display.evidence import ELSEWHERE
from netra_probe.display.views import View
from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation

#: Lanes drawn in one picture; more would be unreadable, and the text says how many there are.
MOST_LANES = 24
_STYLE = {
    "agent_started": ("#1b6ca8", ">"),
    "agent_thinking": ("#7fb2d9", "o"),
    "tool_executing": ("#b07d2b", "s"),
    "tool_completed": ("#6b8e23", "s"),
    "partial_result": ("#9a9a9a", "."),
    "agent_completed": ("#0b5d1e", "D"),
    "final_report": ("#0b5d1e", "*"),
    "agent_error": ("#8f1111", "X"),
}


@dataclass(frozen=True, kw_only=True)
class _Mark:
    lane: str
    time: float
    name: str
    foreign: str


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
            name = read_frame(operation.payload).name or "unreadable"
            if foreign or name in _STYLE:
                marks.append(
                    _Mark(lane=operation.connection, time=(operation.time - begin) / 1e9, name=name, foreign=foreign)
                )
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
            words = ", ".join(f"{own[name]} {name}" for name in _STYLE if own[name]) or "nothing"
            warning = "".join(
                f"  ! {times(count, 'frame')} with data of {whom}" for whom, count in sorted(alien.items())
            )
            lines.append(f"  {lane}: {words}{warning}")
        return "\n".join(lines)

    def png(self) -> bytes:
        """The picture; lanes from top to bottom in order of name, time to the right in seconds."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        lanes = self.lanes[:MOST_LANES]
        figure = Figure(figsize=(10, 1.1 + 0.34 * max(1, len(lanes))), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        height = {lane: len(lanes) - number for number, lane in enumerate(lanes)}
        for name, (colour, marker) in _STYLE.items():
            shown = [mark for mark in self.marks if mark.name == name and mark.lane in height]
            if shown:
                axes.scatter(
                    [mark.time for mark in shown], [height[mark.lane] for mark in shown],
                    c=colour, marker=marker, s=36, label=name.replace("_", " "), zorder=2,
                )  # fmt: skip
        alien = [mark for mark in self.marks if mark.foreign and mark.lane in height]
        if alien:
            axes.scatter(
                [mark.time for mark in alien], [height[mark.lane] for mark in alien],
                facecolors="none", edgecolors="#c00000", linewidths=2, s=150, label="foreign data", zorder=3,
            )  # fmt: skip
            for mark in alien[:20]:
                axes.annotate(
                    mark.foreign, (mark.time, height[mark.lane]), xytext=(4, 7), textcoords="offset points",
                    color="#c00000", fontsize=8,
                )  # fmt: skip
        axes.set_yticks(list(height.values()), list(height))
        axes.set_ylim(0.4, len(lanes) + 0.6)
        axes.set_xlabel("seconds since the first frame")
        axes.grid(axis="y", color="#e0e0e0", zorder=0)
        if self.marks:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", metadata={"Software": None})
        return picture.getvalue()

    def html(self) -> str:
        data = base64.b64encode(self.png()).decode()
        text = html.escape(self.text())
        return f'<img alt="{text}" src="data:image/png;base64,{data}"><pre style="font-size:12px">{text}</pre>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": visible(self.text()), "image/png": base64.b64encode(self.png()).decode()}
