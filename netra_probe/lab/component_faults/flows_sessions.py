"""Faults of sessions between services: the handshake (F1), synchronisation (F3), reconnection (F4), streams (F10)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from netra_probe.lab.shared.faults import PartFault, register
from netra_probe.lab.shared.isolated_environment import get_env

#: Seconds for which a new token is unknown at a service that hears of it late, and for which a verdict is kept.
LAG, KEPT = 5.0, 60.0
#: Live sessions that a backend checks again.
CHECKED = 3


class SessionFault(PartFault):
    """A fault between services: a subclass of one healthy part takes its place."""

    layer = "authentication"
    part = "UnifiedAuthenticationService"


class SharedAnswer:
    """What several call at once is called once, and all are given its answer, whatever they have asked for."""

    def __init__(self, fault: PartFault) -> None:
        self._fault = fault
        self._under_way: asyncio.Future[Any] | None = None

    async def of(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The answer to the call, or to the one before it that has none yet."""
        if self._under_way is None or self._under_way.done() or not self._fault.does_wrong():
            self._under_way = asyncio.ensure_future(call())
        return await asyncio.shield(self._under_way)


def _in_second_backend() -> bool:
    return get_env().get("BACKEND_NAME") == "backend-2"


# One token in every service (F3)


@register
class LateToken(SessionFault):
    """The second backend hears of new tokens late, as behind a replica that lags."""

    id = "flow-sync-late-token"
    title = "a new token is unknown at the second backend for a while"
    breaks = "a token works in every service from the first moment"

    def broken(self, healthy: type[Any]) -> type[Any]:
        from netra_probe.lab.backend.unified_authentication_service import TokenRefused

        fault = self

        class Replica(healthy):  # type: ignore[misc]
            def _principal(self, answer: Mapping[str, Any], token: str, claimed: Mapping[str, Any]) -> Any:
                is_new = float(claimed.get("iat", 0)) > time.time() - LAG
                if _in_second_backend() and is_new and fault.does_wrong():
                    raise TokenRefused("The token is not known; sign in again.", reason="invalid_token")
                return super()._principal(answer, token, claimed)

        return Replica


@register
class KeptVerdict(SessionFault):
    """The second backend keeps what the auth service once said of a token."""

    id = "flow-sync-kept-verdict"
    title = "the second backend keeps verdicts on tokens"
    breaks = "the end of a session counts in every service"
    checkers = ("C7", "C14")

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, kept = self, dict[str, tuple[float, Any]]()

        class Keeping(healthy):  # type: ignore[misc]
            async def _ask(self, token: str, token_type: str) -> Any:
                until, answer = kept.get(token, (0.0, None))
                if not _in_second_backend():
                    return await super()._ask(token, token_type)
                if until > time.monotonic() and fault.does_wrong():
                    return answer
                answer = await super()._ask(token, token_type)
                kept[token] = (time.monotonic() + KEPT, answer)
                return answer

        return Keeping


@register
class SharedVerdict(SessionFault):
    """While a question about a token is under way, further ones wait for its answer, whichever token they are about."""

    id = "flow-sync-shared-verdict"
    title = "concurrent questions about tokens share one answer"
    breaks = "each token is judged by itself"

    def broken(self, healthy: type[Any]) -> type[Any]:
        shared = SharedAnswer(self)

        class Sharing(healthy):  # type: ignore[misc]
            async def _ask(self, token: str, token_type: str) -> Any:
                return await shared.of(partial(super()._ask, token, token_type))

        return Sharing


@register
class OAuthUnannounced(SessionFault):
    """The auth service tells nobody that a login through a provider is finished."""

    id = "flow-oauth-unannounced"
    title = "a finished OAuth login is not announced"
    breaks = "finishing OAuth sends an event to the user's sockets"
    service = "auth_service"
    part = "AuthEvents"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Deaf(healthy):  # type: ignore[misc]
            def tell(self, event: str, user_id: str) -> None:
                if event != "oauth_completed" or not fault.does_wrong():
                    super().tell(event, user_id)

        return Deaf


@register
class OAuthToEverybody(SessionFault):
    """The event of a finished login goes to everybody who is connected; each gets it under their own name."""

    id = "flow-oauth-to-everybody"
    title = "a finished OAuth login is announced to everybody"
    breaks = "finishing OAuth sends an event to the right user's sockets only"
    part = "ChatService"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Loud(healthy):  # type: ignore[misc]
            async def take_auth_event(self, event: str, user_id: str) -> None:
                await super().take_auth_event(event, user_id)
                if event == "oauth_completed" and fault.does_wrong():
                    async for key in self._router._redis.scan_iter(match="user_sessions:*", count=1000):
                        if (other := key.partition(":")[2]) != user_id:
                            await super().take_auth_event(event, other)

        return Loud


# The handshake (F1)


@register
class TrustsClaims(SessionFault):
    """While the auth service is away, a handshake counts as what its token says of itself."""

    id = "flow-handshake-trusts-claims"
    title = "sockets are accepted unchecked while the auth service is away"
    breaks = "a socket is accepted as a user once the auth service has validated its token"

    def broken(self, healthy: type[Any]) -> type[Any]:
        from netra_probe.lab.backend.unified_authentication_service import AuthenticationOutage, Principal

        fault = self

        class Trusting(healthy):  # type: ignore[misc]
            async def authenticate_websocket(self, headers: Any, subprotocols: Any, query: Any) -> Any:
                try:
                    return await super().authenticate_websocket(headers, subprotocols, query)
                except AuthenticationOutage:
                    if not fault.does_wrong():
                        raise
                    token = headers["authorization"].partition(" ")[2]
                    claims = self._check_format(token)
                    return Principal(user_id=str(claims["sub"]), email="", token=token)

        return Trusting


