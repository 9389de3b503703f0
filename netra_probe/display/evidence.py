"""Evidence drawn from a window of a history: the leak matrix and the event table."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable

from netra_probe.display.tables import Table
from netra_probe.display.views import View
from netra_probe.history import actions
from netra_probe.history.canary import Canary, CanarySearch
from netra_probe.history.frames import RUN_EVENTS, read_frame
from netra_probe.history.operation import Operation
from netra_probe.verdict import Verdict

#: Shown in full up to this many users; beyond, the quiet ones are summed up in one line.
MOST_USERS = 12


class LeakMatrix(View):
    """Owner × recipient: on how many deliveries the recipient saw a canary of the owner.

    The diagonal is the positive control: owners see their own. Anything off it is a leak, marked with ``!``.
    """

    def __init__(self, counts: Counter[tuple[str, str]], users: list[str]) -> None:
        self.counts = counts
        self.users = users

    @staticmethod
    def of(history: Iterable[Operation], *, start: int = 0) -> LeakMatrix:
        search = CanarySearch()
        counts: Counter[tuple[str, str]] = Counter()
        users: dict[str, None] = {}
        for operation in history:
            if operation.action == actions.PRINCIPAL and operation.user:
                users[operation.user] = None
            elif operation.action == actions.MINT and operation.user:
                detail = operation.detail
                search.add(
                    Canary(token=detail["token"], user=operation.user, field=detail["field"], surface=detail["surface"])
                )
            elif operation.index >= start and operation.user and _is_delivery(operation):
                owners = {sighting.canary.user for sighting in search.find(operation.payload) if sighting.canary}
                counts.update((owner, operation.user) for owner in owners)
        return LeakMatrix(counts, sorted(users, key=natural))

    @property
    def leaks(self) -> int:
        """Deliveries on which somebody saw what was not theirs."""
        return sum(count for (owner, recipient), count in self.counts.items() if owner != recipient)

    def _shown(self) -> list[str]:
        if len(self.users) <= MOST_USERS:
            return self.users
        loud = {name for pair, count in self.counts.items() if count and pair[0] != pair[1] for name in pair}
        return ([name for name in self.users if name in loud] or self.users)[:MOST_USERS]

    def _table(self) -> Table:
        shown = self._shown()
        rows, marks = [], {}
        for number, owner in enumerate(shown):
            cells = [owner]
            for column, recipient in enumerate(shown, start=1):
                count = self.counts[owner, recipient]
                foreign = owner != recipient and count > 0
                cells.append(f"! {count}" if foreign else str(count))
                if foreign:
                    marks[number, column] = Verdict.FAIL
                elif owner == recipient and count:
                    marks[number, column] = Verdict.PASS
            rows.append(cells)
        return Table(
            caption="Who saw whose secrets (rows: owner, columns: recipient; only the diagonal may be above 0)",
            headings=["owner \\ recipient", *shown],
            rows=rows,
            numeric=frozenset(range(1, len(shown) + 1)),
            marks=marks,
        )

    def _summary(self) -> str:
        own = sum(count for (owner, recipient), count in self.counts.items() if owner == recipient)
        blind = [name for name in self.users if not self.counts[name, name]]
        text = f"{self.leaks} leak(s); {own} own sightings by {len(self.users) - len(blind)} of {len(self.users)} users"
        if len(self.users) > len(self._shown()):
            text += f"; {len(self.users) - len(self._shown())} more users are not shown, none of them in a leak"
        return text

    def text(self) -> str:
        return f"{self._table().text()}\n{self._summary()}"

    def html(self) -> str:
        return f'{self._table().html()}<p style="margin:4px 0">{html.escape(self._summary())}</p>'


def _is_delivery(operation: Operation) -> bool:
    """Something that reached the user: a frame, or the response to a request, not what the user sent."""
    if operation.action == actions.RECEIVE:
        return True
    return operation.type != "invoke" and operation.action not in (actions.ASK, actions.SEND, actions.CONNECT)


class EventTable(View):
    """The events of each user's runs, in order, as the user's own connections received them.

    Runs are named ``run-1``, ``run-2``, … per user in order of appearance; a repeated event is counted (``×3``).
    """

    def __init__(self, rows: list[list[str]]) -> None:
        self.rows = rows

    @staticmethod
    def of(history: Iterable[Operation], *, start: int = 0) -> EventTable:
        runs: dict[tuple[str, str], list[str]] = {}
        for operation in history:
            if operation.index < start or operation.action != actions.RECEIVE or operation.user is None:
                continue
            frame = read_frame(operation.payload)
            if frame.run or frame.name in RUN_EVENTS:
                # Where events name no run, those of one thread, or of one connection, stand together.
                run = frame.run or frame.ids.get("thread_id") or operation.connection or ""
                runs.setdefault((operation.user, run), []).append(frame.name)
        rows = []
        numbers: Counter[str] = Counter()
        for (user, _), names in runs.items():
            numbers[user] += 1
            rows.append([user, f"run-{numbers[user]}", str(len(names)), _compact(names)])
        return EventTable(sorted(rows, key=lambda row: (natural(row[0]), int(row[1][4:]))))

    def _table(self) -> Table:
        return Table(
            caption="What each user's runs delivered to them, in order",
            headings=("user", "run", "events", "sequence"),
            rows=self.rows,
            numeric=frozenset({2}),
        )

    def text(self) -> str:
        return self._table().text()

    def html(self) -> str:
        return self._table().html()


def natural(name: str) -> tuple[str, int]:
    """Sorts ``user-9`` before ``user-27``."""
    stem, _, number = name.partition("-")
    return (stem, int(number)) if number.isdigit() else (name, 0)


def _compact(names: list[str]) -> str:
    """One event or one pair of events that repeats is written once, with how often.

    >>> _compact(["a", "b", "b", "c"])
    'a · b ×2 · c'
    >>> _compact(["a", "x", "y", "x", "y"])
    'a · (x · y) ×2'
    """
    parts = []
    position = 0
    while position < len(names):
        for width in (1, 2):
            unit = names[position : position + width]
            count = 1
            while names[position + count * width : position + (count + 1) * width] == unit:
                count += 1
            if count > 1:
                break
        else:
            width, count, unit = 1, 1, names[position : position + 1]
        text = " · ".join(unit)
        parts.append(text if count == 1 else f"{f'({text})' if width > 1 else text} ×{count}")
        position += width * count
    return " · ".join(parts)
