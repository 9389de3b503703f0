"""Evidence drawn from a window of a history: the leak matrix and the event table."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from netra_probe.checkers.canary import Crossings
from netra_probe.checkers.findings import deliveries, natural, place_of
from netra_probe.checkers.principals import times
from netra_probe.checkers.promises import shown_value
from netra_probe.checkers.verdict import Verdict
from netra_probe.display.tables import Table, first_of
from netra_probe.display.views import View
from netra_probe.history import actions
from netra_probe.history.frames import RUN_EVENTS, read_frame
from netra_probe.history.lines import named
from netra_probe.history.operation import Operation

#: Shown in full up to this many users; beyond, the quiet ones are summed up in one line.
MOST_USERS = 12
#: Cells off the diagonal that one can look behind, and characters of a frame that is shown there.
MOST_CELLS, MOST_OF_A_FRAME = 12, 2_000
#: Who owns what was minted by another investigation.
ELSEWHERE = "another investigation"


class LeakMatrix(View):
    """Owner × recipient: how many frames and responses gave the recipient data of the owner, as C1 judges it.

    The diagonal is the positive control: owners see their own. Anything off it is a leak, marked with ``!``.
    """

    def __init__(
        self,
        counts: Counter[tuple[str, str]],
        users: list[str],
        *,
        secrets: int = 0,
        leaked: Mapping[tuple[str, str], Sequence[Operation]] | None = None,
    ) -> None:
        self.counts = counts
        self.users = users
        self.secrets = secrets
        #: (owner, recipient) → the frames and responses behind a cell off the diagonal, in order.
        self.leaked = leaked or {}

    @staticmethod
    def of(history: Iterable[Operation], *, start: int = 0) -> LeakMatrix:
        seen = Crossings.of(history, start=start)
        leaked: dict[tuple[str, str], list[Operation]] = {}
        for index, operation in seen.shown.items():
            for owner in seen.foreign[index]:
                leaked.setdefault((owner or ELSEWHERE, operation.user or ""), []).append(operation)
        # What belongs to another investigation, or came to nobody in particular, has a row or a column of its own.
        counts = Counter({(owner or ELSEWHERE, recipient): count for (owner, recipient), count in seen.pairs.items()})
        users = [*seen.users, *sorted({name for pair in counts for name in pair} - {*seen.users}, key=natural)]
        return LeakMatrix(counts, users, secrets=seen.secrets, leaked=leaked)

    @property
    def leaks(self) -> int:
        """Frames and responses with another user's data; one with data of two users counts for each."""
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
            caption="Frames and responses by owner of the data (rows) and recipient (columns); off the diagonal: leaks",
            headings=["owner \\ recipient", *shown],
            rows=rows,
            numeric=frozenset(range(1, len(shown) + 1)),
            marks=marks,
        )

    def _summary(self) -> str:
        own = sum(count for (owner, recipient), count in self.counts.items() if owner == recipient)
        seeing = [name for name in self.users if self.counts[name, name]]
        text = "No leaks"
        if self.leaks:
            text = f"{deliveries(self.leaks)} with another user's data, {times(self.secrets, 'secret')}"
        text += f". {len(seeing)} of {len(self.users)} users saw their own secrets ({deliveries(own)})."
        if len(self.users) > len(self._shown()):
            text += f" {len(self.users) - len(self._shown())} more users are not shown, none of them in a leak."
        return text

    def text(self) -> str:
        return f"{self._table().text()}\n{self._summary()}"

    def html(self) -> str:
        folds = [
            self._behind(pair, operations)
            for pair, operations in list(self.leaked.items())[:MOST_CELLS]
            if pair[0] in self._shown() and pair[1] in self._shown()
        ]
        return f'{self._table().html()}<p style="margin:4px 0">{html.escape(self._summary())}</p>{"".join(folds)}'

    def _behind(self, pair: tuple[str, str], operations: Sequence[Operation]) -> str:
        """What is behind a cell, as a fold: through what it came, when, and the first frames in full."""
        ways = Counter(place_of(operation) for operation in operations)
        told = ", ".join(f"{way} ×{count}" for way, count in ways.most_common())
        first, last = operations[0].time / 1e9, operations[-1].time / 1e9
        frames = "\n\n".join(
            f"#{one.index} {one.time / 1e9:.3f} s {one.backend or ''} {one.connection or ''}\n"
            f"{one.payload[:MOST_OF_A_FRAME]}"
            for one in operations[:3]
        )
        head = f"{pair[0]} → {pair[1]}: {told}; first at {first:.3f} s, last at {last:.3f} s"
        return (
            f'<details style="font-size:12px"><summary>{html.escape(head)}</summary>'
            f'<pre style="white-space:pre-wrap;font-size:11px">{html.escape(frames)}</pre></details>'
        )


