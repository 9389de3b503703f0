"""SessionWatch: live sockets and streams end within about a second of their token's revocation or expiry.

One loop per process asks the auth service about each distinct token, so several connections with one token cost one
question. If the auth service is silent for longer than a moment, sessions end too: nobody can vouch for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from netra_probe.lab.backend.errors import BackendError, DependencyDown
from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.backend.unified_authentication_service import Principal, TokenRefused, UnifiedAuthenticationService
from netra_probe.lab.shared.clock import clock

log = logging.getLogger(__name__)

PARALLEL_QUESTIONS = 8


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Why a session ends, and the close code for a socket."""

    code: str
    message: str
    close_code: int = 1008


EXPIRED = Ending(code="TOKEN_EXPIRED", message="Your token has expired; connect again with a refreshed one.")
REVOKED = Ending(code="TOKEN_REVOKED", message="Your token is no longer valid; sign in again.")
UNCHECKED = Ending(
    code="AUTH_SERVICE_UNAVAILABLE",
    message="Sign-in could not be checked for a while; connect again shortly.",
    close_code=1013,
)
ERASED = Ending(code="ACCOUNT_ERASED", message="Your data was erased at your request.", close_code=1000)


@dataclass(kw_only=True, eq=False)
class WatchedSession:
    """A live connection: whose it is, and how to end it."""

    principal: Principal
    end: Callable[[Ending], None]
    announce: Callable[[str], None] | None = None
    vouched: float = field(default_factory=time.monotonic)
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


class SessionWatch:
    """Checks all live sessions of this process again and again."""

    def __init__(self, authentication: UnifiedAuthenticationService, *, limits: Limits) -> None:
        self._authentication = authentication
        self._limits = limits
        self._sessions: set[WatchedSession] = set()
        self._task: asyncio.Task[None] | None = None
        self._gate = asyncio.Semaphore(PARALLEL_QUESTIONS)

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: WatchedSession) -> None:
        """Watch this session from now on."""
        self._sessions.add(session)

    def remove(self, session: WatchedSession) -> None:
        """It has ended and will touch nothing of its user any more."""
        self._sessions.discard(session)
        session.ended.set()

    def count(self, user_id: str) -> int:
        """How many live sessions a user has here."""
        return sum(session.principal.user_id == user_id for session in self._sessions)

    async def end_user(self, user_id: str, ending: Ending) -> None:
        """End all sessions of one user and wait until they have."""
        sessions = [session for session in self._sessions if session.principal.user_id == user_id]
        for session in sessions:
            session.end(ending)
        await asyncio.gather(*(session.ended.wait() for session in sessions))

    def announce(self, frame: str) -> None:
        """Tell everybody who is connected here something that concerns everybody, such as a service's outage."""
        for session in tuple(self._sessions):
            if session.announce is not None:
                session.announce(frame)

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), name="session-watch")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.reauthentication_seconds)
            try:
                await self.check_all()
            except Exception:
                log.exception("live sessions could not be checked")

    async def check_all(self) -> None:
        """Check every live session once."""
        await self._check_these(tuple(self._sessions))

    async def check_user(self, user_id: str) -> None:
        """Check the live sessions of one user now."""
        await self._check_these([session for session in self._sessions if session.principal.user_id == user_id])

    async def _check_these(self, sessions: Iterable[WatchedSession]) -> None:
        by_token: dict[str, list[WatchedSession]] = {}
        for session in sessions:
            expires_at = session.principal.expires_at
            if expires_at is not None and expires_at <= clock.now():
                session.end(EXPIRED)
            else:
                by_token.setdefault(session.principal.token, []).append(session)
        await asyncio.gather(*(self._check(token, sessions) for token, sessions in by_token.items()))

    async def _check(self, token: str, sessions: list[WatchedSession]) -> None:
        async with self._gate:
            try:
                principal = await self._authentication.authenticate_token(token)
            except DependencyDown:
                self._doubt(sessions)
                return
            except BackendError as refusal:
                expired = isinstance(refusal, TokenRefused) and "expired" in refusal.reason.lower()
                for session in sessions:
                    if session.principal.token == token:
                        session.end(EXPIRED if expired else REVOKED)
                return
        for session in sessions:
            if self._vouches(principal, session):
                session.vouched = time.monotonic()
            else:
                session.end(REVOKED)

    def _vouches(self, principal: Principal, session: WatchedSession) -> bool:
        """Whether the user of a token may keep a session alive."""
        return session.principal.user_id == principal.user_id

    def _doubt(self, sessions: list[WatchedSession]) -> None:
        oldest = time.monotonic() - self._limits.authentication_outage_seconds
        for session in sessions:
            if session.vouched < oldest:
                session.end(UNCHECKED)
