"""Playing a recording back: clients that answer from a stored history instead of from a target."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from netra_probe.clients.http import Exchange, Request, Service
from netra_probe.clients.replies import (
    Answered,
    Broken,
    Closed,
    Refused,
    Reply,
    Silent,
    Timeouts,
    Unreachable,
    seconds_to_wait,
)
from netra_probe.clients.transport import Transport
from netra_probe.clients.websocket import Handshake, Opened, Received, Socket
from netra_probe.errors import ParameterError
from netra_probe.history import actions
from netra_probe.history.frames import Frame, read_frame
from netra_probe.history.operation import Operation
from netra_probe.history.redaction import Redactor
from netra_probe.history.store import History, Recorder
from netra_probe.history.untrusted import decoded

#: Why an act fails that the recording does not hold.
MISSING = "not in the recording"


class Tape(Recorder):
    """A stored history held in memory that takes nothing more: what a replayed act would record is there already."""

    def __init__(self, source: History) -> None:
        History.__init__(self, source.path)
        self._examined = source._examine()
        self._operations = list(source)
        self._truncated = source.truncated
        if not self._operations or self._operations[0].action != actions.OPEN:
            raise ParameterError(f"{source.path}: not the history of an investigation; give one that a run has left.")
        self.redactor = Redactor()

    @property
    def truncated(self) -> bool:
        return bool(self._truncated)

    def _examine(self) -> tuple[tuple[str, ...], str]:
        return self._examined or ((), "")

    def append(self, **fields: Any) -> Operation:
        return Operation(index=len(self._operations), time=0, **fields)

    def close(self) -> Path:
        return self.path


class RecordedExchange:
    """Answers each request with the recorded outcome of the same user's next request of that name to that backend."""

    def __init__(self, tape: Tape, service: Service, outcomes: Mapping[str, deque[Operation]]) -> None:
        self.history: Recorder = tape
        self.service = service
        self.timeouts = Timeouts()
        self._outcomes = outcomes

    async def send(self, request: Request) -> Reply:
        waiting = self._outcomes.get(request.action)
        if not waiting:
            return Unreachable(reason=MISSING)
        done = waiting.popleft()
        if "silent" in done.detail:
            return Silent(seconds=done.detail["silent"], operation=done.index)
        if done.status is None:
            return Unreachable(
                reason=str(done.detail.get("reason", "")), sent=done.type == "info", operation=done.index
            )
        body = decoded(done.payload, done.payload)
        if done.status < 400:
            location = str(done.detail.get("location", ""))
            return Answered(status=done.status, body=body, location=location, operation=done.index)
        if done.status >= 500:
            return Broken(status=done.status, body=body, operation=done.index)
        pause = seconds_to_wait(done.detail.get("headers", {}))
        return Refused(status=done.status, body=body, retry_after=pause, operation=done.index)

    async def close(self) -> None:
        pass


class RecordedSocket(Socket):
    """A recorded connection: its frames become visible as the notebook's acts reach the point where they had come."""

    def __init__(
        self, connect: Operation, frames: list[Received], end: Operation | None, sent: Iterable[Operation]
    ) -> None:
        super().__init__(connect, timeouts=Timeouts())
        self._all: list[Received] = frames
        self._end_of_it = end
        self._sent = deque(sent)
        first = next((seen.frame for seen in frames if seen.frame.name == "connection_established"), None)
        self.welcome = first if connect.detail.get("welcome", True) else None

    @property
    def local_address(self) -> tuple[str, int]:
        return "recorded.invalid", 0

    @property
    def position(self) -> int:
        # Where the recording stood at the next send: an act that ran beside this one may have read on since.
        if not self._sent:
            return len(self.received)
        return bisect_left(self._all, self._sent[0].index, key=lambda seen: seen.operation.index)

    async def send_text(self, text: str, *, attempt: Mapping[str, Any] | None = None) -> Operation:
        if self._sent:
            self._sent.popleft()
        return Operation(index=0, time=0, type="ok", action=actions.SEND)

    async def until(
        self, match: Callable[[Frame], bool], *, within: float, start: int = 0
    ) -> Received | Silent | Closed:
        # What was done at once is replayed one by one: what the second waits for may lie before the end of the first.
        for position in chain(range(start, len(self._all)), range(min(start, len(self._all)))):
            if match(self._all[position].frame):
                self._advance(position + 1)
                return self._all[position]
        if self._end_of_it is not None and self._end_of_it.status != 1000:
            return await self._ended()
        return Silent(seconds=within)

    async def fence(self) -> Received | Silent | Closed:
        self._advance(len(self._all))
        return await self.until(lambda frame: frame.name == "pong", within=self.timeouts.pong)

    async def close(self, code: int = 1000) -> Closed:
        return await self._ended()

    async def abort(self) -> Closed:
        return await self._ended()

    async def _ended(self) -> Closed:
        self._advance(len(self._all))
        end = self._end_of_it
        self.closed = Closed(
            code=(end.status if end else None) or 1006, error=str(end.detail.get("reason", "")) if end else ""
        )
        return self.closed

    def _advance(self, position: int) -> None:
        self.received = self._all[: max(position, len(self.received))]


class RecordedTransport(Transport):
    """Hands out recorded connections in the order in which they were made."""

    live = False

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        #: (connection, backend) → action → the outcomes to come.
        self._outcomes: dict[tuple[str, str], dict[str, deque[Operation]]] = defaultdict(lambda: defaultdict(deque))
        self._connects: dict[str, deque[Operation]] = defaultdict(deque)
        self._frames: dict[str, list[Received]] = defaultdict(list)
        self._ends: dict[str, Operation] = {}
        self._sent: dict[str, list[Operation]] = defaultdict(list)
        answers = {operation.call: operation for operation in tape if operation.call is not None}
        for operation in tape:
            name = operation.connection or ""
            if operation.action == actions.RECEIVE:
                self._frames[name].append(Received(operation=operation, frame=read_frame(operation.payload)))
            elif operation.action == actions.CLOSED:
                self._ends[name] = operation
            elif operation.action == actions.SEND and operation.type == "invoke":
                self._sent[name].append(operation)
            elif operation.type == "invoke" and (done := answers.get(operation.index)) is not None:
                if operation.action == actions.CONNECT:
                    self._connects[name].append(done)
                else:
                    self._outcomes[name, operation.backend or ""][operation.action].append(done)

    def exchange(self, service: Service) -> Exchange:
        return RecordedExchange(self._tape, service, self._outcomes[service.connection, service.backend or ""])

    async def pause(self, seconds: float) -> None:
        pass

    async def open(self, handshake: Handshake) -> Opened:
        name = handshake.name
        if not self._connects[name]:
            return Unreachable(reason=MISSING)
        done = self._connects[name].popleft()
        if done.type == "ok":
            return RecordedSocket(done, self._frames[name], self._ends.get(name), self._sent[name])
        if done.status is None:
            return Unreachable(reason=str(done.detail.get("reason", "")), operation=done.index)
        if done.status >= 1000:
            return Closed(code=done.status, error=str(done.detail.get("error", "")), operation=done.index)
        kind = Refused if done.status < 500 else Broken
        return kind(status=done.status, operation=done.index)