class EventTable(View):
    """The events of each user's runs, in order, as the user's own connections received them.

    Runs are named ``run-1``, ``run-2``, … per user in order of appearance; equal runs are one row (``run-1 ×4``), a
    repeated event is counted (``×3``), and a run of another user is marked with its owner (``! alice's``).
    """

    def __init__(self, rows: list[list[str]]) -> None:
        self.rows = rows

    @staticmethod
    def of(history: Iterable[Operation], *, start: int = 0) -> EventTable:
        runs: dict[tuple[str, str], list[str]] = {}
        owners: dict[str, str] = {}
        accounts: dict[str, str] = {}
        for operation in history:
            if operation.action in (actions.ASK, actions.OWN, actions.PRINCIPAL) and operation.user is not None:
                _learn(owners, accounts, operation, operation.user)
            if operation.index < start or operation.action != actions.RECEIVE or operation.user is None:
                continue
            frame = read_frame(operation.payload)
            if frame.run or frame.name in RUN_EVENTS:
                # Where events name no run, those of one thread, or of one connection, stand together.
                run = frame.run or frame.ids.get("thread_id") or operation.connection or ""
                named = accounts.get(frame.ids.get("user_id", ""), operation.user)
                owners.setdefault(run, owners.get(frame.ids.get("thread_id", "?"), named))
                runs.setdefault((operation.user, run), []).append(frame.name)
        grouped: dict[tuple[str, str, str], list[int]] = {}
        numbers: Counter[str] = Counter()
        lengths: dict[tuple[str, str, str], int] = {}
        for (user, run), names in runs.items():
            numbers[user] += 1
            owner = owners.get(run, user)
            row = (user, "own" if owner == user else f"! {owner}'s", _compact(names))
            grouped.setdefault(row, []).append(numbers[user])
            lengths[row] = len(names)
        ordered = sorted(grouped.items(), key=lambda one: (natural(one[0][0]), one[1][0]))
        return EventTable([[row[0], _numbered(which), row[1], str(lengths[row]), row[2]] for row, which in ordered])

    def _table(self) -> Table:
        return Table(
            caption="Events that each user's connections received, by run; ! marks another user's run",
            headings=("user", "run", "owner", "events", "sequence"),
            rows=self.rows,
            numeric=frozenset({3}),
            marks={(number, 2): Verdict.FAIL for number, row in enumerate(self.rows) if row[2] != "own"},
        )

    def text(self) -> str:
        return self._table().text()

    def html(self) -> str:
        return self._table().html()


def _learn(owners: dict[str, str], accounts: dict[str, str], operation: Operation, user: str) -> None:
    """Whose an account, a run or a thread is: a run belongs to who asked for it, a thread to its first user."""
    ids = operation.ids
    if operation.action == actions.PRINCIPAL:
        accounts[ids.get("user_id", "")] = user
    elif operation.action == actions.OWN:
        owners.setdefault(str(operation.detail.get("id") or ids.get("thread_id") or ids.get("run_id")), user)
    else:
        if "thread_id" in ids:
            owners.setdefault(ids["thread_id"], user)
        if operation.type == "ok" and "run_id" in ids:
            owners[ids["run_id"]] = user


def _numbered(numbers: list[int]) -> str:
    """``run-1``, or of equal runs the first and how many there are: ``run-1 ×4``."""
    return f"run-{numbers[0]}" + (f" ×{len(numbers)}" if len(numbers) > 1 else "")


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


class PromiseTable(View):
    """What was expected of a component, and what was observed; what differs is marked with ``!``."""

    def __init__(self, expected: Sequence[Operation]) -> None:
        self._expected = expected

    @staticmethod
    def of(history: Iterable[Operation], *, start: int = 0) -> PromiseTable:
        return PromiseTable([seen for seen in history if seen.action == actions.EXPECT and seen.index >= start])

    def _table(self) -> Table:
        rows, marks = [], {}
        for number, operation in enumerate(self._expected):
            detail = operation.detail
            expected, observed = (shown_value(detail.get(name)) for name in ("expected", "observed"))
            if "undecided" in detail:
                expected, observed, verdict = "–", f"? {detail['undecided']}", Verdict.INCONCLUSIVE
            else:
                kept = detail.get("observed") == detail.get("expected")
                verdict = Verdict.PASS if kept else Verdict.FAIL
                observed = observed if kept else f"! {observed}"
            marks[number, 3] = verdict
            rows.append([str(detail.get("promise")), str(detail.get("about")), expected, observed])
        return Table(
            caption="What the component promises, and what was observed",
            headings=["promise", "about", "expected", "observed"],
            rows=rows,
            marks=marks,
        )

    def text(self) -> str:
        return self._table().text() if self._expected else "nothing was expected since the last check"

    def html(self) -> str:
        return self._table().html() if self._expected else html.escape(self.text())


