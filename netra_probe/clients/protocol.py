"""A WebSocket of the platform as its frames tell it, without I/O and without a clock.

Frames and times go in; what they mean comes out: welcomed or refused, alive or late, why it ended.
``clients.websocket`` reads the frames, waits, and sends what is to be answered.

>>> from netra_probe.history.frames import read_frame
>>> socket = SocketProtocol(now=0.0)
>>> socket.feed(read_frame('{"type":"ping"}'))
('{"type":"pong"}',)
>>> socket.feed(read_frame('{"type":"connection_established","user_id":"u1"}'))
()
>>> socket.phase, socket.welcome
(<Phase.WELCOMED: 'welcomed'>, <Frame connection_established u1>)
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from netra_probe.clients.liveness import LivenessModel
from netra_probe.clients.replies import Timeouts
from netra_probe.history.frames import Frame
from netra_probe.history.runs import is_of_a_run

PING, PONG = '{"type":"ping"}', '{"type":"pong"}'
#: Without a closing handshake a connection ends with this code.
CUT = 1006
#: An error that says why is among so many frames before the close.
LAST_WORDS = 3


class Phase(StrEnum):
    """Where a connection is that the handshake has let in."""

    #: The welcome, or the refusal, is to come.
    GREETING = "greeting"
    #: An error came instead of a welcome: the close is to follow.
    REFUSING = "refusing"
    WELCOMED = "welcomed"
    #: Open, though no welcome came in time.
    UNWELCOMED = "unwelcomed"
    #: Closed before it was open.
    REFUSED = "refused"
    CLOSED = "closed"


class SocketProtocol:
    """One connection.

    Arguments:
        now: when the handshake let it in, in seconds of any clock.
        backend: where it goes.
        model: what earlier sockets of the target have shown.
    """

    def __init__(
        self,
        *,
        now: float,
        timeouts: Timeouts | None = None,
        backend: str | None = None,
        model: LivenessModel | None = None,
    ) -> None:
        self._model = model or LivenessModel()
        self._backend = backend
        self._opened_at = now
        self._last = deque[Frame](maxlen=LAST_WORDS)
        #: For each ping that is not answered: whether the connection had settled by then.
        self._pings: deque[bool] = deque()
        self._carried_a_run = False
        self.timeouts = self._model.opening(timeouts or Timeouts())
        self.phase = Phase.GREETING
        self.welcome: Frame | None = None
        #: Whether the last ping was answered in time; ``None`` while that is open.
        self.alive: bool | None = None
        #: How it ended: the code, why, and who ended it.
        self.code: int | None = None
        self.error = ""
        self.leaving = False

    def feed(self, frame: Frame) -> tuple[str, ...]:
        """A frame has come; returns what is to be sent at once."""
        self._last.append(frame)
        self._carried_a_run = self._carried_a_run or is_of_a_run(frame)
        if frame.name == "pong" and self._pings:
            self.alive = True
            if any(self._pings):
                self._model.learn(self._backend, answered=True)
            self._pings.clear()
        if self.phase is Phase.GREETING:
            if frame.name == "connection_established":
                self.welcome = frame
                self._open(Phase.WELCOMED)
            elif frame.name == "error":
                self.phase = Phase.REFUSING
        return (PONG,) if frame.name == "ping" else ()

    # Opening

    @property
    def is_opening(self) -> bool:
        """Whether it is still to be seen if the connection is welcomed."""
        return self.phase in (Phase.GREETING, Phase.REFUSING)

    @property
    def patience(self) -> float:
        """Seconds to wait for what opens the connection, or closes it."""
        return self.timeouts.welcome if self.phase is Phase.GREETING else self.timeouts.close

    def give_up(self) -> None:
        """Nothing came in time: it is open, and nobody was greeted."""
        if self.is_opening:
            self._open(Phase.UNWELCOMED)

    def _open(self, phase: Phase) -> None:
        self.phase = phase
        self._model.greeted(phase is Phase.WELCOMED)

    # Signs of life

    def settling(self, now: float) -> float:
        """Seconds until a ping proves something: a pong in the first moments proves nothing (netra-wire §1).

        None are needed once it has carried an event of a run where another socket of the backend has outlived them.
        """
        if self._carried_a_run and self._model.lasts(self._backend):
            return 0.0
        return max(0.0, self._opened_at + self.timeouts.settle - now)

    def settles(self, frame: Frame) -> bool:
        """Whether a frame that comes while one waits makes the rest of it unnecessary."""
        return is_of_a_run(frame) and self._model.lasts(self._backend)

    def ping(self, now: float) -> float:
        """A ping is sent now; returns in how many seconds its pong is late."""
        self.alive = None
        self._pings.append(now - self._opened_at >= self.timeouts.settle)
        return self._model.pong(self._backend, self.timeouts)

    def late(self) -> None:
        """No pong came in time."""
        if self._pings:
            self.alive = False
            if self._pings.popleft():
                self._model.learn(self._backend, answered=False)

    # The end

    def leave(self) -> float:
        """We end it; returns how long the closing handshake may take."""
        self.leaving = True
        return self._model.close(self._backend, self.timeouts)

    def end(self, code: int | None, reason: str) -> None:
        """The connection is gone. An error frame just before the close says why better than the close does."""
        if self.code is not None:
            return
        last = next((frame for frame in reversed(self._last) if frame.name == "error"), None)
        self.code = code or CUT
        self.error = str(last.body.get("error_code") or last.body.get("code") or "") if last else reason
        self.phase = Phase.REFUSED if self.is_opening else Phase.CLOSED