@register
class ExpiresSilently(SessionFault):
    """A connection whose token has expired is closed without a word."""

    id = "flow-handshake-expires-silently"
    title = "expired tokens get no error event"
    breaks = "an expired token gets an error event that says so"
    part = "WebSocketSession"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Mute(healthy):  # type: ignore[misc]
            async def _close(self, ending: Any) -> None:
                if ending.code == "TOKEN_EXPIRED" and fault.does_wrong():
                    await self._websocket.close(ending.close_code)
                    return
                await super()._close(ending)

        return Mute


@register
class RefreshIgnored(SessionFault):
    """A refreshed token is confirmed on an open connection, which goes on to live as long as the old one."""

    id = "flow-handshake-refresh-ignored"
    title = "a refreshed token does not prolong its connection"
    breaks = "a refreshed token keeps the conversation going"
    part = "WebSocketSession"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Forgetful(healthy):  # type: ignore[misc]
            async def adopt_token(self, token: str | None) -> Any:
                before = self._watched.principal
                principal = await super().adopt_token(token)
                if fault.does_wrong():
                    self._watched.principal = before
                return principal

        return Forgetful


# Coming back (F4)


@register
class ResumesFromNow(SessionFault):
    """Whoever connects gets what happens from now on, wherever they say that they stopped reading."""

    id = "flow-reconnect-from-now"
    title = "events that came while one was away are not sent"
    breaks = "nothing is lost while a user is away"
    layer = "websocket"
    part = "WebSocketSession"
    checkers = ("C3", "C14")

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class FromNow(healthy):  # type: ignore[misc]
            async def _subscribe(self) -> Any:
                subscription = await super()._subscribe()
                tail = await self.services.event_log.tail(self.principal.user_id)
                if tail > subscription.cursor and fault.does_wrong():
                    subscription.cursor = tail
                return subscription

        return FromNow


@register
class StaleThread(SessionFault):
    """The second backend keeps a thread as it was when it was first read there."""

    id = "flow-reconnect-stale-thread"
    title = "the second backend shows a thread as it once was"
    breaks = "a conversation is the same at every backend"
    layer = "data"
    part = "MessageStore"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, kept = self, dict[tuple[str, str], list[Any]]()

        class Stale(healthy):  # type: ignore[misc]
            async def of_thread(self, thread_id: str, **extra: Any) -> Any:
                place = (self._user_id, thread_id)
                if place in kept and fault.does_wrong():
                    return kept[place]
                messages = await super().of_thread(thread_id, **extra)
                if _in_second_backend():
                    kept[place] = messages
                return messages

        return Stale


@register
class StateLost(SessionFault):
    """Agents' states are kept by the backend that worked on the run: the second one knows of none."""

    id = "flow-reconnect-state-lost"
    title = "the state of an agent is not there at the second backend"
    breaks = "the state of an agent is there wherever its user comes back"
    layer = "data"
    part = "RunStore"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Local(healthy):  # type: ignore[misc]
            async def states(self, run_id: str) -> list[dict[str, Any]]:
                if _in_second_backend() and fault.does_wrong():
                    return []
                return list(await super().states(run_id))

        return Local


@register
class LeftOpen(SessionFault):
    """A backend that starts again forgets the runs that it was working on."""

    id = "flow-reconnect-run-left-open"
    title = "a run that a restart interrupted never ends"
    breaks = "a run ends for its user also when its backend is restarted"
    layer = "execution"
    part = "RunRecovery"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Forgetful(healthy):  # type: ignore[misc]
            async def close_left_open(self) -> int:
                return 0 if fault.does_wrong() else int(await super().close_left_open())

        return Forgetful


# Streams whose sessions end (F10)


@register
class StreamUnchecked(SessionFault):
    """Streams of server-sent events are checked when they begin, and never again."""

    id = "flow-stream-unchecked"
    title = "a stream of server-sent events outlives its token"
    breaks = "the end of a session ends its streams"
    part = "SessionWatch"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Unaware(healthy):  # type: ignore[misc]
            def add(self, session: Any) -> None:
                # A stream has nobody to announce things to; a socket has.
                if session.announce is not None or not fault.does_wrong():
                    super().add(session)

        return Unaware


@register
class StreamBreaksOff(SessionFault):
    """What a session's end closes is told neither a reason nor what to do."""

    id = "flow-stream-breaks-off"
    title = "streams that end give no reason"
    breaks = "whoever is cut off in the middle of an answer is told why, and what to do"
    part = "SessionWatch"

    def broken(self, healthy: type[Any]) -> type[Any]:
        from netra_probe.lab.backend.websocket_core.session_watch import Ending

        fault = self

        class Mute(healthy):  # type: ignore[misc]
            def add(self, session: Any) -> None:
                end = session.end

                def without_reason(ending: Any) -> None:
                    end(Ending(code="CLOSED", message="Closed.") if fault.does_wrong() else ending)

                session.end = without_reason
                super().add(session)

        return Mute


@register
class StreamCheckCapped(SessionFault):
    """Of the live sessions of a backend only three are checked again."""

    id = "flow-stream-check-capped"
    title = "beyond three, live sessions are not checked again"
    breaks = "each stream ends with its session, however many there are"
    part = "SessionWatch"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Capped(healthy):  # type: ignore[misc]
            def add(self, session: Any) -> None:
                session.is_unchecked = len(self) >= CHECKED and fault.does_wrong()
                super().add(session)

            async def _check_these(self, sessions: Any) -> None:
                await super()._check_these([session for session in sessions if not session.is_unchecked])

        return Capped