#: What stands for a credential, another one in each run.
_DIGEST = re.compile(r"\[[^]]*\]")
#: Names that a cell lists before it counts the rest.
MOST_NAMES = 10


class Acts(View):
    """What one workload did: who sent what to whom, in which order, and what came of it.

    Arguments:
        title: of the workload.
        operations: everything that was recorded while it went on, in order.
        most: rows that are shown; the rest is counted.
    """

    def __init__(self, title: str, operations: Iterable[Operation], *, most: int = 60) -> None:
        self.title = title
        self.rows: list[tuple[str, str, str, str]] = []
        #: (who, how) → what they did.
        self._kinds: dict[tuple[str, str], set[str]] = {}
        self._most = most
        begun: dict[int, int] = {}
        heard: dict[str, tuple[int, int]] = {}
        first = 0
        for operation in operations:
            first = first or operation.time
            who = operation.connection or operation.user or "nobody"
            at = f"{(operation.time - first) / 1e9:.3f}"
            if operation.action == actions.RECEIVE:
                row, frames = heard.get(who, (len(self.rows), 0))
                told = f"{frames + 1} frame{'s' if frames else ''}, the last one: {named(operation).lstrip('← ')}"
                self.rows[row : row + 1] = [(at if not frames else self.rows[row][0], who, "hears", told)]
                heard[who] = (row, frames + 1)
            elif operation.type == "invoke":
                begun[operation.index] = len(self.rows)
                heard.pop(who, None)
                self.rows.append((at, who, named(operation).lstrip("→ "), "no answer"))
                self._count(operation)
            elif operation.call in begun:
                row = begun[operation.call]
                ended = (
                    str(operation.status or "") or {"ok": "done", "fail": "refused", "info": "failed"}[operation.type]
                )
                self.rows[row] = (*self.rows[row][:3], ended)
            elif operation.action in (actions.SEND, actions.CLOSED, actions.DISTURB):
                heard.pop(who, None)
                self.rows.append((at, who, named(operation).lstrip("→ "), ""))

    def _count(self, operation: Operation) -> None:
        detail, does = operation.detail, operation.action
        if does in (actions.ATTEMPT, actions.TXN) or (not operation.user and not detail.get("attempt")):
            return  # what an attempt consists of has a row of its own, and nobody is interested in our looking around
        if does == actions.SEND:
            does = f"send {read_frame(operation.payload).name or 'a frame'}"
        owner = detail.get("owner")
        how = " ".join(_DIGEST.sub("", str(detail.get("attempt") or "")).split())
        whose = f"{owner}'s" if owner and owner != operation.user else ""
        self._kinds.setdefault((operation.user or "nobody", ", ".join(filter(None, (how, whose)))), set()).add(does)

    def kinds(self) -> Table:
        """Who did which operations, and how: the same in every run, where ``table`` has each step in its order."""
        ways: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for (who, how), done in sorted(self._kinds.items()):
            ways.setdefault((who, tuple(sorted(done, key=lambda name: name.split()[::-1]))), []).append(how or "–")
        people: dict[tuple[str, str], list[str]] = {}
        for (who, does), hows in ways.items():
            people.setdefault((_some(does), _some(hows)), []).append(who)
        rows = [(_some(whos), does, how) for (does, how), whos in people.items()]
        return Table(
            caption="Who did what; steps() shows each step", headings=("who", "does", "how, and whose"), rows=rows
        )

    def table(self) -> Table:
        """A row for each request, each message that was sent, and what each connection heard in between."""
        more = len(self.rows) - self._most
        return Table(
            caption=f"{self.title}: {len(self.rows)} steps"
            + (f", of which the first {self._most}" if more > 0 else ""),
            headings=("s", "who", "does", "what came of it"),
            rows=self.rows[: self._most],
            numeric=frozenset({0}),
        )

    def text(self) -> str:
        return self.table().text()

    def html(self) -> str:
        return self.table().html()


def _some(names: Sequence[str]) -> str:
    return first_of(names, MOST_NAMES, between=" · ")
