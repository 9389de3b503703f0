"""Every response answers the request that it was sent for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import FindingSet, Spot, place_of
from netra_probe.checkers.principals import times, witness
from netra_probe.checkers.recipients import ANONYMOUS
from netra_probe.checkers.runs.questions import Recent
from netra_probe.checkers.verdict import Judgement
from netra_probe.history import actions
from netra_probe.history.frames import Frame
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.untrusted import UNDECODABLE

#: Where frames carry the mark of the request that they answer.
_MARKS = ("turn_id", "request_id", "message_id")
#: Shorter path segments are words (``me``) and no ids.
_SHORTEST_ID = 8
#: Requests whose answer may still come to the wrong one.
KEPT_NONCES = 50_000


class PairingChecker(Checker):
    """Each response carries its own request's nonce, and the object that was asked for.

    >>> from netra_probe.history.operation import Operation
    >>> def step(index, type, user, nonce, **more):
    ...     return Operation(index=index, time=index, type=type, action="GET /a", surface="rest", user=user,
    ...                      nonce=nonce, **more)
    >>> history = [
    ...     step(0, "invoke", "alice", "n1"),
    ...     step(1, "invoke", "bob", "n2"),
    ...     step(2, "ok", "bob", "n2", call=1, detail={"nonce_back": "n1"}),
    ... ]
    >>> [finding.summary for finding in PairingChecker()(history).findings]
    ['bob received the response to a request of alice over rest (1 time)']
    """

    id = "C8"
    guarantee = "Every response, frame and object that a user receives answers that user's own request."
    source = (
        "CVE-2023-28858 and CVE-2023-28859 (redis-py answers off by one after a cancel, the ChatGPT incident of March "
        "2023); OWASP ASVS 5.0 15.4.1"
    )
    complexity = "time O(operations), memory O(open requests + the last 50,000 nonces)"
    inconclusive_when = (
        "nothing was answered, the target echoes no nonce and no response names the object asked for, or the probe's "
        "own records do not pair up"
    )

    def begin(self, window: Window) -> CheckerRun:
        return PairingPass(window.start)


class _Named(msgspec.Struct):
    id: Any = None
    thread_id: Any = None


_decode = msgspec.json.Decoder(_Named | list[_Named | str | int | float | bool | None]).decode


@lru_cache(maxsize=1000)
def _places(action: str) -> tuple[int, int, int]:
    """How many segments a route has, and which of them are the thread and the object that it ends in; 0 for none."""
    route = action.partition(" ")[2].split("/")
    braces = [position for position, part in enumerate(route) if part.startswith("{")]
    thread = next((position for position in braces if route[position - 1] == "threads"), 0)
    return len(route), thread, braces[-1] if braces and braces[-1] == len(route) - 1 else 0


def _named(request: Operation) -> tuple[str, str]:
    """The thread that a request's path names, and the object that it ends in; "" for none."""
    path = request.detail.get("path")
    length, thread, last = _places(request.action)
    segments = path.partition("?")[0].split("/") if isinstance(path, str) else []
    if len(segments) != length:
        return "", ""
    named = [segments[at] if at and len(segments[at]) >= _SHORTEST_ID else "" for at in (thread, last)]
    return named[0], named[1]


_SUMMARIES = {
    "swapped": "{recipient} received the response to a request of {victim} over {surface}",
    "wrong object": "{recipient} asked for one object and received another over {surface}",
    "mixed": "{recipient} received one run for two questions over {surface}",
}


