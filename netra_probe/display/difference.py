"""What differs between two histories, once ids, times and secrets are taken out of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from netra_probe.checkers.observations import normalised
from netra_probe.display.tables import Table
from netra_probe.display.views import View
from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import PROBE, Operation

#: Rows shown; more are counted.
MOST_ROWS = 40
#: Characters of a normalised observation that a row shows.
SHOWN = 120


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference(View):
    """Observations that one of two histories has more often than the other.

    Arguments:
        rows: user, what, the normalised observation, how often before, how often after.
        equal: observations that both have equally often.
    """

    rows: tuple[tuple[str, str, str, int, int], ...]
    equal: int

    @staticmethod
    def of(before: Iterable[Operation], after: Iterable[Operation]) -> Difference:
        """Compare what each user observed, as a bag: order among users is free, order in a run is C3's business.

        >>> Difference.of([], []).equal
        0
        """
        old, new = _observations(before), _observations(after)
        keys = sorted(old.keys() | new.keys())
        rows = tuple((*key, old[key], new[key]) for key in keys if old[key] != new[key])
        return Difference(rows=rows, equal=sum(min(old[key], new[key]) for key in keys))

    def _table(self) -> Table:
        rows = [
            (user, what, text if len(text) <= SHOWN else f"{text[:SHOWN]}…", str(before), str(after))
            for user, what, text, before, after in self.rows[:MOST_ROWS]
        ]
        return Table(
            caption=f"{len(self.rows)} observation(s) differ, {self.equal} are equal",
            headings=("user", "what", "observation, without ids, times and secrets", "before", "after"),
            rows=rows,
            numeric=frozenset({3, 4}),
        )

    def _more(self) -> str:
        return f"… and {len(self.rows) - MOST_ROWS} more" if len(self.rows) > MOST_ROWS else ""

    def text(self) -> str:
        return "\n".join(filter(None, (self._table().text(), self._more())))

    def html(self) -> str:
        return self._table().html() + (f"<p>{self._more()}</p>" if self._more() else "")


def _observations(history: Iterable[Operation]) -> Counter[tuple[str, str, str]]:
    seen: Counter[tuple[str, str, str]] = Counter()
    for operation in history:
        if operation.user is None or operation.surface == PROBE or operation.type == "invoke":
            continue
        if operation.action in (actions.SEND, actions.ASK):
            continue
        status = "" if operation.status is None else f" {operation.status}"
        name = read_frame(operation.payload).name if operation.action == actions.RECEIVE else operation.action
        if name not in ("ping", "pong"):
            seen[operation.user, f"{name or 'unreadable frame'}{status}", normalised(operation.payload)] += 1
    return seen
