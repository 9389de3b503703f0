"""Every event of a run arrives, once, in order, and only where it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.delivery.streams import Run, Stream, delivered_before, is_late, mark, uneven
from netra_probe.checkers.findings import FindingSet, Spot, place_of
from netra_probe.checkers.principals import times, witness
from netra_probe.checkers.runs.followed import RunFollower
from netra_probe.checkers.runs.liveness import BROKEN_OFF, GIVEN_UP, PING
from netra_probe.checkers.runs.questions import PATIENCE, Ask, too_soon
from netra_probe.checkers.runs.unidentified_events import name_of
from netra_probe.checkers.verdict import Judgement
from netra_probe.history import actions
from netra_probe.history.frames import MILLISECONDS, Frame, Stamp, read_frame
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.runs import ENDS, EVENTS, REPORT, STARTED
from netra_probe.history.untrusted import number

#: Seconds by which the clocks of a platform's processes may differ.
SKEW = 1.0


def held_back(ask: Ask, run: Run, last_frames: Mapping[str | None, Operation]) -> int | None:
    """Index of a sign of life that the asking connection gave after the run's first event had been produced.

    By the platform's own clock: a connection delivers in order, so an event that was produced before the pong and did
    not come before it was not sent there at all. ``None`` where the connection got events of the run, or where nothing
    tells when things were produced: then the run may only have been slow.
    """
    if not ask.silent or ask.connection in run.streams:
        return None
    sign = last_frames.get(ask.connection)
    if sign is None or sign.index < ask.done:
        return None
    alive, produced = seconds(read_frame(sign.payload).timestamp), seconds(run.produced)
    return sign.index if alive is not None and produced is not None and produced + SKEW < alive else None


def seconds(stamp: Stamp) -> float | None:
    """A producer's time in seconds since 1970.

    >>> seconds("1970-01-01T00:00:01.5+00:00"), seconds(1500.0), seconds("soon")
    (1.5, 1500.0, None)
    """
    if isinstance(stamp, str):
        try:
            return datetime.fromisoformat(stamp).timestamp()
        except (ValueError, OverflowError):
            return None
    told = number(stamp)
    return told / 1000 if told is not None and told > MILLISECONDS else told


#: Client messages and routes that start a run.
_STARTERS = frozenset({"start_agent", "user_message", "chat", "agent_request"})
_STARTING_ROUTES = ("/agent", "/run", "/stream")
#: A run cut off from its user is missed after ``PATIENCE`` times the longest run of the window, and at least this long.
LEAST_PATIENCE_NS = 2_000_000_000
#: Runs of one user that are kept to be matched with questions that never learned theirs.
MOST_UNCLAIMED = 1_000


class DeliveryChecker(Checker):
    """Nothing of a run is lost, repeated, reordered or sent to a user who did not ask for it.

    >>> from netra_probe.history.operation import Operation
    >>> frame = '{"type":"agent_started","run_id":"r","timestamp":1.5}'
    >>> history = [
    ...     Operation(index=index, time=index, type="ok", action="receive", user="alice", connection="alice/ws-1",
    ...               surface="websocket", payload=frame)
    ...     for index in range(2)
    ... ]
    >>> [finding.summary for finding in DeliveryChecker()(history).findings if finding.kind == "duplicate"]
    ['alice received an event of a run again through agent_started (1 time)']
    """

    id = "C3"
    guarantee = "Every event of every run that a user asked for reaches that user, once per connection and in order."
    source = (
        "reliable FIFO delivery (Hadzilacos and Toueg, Cornell TR 94-1425, 1994); total-queue and kafka workloads of "
        "Jepsen; netra-wire §6"
    )
    complexity = "time O(frames), memory O(open runs + the last 5,000 ended ones)"
    inconclusive_when = (
        "no event of a run was seen, no run ended, a question was still open, or a question stayed without an answer "
        "on a connection that was dead as well, was given up too soon, or was cut off too shortly before the end"
    )

    def begin(self, window: Window) -> CheckerRun:
        return DeliveryPass(window.start)


_SUMMARIES = {
    "lost": "a run that {recipient} asked for was lost",
    "cut short": "a run of {recipient} broke off",
    "held back": "a run that {recipient} asked for was kept from the connection that asked",
    "gap": "a run of {recipient} arrived with events missing",
    "duplicate": "{recipient} received an event of a run again",
    "reordered": "{recipient} received events of a run out of order",
    "unexpected": "{recipient} received events of a run that nobody asked for",
}


class DeliveryPass(RunFollower[Run]):
    """Keeps, for each run, which events each connection got."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        #: user → runs that may have been started without an ``ask``, or by one that never learned its run.
        self._starts: dict[str, int] = {}
        self._unclaimed: dict[str, list[Run]] = {}
        #: Connections, or users, whose sequence numbers count more than one run.
        self._shared: set[str] = set()
        #: The first question of the window that was answered, and the longest such run, in nanoseconds.
        self._answered: Ask | None = None
        self._longest = 0
        self._found = FindingSet("C3", _SUMMARIES)
        self._doubts: list[str] = []

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action == actions.OWN
        if surface == "websocket":
            return action in (actions.RECEIVE, actions.ASK, actions.CONNECT, actions.CLOSED, actions.SEND)
        return type == "invoke" and action.startswith("POST") and any(part in action for part in _STARTING_ROUTES)

    def feed(self, operation: Operation) -> None:
        action = operation.action
        if action == actions.ASK:
            self._asked(operation)
        elif action in (actions.CONNECT, actions.CLOSED):
            self._life.feed(operation)
        elif action == actions.OWN:
            self._claims.own(operation)
        elif action != actions.SEND:
            self._may_start(operation.user)
        elif operation.payload == PING:
            self._life.feed(operation)
        elif operation.call is None and operation.connection not in self._asks.on:
            self._may_start(operation.user if read_frame(operation.payload).name in _STARTERS else None)

    def new_run(self, operation: Operation, frame: Frame, user: str, id: str) -> Run:
        return Run(user, id, frame.ids.get("thread_id", ""), operation.index, produced=frame.timestamp)

    def frame(self, operation: Operation, frame: Frame) -> None:
        connection, name, user = operation.connection, frame.name, operation.user
        if user is None:
            return
        if name not in EVENTS:
            if frame.sequence is not None:
                self._shared.add(user)
            return
        run = self.run_of(operation, frame, user)
        if run is None:
            return
        index = operation.index
        if name == REPORT or name in ENDS:
            self._nameless.passed(operation, frame, run.id)
        stream = run.streams.get(connection)
        if stream is None:
            stream = run.streams[connection] = Stream(index)
        number = frame.sequence
        if number is not None and number == stream.next and len(run.streams) == 1:
            # The next number on the only connection: new, in order, and nothing to look up.
            stream.seen[name, number] = index
        else:
            known_by = mark(frame)
            if known_by is not None:
                before = delivered_before(run, stream, connection, known_by, self._life)
                if before >= 0:
                    if not self._in_flight(before):
                        self._duplicate(run, operation, before)
                    return
                stream.seen[known_by] = index
            if stream.last >= 0 and is_late(frame, stream):
                self._reordered(run, operation, stream.last)
        stream.last = index
        if number is None:
            if frame.timestamp is not None:
                stream.timestamp = frame.timestamp
        else:
            if number != stream.next:
                run.irregular = run.irregular or stream.next is not None
                if number > 1 and name == STARTED:
                    self._shared.add(user)
            stream.next = number + 1
        if run.ended < 0 and name in ENDS:
            self._end(run, index)

    def _may_start(self, user: str | None) -> None:
        if user is not None:
            self._starts[user] = self._starts.get(user, 0) + 1

    def _asked(self, operation: Operation) -> None:
        self._nameless.feed(operation)
        ask = self._asks.feed(operation)
        if ask is None:
            if operation.type == "invoke" and operation.user is not None:
                self._claims.own(operation)
                if operation.nonce:
                    self._claims.claim(operation.nonce, operation.user)
            return
        if ask.run:
            self._claims.claim(ask.run, ask.user)
        elif ask.outcome != "fail" and (ask.user, name_of(ask.index)) not in self._runs:
            self._may_start(ask.user)
        if ask.outcome == "ok" and ask.index >= self._start:
            self._answered = self._answered or ask
            self._longest = max(self._longest, ask.finished - ask.time)

    def _end(self, run: Run, index: int) -> None:
        run.ended = index
        if (old := self.over(run, index)) is not None:
            self._complete(old)

    def _duplicate(self, run: Run, operation: Operation, before: int) -> None:
        explanation = (
            f"Let r1 = #{before} deliver an event to {run.user}, and r2 = #{operation.index} deliver the same event to "
            f"{run.user} again. Each event is sent once to each connection: a contradiction."
        )
        self._fault(
            "duplicate",
            run.user,
            operation.index,
            witness(before, operation.index, self._closing(run, before)),
            explanation,
            place_of(operation),
        )

    def _in_flight(self, index: int) -> bool:
        """Whether this event was the last before the target gave the connection up while sending.

        The target cannot know whether that one arrived; sending it again is better than losing it.
        """
        last: dict[str | None, int] = {}
        for run in self._runs.values():
            for name, stream in run.streams.items():
                last[name] = max(stream.last, last.get(name, -1))
        ended = (self._life.get(name) for name, latest in last.items() if latest == index)
        return any(connection is not None and connection.status in GIVEN_UP for connection in ended)

    def _closing(self, run: Run, before: int) -> int | None:
        """Where the connection of the earlier delivery was closed, if it was."""
        for name, stream in run.streams.items():
            connection = self._life.get(name)
            if connection is not None and connection.closed > before and before in stream.seen.values():
                return connection.closed
        return None

    def _reordered(self, run: Run, operation: Operation, before: int) -> None:
        explanation = (
            f"Let r1 = #{before} and then r2 = #{operation.index} deliver two events of one run to {run.user} on "
            f"{operation.connection}. By their own marks the second was produced first: a contradiction."
        )
        shown = witness(before, operation.index)
        self._fault("reordered", run.user, operation.index, shown, explanation, place_of(operation))

    def _fault(
        self, kind: str, user: str, index: int, shown: tuple[int, ...], explanation: str, named: str = ""
    ) -> None:
        if index < self._start:
            return
        place = (kind, "" if kind == "unexpected" else user, user, "websocket")
        spot = Spot(index, named)
        if not self._found.count(*place, spot=spot):
            self._found.add(*place, shown, explanation, spot=spot)

    def _complete(self, run: Run) -> None:
        """Judge a run of which nothing more is expected."""
        if not self._claims.claimed(run.id):
            unclaimed = self._unclaimed.setdefault(run.user, [])
            if run.first >= self._start and len(unclaimed) < MOST_UNCLAIMED:
                unclaimed.append(run)
        elif self._claims.foreign(run.user, run.id, run.thread):
            return
        if run.ended < 0:
            return
        gaps = run.gaps(self._life) if run.user not in self._shared else []
        if gaps:
            missing, *jump = sum(gap[0] for gap in gaps), gaps[0][1], gaps[0][2]
            explanation = (
                f"Let e = #{run.ended} end a run of {run.user} whose events are numbered. "
                f"{times(missing, 'number')} between its first and its last event never came: a contradiction."
            )
            self._fault("gap", run.user, run.ended, witness(*jump, run.first, run.ended), explanation)
        absent = uneven(run, self._life) if len(run.streams) > 1 else None
        if absent is not None:
            index, alive = absent
            explanation = (
                f"Let r = #{index} deliver an event of a run to one connection of {run.user}, while copies of other "
                f"events of the run went to another, which was open before the run and alive after it (#{alive}). "
                "That connection never got r's event: a contradiction."
            )
            self._fault("gap", run.user, run.ended, witness(index, alive, run.first, run.ended), explanation)

    def finish(self) -> Judgement:
        for run in self._runs.values():
            self._complete(run)
        self._look_for_strays()
        self._look_for_losses()
        self._doubts += [*self.unseen(), *self.untold()]
        self._doubts += self._life.unanswered()
        if self._asks.open:
            self._doubts.append(f"{times(len(self._asks.open), 'question')} had not ended when the window closed")
        evidence = {"run events": self._events, "runs ended": self._ends}
        # That an answer never came is true whichever run it was of.
        findings = tuple(
            finding
            for finding in self._found.findings()
            if finding.kind == "lost" or not self._nameless.confuses(finding.recipients[0])
        )
        return Judgement(checker="C3", findings=findings, doubts=tuple(dict.fromkeys(self._doubts)), evidence=evidence)

    def _look_for_strays(self) -> None:
        """More unknown runs than questions of unknown run: somebody gets events that nobody asked for."""
        for ask in self._asks.open.values():
            self._may_start(ask.user)
        for user, runs in sorted(self._unclaimed.items()):
            stray = [run for run in runs if not self._claims.known(run.id, run.thread)]
            for run in stray[self._starts.get(user, 0) :]:
                explanation = (
                    f"Let r = #{run.first} deliver an event of a run to {user}. No question of {user} started that "
                    "run, and each of the runs that they did start is accounted for: a contradiction."
                )
                self._fault("unexpected", user, run.first, (run.first,), explanation)

    def _look_for_losses(self) -> None:
        lost_before = False
        for ask in self._asks.uncertain:
            run = self._runs.get((ask.user, ask.run or ask.nonce)) or self._runs.get((ask.user, name_of(ask.index)))
            if run is None and not ask.run and ask.done >= self._start:
                run = self._unclaimed_run(ask)
            if run is None or run.ended < 0:
                soon = ask.silent and not self._waited(ask, run, lost_before=lost_before)
                lost_before = lost_before or (ask.silent and not soon)
                if ask.done >= self._start:
                    self._missed(ask, run, soon=soon)
            elif ask.done >= self._start and (alive := held_back(ask, run, self.last_frames)) is not None:
                explanation = (
                    f"Let a = #{ask.index} be a question of {ask.user}, given up at #{ask.done}, and r = #{run.first} "
                    f"the first event of its run, which came on another connection. By the platform's own clock r was "
                    f"produced before #{alive}, which shows the connection of a alive: r was owed there, and a "
                    "connection delivers in order: a contradiction."
                )
                shown = witness(ask.index, ask.done, alive, run.first)
                self._fault("held back", ask.user, ask.done, shown, explanation)

    def _unclaimed_run(self, ask: Ask) -> Run | None:
        """A run that no question is known to have started and that this one may have (in its thread, if known)."""
        for run in self._unclaimed.get(ask.user, ()):
            if run.first > ask.index and ask.thread in ("", run.thread):
                self._unclaimed[ask.user].remove(run)
                return run
        return None

    def _waited(self, ask: Ask, run: Run | None, *, lost_before: bool) -> bool:
        """Whether a question was waited for long enough: its run was not still going on when it was given up."""
        if run is not None and any(stream.last > ask.done for stream in run.streams.values()):
            return False
        return self._asks.waited_enough(ask, self.last_frames.get(ask.connection), lost_before=lost_before)

    def _missed(self, ask: Ask, run: Run | None, *, soon: bool) -> None:
        """A question without an end: lost where the connection lived on and others were served, else a doubt.

        ``soon`` says that it was given up too soon to call it lost.
        """
        if ask.user in self._untied:
            return  # its events may be among those that carried no id
        if soon:
            self._doubts.append(too_soon(ask))
            return
        connection = self._life.latest(ask.user)
        if not ask.silent and (connection is None or connection.closed >= 0):
            return  # Cut off and never back: there was nobody to deliver to.
        asked = self._life.get(ask.connection)
        if run is None and asked is not None and asked.status in (*GIVEN_UP, BROKEN_OFF):
            self._doubts.append(
                f"{ask.connection} ended with code {asked.status}, perhaps before {ask.user}'s question was read there"
            )
            return
        if connection is None or connection.last < ask.done:
            self._doubts.append(
                f"{ask.user}'s question went unanswered on a connection that gave no sign of life either"
            )
            return
        control = self._answered
        if control is None:
            self._doubts.append(
                f"{ask.user}'s question went unanswered, and so did all others: are the agents running?"
            )
            return
        if not ask.silent and connection.seen - ask.time < max(PATIENCE * self._longest, LEAST_PATIENCE_NS):
            self._doubts.append(f"{ask.user}'s run was cut off, and its end may still have been on its way")
            return
        kind = "lost" if run is None else "cut short"
        explanation = (
            f"Let a = #{ask.index} be a question of {ask.user}, given up at #{ask.done}. #{connection.last} shows "
            f"{ask.user} connected and alive after that, and #{control.done} shows that the target was answering, but "
            + ("nothing of a's run ever came" if run is None else f"the run that began with #{run.first} never ended")
            + ": a contradiction."
        )
        shown = witness(ask.index, ask.done, connection.last, control.index, control.done, run.first if run else None)
        self._fault(kind, ask.user, ask.done, shown, explanation)