class PairingPass(CheckerRun):
    """Compares every response with the request it is recorded for."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._open: dict[int, Operation] = {}
        #: nonce → who sent it first, and where; who else did, where equal ids are the experiment.
        self._sent = Recent[tuple[str | None, int]](KEPT_NONCES)
        self._reused: dict[str, set[str | None]] = {}
        #: run → the nonce that its events carry, and where.
        self._turn = Recent[tuple[str, int]](KEPT_NONCES)
        self._answered = 0
        self._paired = 0
        self._objects = 0
        self._unpaired_records = 0
        self._found = FindingSet("C8", _SUMMARIES, unit="delivery")

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == "websocket":
            return action in (actions.RECEIVE, actions.ASK)
        return surface != PROBE and (type == "invoke" or action not in (actions.ROW, actions.KEY, actions.GAUGE))

    def feed(self, operation: Operation) -> None:
        if operation.type == "invoke":
            self._request(operation)
        elif operation.call is not None:
            self._response(operation)

    def _request(self, operation: Operation) -> None:
        nonce = operation.nonce
        if nonce:
            if nonce in self._sent:
                self._reused.setdefault(nonce, set()).add(operation.user)
            else:
                self._sent.keep(nonce, (operation.user, operation.index))
        self._open[operation.index] = operation

    def _response(self, operation: Operation) -> None:
        request = self._open.pop(operation.call, None) if operation.call is not None else None
        if operation.index < self._start:
            return
        if request is None:
            self._unpaired_records += 1
            return
        if operation.action == actions.ASK:
            return
        self._answered += 1
        back = operation.detail.get("nonce_back")
        for nonce in back if isinstance(back, list) else (back,):
            if nonce is not None and nonce == request.nonce:
                self._paired += 1
            elif isinstance(nonce, str):
                self._marked(operation, nonce)
        if operation.type == "ok" and operation.payload and "{" in request.action:
            self._compare_objects(operation, request)

    def _marked(self, operation: Operation, nonce: str) -> None:
        """A response with a nonce that is not its request's: whose is it? One that nobody sent is the target's own."""
        sender = self._sent.get(nonce)
        if sender is None:
            return
        victim, asked = sender
        user = operation.user
        if operation.action == actions.RECEIVE and (user == victim or user in self._reused.get(nonce, ())):
            self._paired += 1
            return
        explanation = (
            f"Let q = #{asked} be a request of {victim or 'nobody'} and r = #{operation.index} reach "
            f"{user or 'nobody'} with the mark of q on it. Only the answer to q carries q's mark, and r was not "
            "sent in answer to q: a contradiction."
        )
        shown = witness(asked, operation.index, operation.call)
        self._add("swapped", victim or ANONYMOUS, operation, shown, explanation)

    def _compare_objects(self, operation: Operation, request: Operation) -> None:
        """The object in the answer is the one in the path; a protocol out of step gives the one before."""
        thread, last = _named(request)
        if last and operation.payload.startswith(f'{{"id":"{last}"'):
            self._objects += 1
            return
        try:
            body = _decode(operation.payload)
        except UNDECODABLE:
            return
        for thing in body if isinstance(body, list) else (body,):
            if not isinstance(thing, _Named):
                continue
            pairs = [(thread, thing.thread_id)]
            if not isinstance(body, list):
                pairs.append((last, thing.id))
            for wanted, got in pairs:
                if not wanted or not isinstance(got, str) or not got:
                    continue
                self._objects += 1
                if got != wanted:
                    explanation = (
                        f"Let q = #{operation.call} name an object by its id and r = #{operation.index} be recorded as "
                        "the answer to q. r is about another object than q named, so r answers another question: "
                        "a contradiction."
                    )
                    shown = witness(operation.call, operation.index)
                    self._add("wrong object", operation.user or ANONYMOUS, operation, shown, explanation)

    def frame(self, operation: Operation, frame: Frame) -> None:
        ids = frame.ids
        if ids.keys().isdisjoint(_MARKS) or operation.index < self._start:
            return
        for name in _MARKS:
            nonce = ids.get(name)
            if nonce is None or nonce not in self._sent:
                continue
            self._answered += 1
            self._marked(operation, nonce)
            run = ids.get("run_id")
            if run:
                known, first = self._turn.get(run, (nonce, operation.index))
                if known != nonce:
                    explanation = (
                        f"Let r1 = #{first} and r2 = #{operation.index} be events of one run, each with the mark of "
                        "the question that it answers. The marks differ, and a run answers one question: "
                        "a contradiction."
                    )
                    asked = self._sent.get(known, (None, None))[1]
                    shown = witness(asked, self._sent[nonce][1], first, operation.index)
                    self._add("mixed", operation.user or ANONYMOUS, operation, shown, explanation)
                else:
                    self._turn.keep(run, (known, first))

    def _add(self, kind: str, victim: str, operation: Operation, shown: tuple[int, ...], explanation: str) -> None:
        if operation.index < self._start:
            return
        place = (kind, victim, operation.user or ANONYMOUS, operation.surface)
        spot = Spot(operation.index, place_of(operation))
        if not self._found.count(*place, spot=spot):
            self._found.add(*place, shown, explanation, spot=spot)

    def finish(self) -> Judgement:
        doubts = []
        if not self._answered:
            doubts.append("nothing was answered")
        elif not self._paired and not self._objects:
            doubts.append("no nonce came back, and no response names the object asked for: nothing proves pairing")
        if self._unpaired_records:
            doubts.append(f"{times(self._unpaired_records, 'response')} recorded without a request, or twice")
        evidence = {"answers": self._answered, "nonces back": self._paired, "objects compared": self._objects}
        return Judgement(checker="C8", findings=self._found.findings(), doubts=tuple(doubts), evidence=evidence)
