"""Who is rate-limited, and whether for their own requests: a part of the non-interference checker.

Whatever a quota's window is, and however large the quota: if it counts each user by themselves, nobody is refused who
asked for less than somebody else was served in the same time. So a refusal is another's doing when, for every window
that is looked at, another user was served more on the same surface than the refused one had asked for there.
Time O(n + refusals × users × log n), memory O(requests).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass

from netra_probe.checkers.findings import plain
from netra_probe.checkers.principals import times, witness
from netra_probe.checkers.verdict import Finding, Pair, Place
from netra_probe.history import actions
from netra_probe.history.frames import frame_of
from netra_probe.history.operation import Operation

KIND = "refused for another's load"
#: What refusals of this kind say, whatever status or frame they come with.
LIMITED = re.compile(r"rate.?limit|too.many|quota|slow.down|throttl", re.IGNORECASE)
#: Windows over which users are compared, in nanoseconds; the last one is everything.
WINDOWS = (10_000_000_000, 60_000_000_000, 1 << 62)
#: So many requests or messages within the first of them are a load.
LOAD = 100
_BAD, _TOO_MANY, _NOT_NOW = 400, 429, 503


def is_limited(status: int | None, payload: str) -> bool:
    """Whether a refusal is for how much was asked, and not for what or by whom."""
    return status == _TOO_MANY or (status == _NOT_NOW and bool(LIMITED.search(payload)))


@dataclass(frozen=True, slots=True)
class _Refusal:
    user: str
    surface: str
    action: str
    asked: int
    index: int
    time: int


class Refusals:
    """Counts what each user asks for, is served and is refused, surface by surface."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._asked: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._served: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._calls: dict[int, Operation] = {}
        self._last: dict[str, int] = {}
        #: User → when they last got what they had asked for.
        self._content: dict[str, int] = {}
        self._began: int | None = None
        self.refused: list[_Refusal] = []

    def feed(self, operation: Operation) -> None:
        """Take in a request, its response, a frame that was sent or one that came."""
        user, surface = operation.user, operation.surface
        if user is None:
            return
        if self._began is None and operation.index >= self._start:
            self._began = operation.time
        if surface == "websocket":
            self._socket(operation, user)
        elif operation.type == "invoke":
            # What is meant to be refused is refused for other reasons.
            if "attempt" not in operation.detail:
                self._calls[operation.index] = operation
                self._asked[user, surface].append(operation.time)
        elif (call := self._calls.pop(operation.call, None) if operation.call is not None else None) is not None:
            if is_limited(operation.status, operation.payload):
                self._refuse(user, surface, operation.action, call.index, operation)
            else:
                self._served[user, surface].append(operation.time)
                if operation.type == "ok" and operation.status is not None and operation.status < _BAD:
                    self._content[user] = operation.time

    def _socket(self, operation: Operation, user: str) -> None:
        key = (user, "websocket")
        if operation.action == actions.SEND and operation.type == "ok":
            self._asked[key].append(operation.time)
            self._last[user] = operation.index
        elif operation.action == actions.RECEIVE:
            frame = frame_of(operation)
            if frame.name == "error" and LIMITED.search(operation.payload):
                self._refuse(user, "websocket", "messages", self._last.get(user, operation.index), operation)
            elif frame.name in ("pong", "ack"):
                self._served[key].append(operation.time)
                self._content[user] = operation.time

    def _refuse(self, user: str, surface: str, action: str, call: int, operation: Operation) -> None:
        if operation.index >= self._start:
            self.refused.append(_Refusal(user, surface, action, call, operation.index, operation.time))

    @property
    def loaded(self) -> bool:
        """Whether anybody asked for so much within ten seconds, on one surface, that quotas were put to the test."""
        return bool(self._loads())

    def _loads(self) -> dict[str, int]:
        """User → when they had put a load on the target, of those who did since the window began."""
        found: dict[str, int] = {}
        for (user, _), moments in self._asked.items():
            since = moments[bisect_left(moments, self._began or 0) :] if self._began is not None else []
            for first, last in zip(since, since[LOAD - 1 :], strict=False):
                if last - first <= WINDOWS[0]:
                    found[user] = min(last, found.get(user, last))
                    break
        return found

    def doubts(self) -> list[str]:
        """What keeps a history with a load from saying anything."""
        loads = self._loads()
        refused = {one.user for one in self.refused}
        served = {user for user, time in self._content.items() if any(time >= since for since in loads.values())}
        if (served | refused) - loads.keys() or len((served | refused) & loads.keys()) > 1:
            return []
        return ["nobody but the busy user was served anything after the load"]

    def findings(self) -> list[Finding]:
        """One for each pair of a refused user and the one whose load it was."""
        groups: dict[tuple[str, str, str], list[_Refusal]] = defaultdict(list)
        for refusal in self.refused:
            heavy = self._heavy(refusal)
            if heavy:
                groups[refusal.user, heavy, refusal.surface].append(refusal)
        return [self._finding(*key, refusals) for key, refusals in sorted(groups.items())]

    def _heavy(self, refusal: _Refusal) -> str:
        """Who was served more than the refused one had asked for, whatever the window; "" if nobody was."""
        mine = [self._count(self._asked, refusal.user, refusal, window) for window in WINDOWS]
        for other, surface in self._served:
            if surface == refusal.surface and other != refusal.user:
                theirs = [self._count(self._served, other, refusal, window) for window in WINDOWS]
                if all(asked < served for asked, served in zip(mine, theirs, strict=True)):
                    return other
        return ""

    @staticmethod
    def _count(of: dict[tuple[str, str], list[int]], user: str, refusal: _Refusal, window: int) -> int:
        moments = of.get((user, refusal.surface), [])
        return bisect_right(moments, refusal.time) - bisect_right(moments, refusal.time - window)

    def _finding(self, user: str, heavy: str, surface: str, refusals: list[_Refusal]) -> Finding:
        first = refusals[0]
        asked = self._count(self._asked, user, first, WINDOWS[-1])
        served = self._count(self._served, heavy, first, WINDOWS[-1])
        places = tuple(
            Place(operation=plain(action), pairs=(Pair(owner=user, recipient=heavy, example=first.index),))
            for action in sorted({one.action for one in refusals})
        )
        return Finding(
            checker="C11",
            kind=KIND,
            summary=f"{user} was told to slow down over {surface} for what {heavy} had used up "
            f"({times(len(refusals), 'refusal')}; {asked} asked for, {served} served to {heavy})",
            victims=(user,),
            recipients=(heavy,),
            surface=surface,
            operations=places,
            witness=witness(first.asked, first.index),
            explanation=(
                f"Suppose each user has a quota of their own. Let #{first.index} refuse {user}, who had asked for less "
                f"than {heavy} was served in the same ten seconds, the same minute and altogether: then {heavy}'s "
                f"quota is larger than {user}'s, or they share one. Both come from one address: if "
                "the quota is meant to be that, whoever is behind a proxy with others shares it with them."
            ),
        )
