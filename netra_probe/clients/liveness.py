"""What is known of the sockets of a target so far: whether they live on, and whether they are greeted."""

from __future__ import annotations

from dataclasses import replace

from netra_probe.clients.replies import Timeouts

#: Sockets let in without a welcome, and none with one, after which nobody waits for long.
UNWELCOMED = 2
#: Seconds that a dead socket is given to answer a close.
DEAD_CLOSE = 0.25


class LivenessModel:
    """What earlier sockets have shown, by backend; one for all sockets of an investigation.

    A socket may answer in its first second and never again (netra-wire §1). Until one of a backend has answered when it
    was older than that, none of them is believed before.
    """

    def __init__(self) -> None:
        self._lasting: set[str | None] = set()
        self._dead: set[str | None] = set()
        self._greeted = self._ignored = 0

    def lasts(self, backend: str | None) -> bool:
        """Whether some socket of the backend has answered after its first moments."""
        return backend in self._lasting

    def learn(self, backend: str | None, *, answered: bool) -> None:
        """Take in whether a socket that was old enough answered."""
        (self._lasting if answered else self._dead).add(backend)

    def greeted(self, welcomed: bool) -> None:
        """Take in whether a socket that was let in was also welcomed."""
        self._greeted += welcomed
        self._ignored += not welcomed

    def is_dead(self, backend: str | None) -> bool:
        """Whether sockets of the backend are known to be dead, and none to live."""
        return backend in self._dead and backend not in self._lasting

    def pong(self, backend: str | None, timeouts: Timeouts) -> float:
        """How long to wait for a pong: less where sockets are dead."""
        return min(timeouts.pong, timeouts.settle) if self.is_dead(backend) else timeouts.pong

    def close(self, backend: str | None, timeouts: Timeouts) -> float:
        """How long to wait for a closing handshake, likewise."""
        return min(timeouts.close, DEAD_CLOSE) if self.is_dead(backend) else timeouts.close

    def opening(self, timeouts: Timeouts) -> Timeouts:
        """How long to wait for a welcome: less where nobody is welcomed."""
        if self._greeted or self._ignored < UNWELCOMED:
            return timeouts
        return replace(timeouts, welcome=min(timeouts.welcome, timeouts.settle))
