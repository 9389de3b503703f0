"""A run starts, thinks, pairs its tools, ends once, and is over."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import FindingSet
from netra_probe.checkers.principals import times, witness
from netra_probe.checkers.runs.followed import RunFollower
from netra_probe.checkers.runs.questions import KEPT_RUNS, Ask, too_soon
from netra_probe.checkers.runs.unidentified_events import name_of
from netra_probe.checkers.verdict import Judgement
from netra_probe.history import actions
from netra_probe.history.frames import Frame, read_frame
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.runs import CANCELLED, COMPLETED, ENDS, EVENTS, FAILURES, REPORT, STARTED

#: Client messages and routes by which a user ends a run of their own.
_WORDS = ("stop", "cancel", "abort", "interrupt")
_NAMES = ("run_id", "turn_id", "thread_id")
#: What a stop without any id is taken to mean.
_EVERYTHING = ""


def stops(action: str) -> bool:
    """Whether a request of this route may end a run; for ``CheckerRun.wants``.

    >>> stops("POST /api/agents/{id}/cancel"), stops("GET /api/threads")
    (True, False)
    """
    return any(word in action for word in _WORDS)


class Cancellations:
    """Remembers stops by user; memory is one entry per id that was ever to be stopped."""

    def __init__(self) -> None:
        self._asked: set[tuple[str, str]] = set()
        #: Users who named a thread and no run of it.
        self._by_thread: set[str] = set()
        #: Users whose way to the platform was disturbed, who hung up on an answer, or whose credentials ended.
        self._hurt: set[str] = set()
        #: User → the last end of one of their connections.
        self._left: dict[str, int] = {}
        self._all_hurt = False

    def harm(self, operation: Operation) -> None:
        """Take in what may have ended runs that nobody asked to be ended."""
        if operation.action == actions.CLOSED:
            self._left[operation.user or ""] = operation.index
        elif operation.user is not None:
            self._hurt.add(operation.user)
        else:
            self._all_hurt = True

    def excused(self, user: str, first: int) -> bool:
        """Whether a run of the user whose first event has index ``first`` may have ended for what happened to them."""
        return self._all_hurt or user in self._hurt or self._left.get(user, -1) > first

    def feed(self, operation: Operation) -> None:
        """Take in a request that may end a run, or a frame that a user sends."""
        user, text = operation.user, operation.payload
        if user is None:
            return
        if operation.action == actions.SEND:
            if not stops(text) or not stops(read_frame(text).name):
                return
            named = set()
        else:
            named = set(str(operation.detail.get("path")).split("/")) - {""} if "{" in operation.action else set()
        ids = read_frame(text).ids
        named.update(ids[name] for name in _NAMES if name in ids)
        if "thread_id" in ids and not ids.keys() & {"run_id", "turn_id"}:
            self._by_thread.add(user)
        self._asked.update((user, id) for id in named or {_EVERYTHING})

    def asked(self, user: str, run: str, thread: str) -> bool:
        """Whether the user asked for the end of the run: by its id, by its thread, or by no id at all.

        Where the events of a run do not tell its thread, the stop of any thread of its user may have been for it.
        """
        if not thread and user in self._by_thread:
            return True
        return not self._asked.isdisjoint(((user, run), (user, thread or run), (user, _EVERYTHING)))


class AutomatonChecker(Checker):
    """Started → (thinking, tool pairs, partial results)* → exactly one end → at most a final report.

    >>> from netra_probe.history.operation import Operation
    >>> names = ("agent_started", "agent_completed", "agent_thinking")
    >>> history = [
    ...     Operation(index=index, time=index, type="ok", action="receive", user="alice", connection="alice/ws-1",
    ...               surface="websocket", payload='{"type":"%s","run_id":"r"}' % name)
    ...     for index, name in enumerate(names)
    ... ]
    >>> [finding.summary for finding in AutomatonChecker()(history).findings]
    ['a run of alice went on after its end (1 time)']
    """

    id = "C4"
    guarantee = "Every run starts once, completes each tool it executes, ends exactly once and is silent afterwards."
    source = (
        "the platform's event contract (netra-wire §6, F2); runtime verification against a finite automaton "
        "(Leucker and Schallhart, JLAP 78:293, 2009)"
    )
    complexity = "time O(frames), memory O(open runs + the last 5,000 ended ones)"
    inconclusive_when = (
        "no run was seen, none ended, a run was still open at the end or was given up too soon, or events cannot be "
        "told apart"
    )

    def begin(self, window: Window) -> CheckerRun:
        return AutomatonPass(window.start)


class Track(msgspec.Struct, gc=False):
    """One run as one connection saw it."""

    started: int = -1
    ended: int = -1
    report: int = -1
    last: int = -1
    tools: list[tuple[str, int]] = []


class Run(msgspec.Struct, gc=False):
    """One run of one user, over all connections that carried it."""

    user: str
    id: str
    thread: str
    first: int
    tracks: dict[str | None, Track] = {}
    ended: bool = False
    #: Whether a connection came in the middle: then none may have seen both halves of a tool's work.
    scattered: bool = False


@dataclass(slots=True)
class Violation:
    """What one run did wrong, once or several times."""

    count: int
    witness: tuple[int, ...]
    explanation: str
    thread: str


_SUMMARIES = {
    "no start": "a run of {recipient} began without agent_started",
    "second start": "a run of {recipient} started twice",
    "tool without start": "a run of {recipient} completed a tool that was not executing",
    "tool without end": "a run of {recipient} completed with a tool still executing",
    "second end": "a run of {recipient} ended twice",
    "second report": "a run of {recipient} had two final reports",
    "event after the end": "a run of {recipient} went on after its end",
    "cancelled by nobody": "a run of {recipient} was cancelled, and not by {recipient}",
    "never ended": "a run of {recipient} started and never ended",
}


class AutomatonPass(RunFollower[Run]):
    """Runs one automaton per run and connection."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self._stops = Cancellations()
        #: (kind, user) → run → what it did.
        self._violations: dict[tuple[str, str], dict[str, Violation]] = {}

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action in (actions.DISTURB, actions.OWN) or action in actions.ENDINGS
        if surface == "websocket":
            return action in (actions.RECEIVE, actions.ASK, actions.CONNECT, actions.CLOSED, actions.SEND)
        return type == "info" or (type == "invoke" and stops(action))

    def feed(self, operation: Operation) -> None:
        action = operation.action
        if action == actions.ASK:
            self._nameless.feed(operation)
            ask = self._asks.feed(operation)
            if ask is None:
                self._claims.own(operation)
            elif ask.run:
                self._claims.claim(ask.run, ask.user)
        elif action in (actions.CONNECT, actions.CLOSED):
            self._life.feed(operation)
            if action == actions.CLOSED:
                self._stops.harm(operation)
        elif action == actions.OWN:
            self._claims.own(operation)
        elif operation.surface == PROBE or (operation.type == "info" and operation.user is not None):
            self._stops.harm(operation)
        else:
            self._stops.feed(operation)

    def new_run(self, operation: Operation, frame: Frame, user: str, id: str) -> Run:
        return Run(user, id, frame.ids.get("thread_id", ""), operation.index)

    def frame(self, operation: Operation, frame: Frame) -> None:
        connection, name, user = operation.connection, frame.name, operation.user
        if name not in EVENTS or user is None:
            return
        index = operation.index
        run = self.run_of(operation, frame, user)
        if run is None:
            return
        track = run.tracks.get(connection)
        if track is None:
            joins = name != STARTED and (
                bool(run.tracks) or (not frame.run and self._nameless.joined(operation, run.id))
            )
            track = run.tracks[connection] = Track()
            run.scattered = run.scattered or joins
            if name != STARTED and name not in FAILURES and not joins:
                self._violate("no start", run, operation, "begins without agent_started", index)
        track.last = index
        if name == REPORT or name in ENDS:
            self._nameless.passed(operation, frame, run.id)
        if track.ended >= 0:
            self._after(operation, run, track, name)
        elif name == STARTED:
            if track.started >= 0:
                self._violate("second start", run, operation, "starts twice", track.started, index)
            track.started = index
        elif name == "tool_executing":
            track.tools.append((frame.tool, index))
        elif name == "tool_completed":
            self._tool_completed(operation, run, track, frame.tool)
        elif name in ENDS:
            self._end(operation, run, track, frame)
        elif name == REPORT:
            if track.report >= 0:
                self._violate("second report", run, operation, "has two final reports", track.report, index)
            track.report = index

    def _tool_completed(self, operation: Operation, run: Run, track: Track, tool: str) -> None:
        for position, (executing, _) in enumerate(track.tools):
            if executing == tool:
                del track.tools[position]
                return
        if not run.scattered:
            what = "completes a tool that was not executing"
            self._violate("tool without start", run, operation, what, track.started, operation.index)

    def _end(self, operation: Operation, run: Run, track: Track, frame: Frame) -> None:
        index = operation.index
        track.ended = index
        if not run.ended:
            run.ended = True
            self.over(run, index)
        wanted = _says_cancelled(frame)
        if frame.name == COMPLETED and not wanted and track.tools and not run.scattered:
            _, executing = track.tools[0]
            self._violate(
                "tool without end",
                run,
                operation,
                "completes with a tool still executing",
                track.started,
                executing,
                index,
            )
        asked = self._stops.asked(run.user, run.id, run.thread)
        if wanted and not asked and not self._stops.excused(run.user, run.first):
            self._violate(
                "cancelled by nobody", run, operation, "was cancelled although its user cancelled nothing of the kind",
                track.started, index,
            )  # fmt: skip
        track.tools.clear()

    def _after(self, operation: Operation, run: Run, track: Track, name: str) -> None:
        if name == REPORT and track.report < 0:
            track.report = operation.index
        elif name in ENDS:
            self._violate("second end", run, operation, "ends twice", track.started, track.ended, operation.index)
        else:
            self._violate(
                "event after the end",
                run,
                operation,
                "went on after its end",
                track.started,
                track.ended,
                operation.index,
            )

    def _violate(self, kind: str, run: Run, operation: Operation, what: str, *shown: int) -> None:
        if operation.index < self._start:
            return
        indices = [index for index in shown if index >= 0]
        letters = ", ".join(f"e{number} = #{index}" for number, index in enumerate(indices, 1))
        explanation = (
            f"Let {letters} be events of one run of {run.user} on {operation.connection}, in the order they came. "
            f"The run {what}, which the contract of its events rules out: a contradiction."
        )
        self._add(kind, run, indices, explanation)

    def _add(self, kind: str, run: Run, indices: list[int], explanation: str) -> None:
        runs = self._violations.setdefault((kind, run.user), {})
        if run.id in runs:
            runs[run.id].count += 1
        elif len(runs) < KEPT_RUNS:
            runs[run.id] = Violation(1, witness(*indices), explanation, run.thread)

    def finish(self) -> Judgement:
        still_open, doubts = self._unended()
        doubts += self.unseen()
        if still_open:
            doubts.append(f"{times(still_open, 'run')} had not ended when the window closed")
        doubts += self.untold()
        found = FindingSet("C4", _SUMMARIES)
        for (kind, user), runs in self._violations.items():
            if self._nameless.confuses(user):
                continue
            own = [
                violation for run, violation in runs.items() if not self._claims.foreign(user, run, violation.thread)
            ]
            if own:
                count = sum(violation.count for violation in own)
                found.add(kind, user, user, "websocket", own[0].witness, own[0].explanation, count=count)
        evidence = {"run events": self._events, "runs ended": self._ends}
        return Judgement(checker="C4", findings=found.findings(), doubts=tuple(doubts), evidence=evidence)

    def _unended(self) -> tuple[int, list[str]]:
        """Accuse the runs that fell silent; count those still open, and doubt those that were given up too soon."""
        asked = {(ask.user, name): ask for ask in self._asks.uncertain for name in (ask.run, name_of(ask.index))}
        still_open, soon = 0, []
        listening = {connection.user for connection in self._life.open()}
        lost_before = False
        for run in self._runs.values():
            if run.ended or any(track.report >= 0 for track in run.tracks.values()):
                continue
            if self._claims.foreign(run.user, run.id, run.thread):
                continue
            last = max(track.last for track in run.tracks.values())
            ask = asked.get((run.user, run.id))
            if ask is None:
                # A closed connection cannot receive the end.
                still_open += last >= self._start and run.user in listening
                continue
            if not ask.silent:
                continue
            heard = self.last_frames.get(ask.connection)
            enough = last <= ask.done and self._asks.waited_enough(ask, heard, lost_before=lost_before)
            lost_before = lost_before or enough
            if ask.done < self._start:
                continue
            if not enough:
                soon.append(too_soon(ask))
            else:
                still_open += not self._accuse(run, ask, last)
        return still_open, list(dict.fromkeys(soon))

    def _accuse(self, run: Run, ask: Ask, last: int) -> bool:
        connection = self._life.latest(run.user)
        if connection is None or connection.last < ask.done:
            return False
        alive = connection.last
        explanation = (
            f"Let a = #{ask.index} be {run.user}'s question, e = #{run.first} the first event of its run and "
            f"d = #{ask.done} its deadline. #{alive} shows the connection alive after d, and no event ended the run: "
            "a contradiction."
        )
        self._add("never ended", run, [ask.index, run.first, ask.done, alive, last], explanation)
        return True


def _says_cancelled(frame: Frame) -> bool:
    """Whether an end says that somebody wanted it: by its name, its status, or the code of an error."""
    if frame.name in ("agent_cancelled", "agent_stopped") or frame.status.lower() in CANCELLED:
        return True
    if frame.name not in FAILURES:
        return False
    body = frame.body
    return any(str(body.get(name, "")).lower() in CANCELLED for name in ("error_code", "code", "reason"))
