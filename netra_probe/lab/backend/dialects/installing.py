"""How a variant is put around the healthy parts: the boundary, the breaker and how a socket says who it is."""

from __future__ import annotations

import dataclasses
import functools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.websockets import WebSocket

from netra_probe.lab.backend.dialects.boundary import SocketBoundary
from netra_probe.lab.backend.dialects.envelopes import NAMES_ITS_USER, USER_CONTEXT
from netra_probe.lab.backend.errors import BackendError, Forbidden, NotFound
from netra_probe.lab.shared.faults import Parts
from netra_probe.lab.shared.isolated_environment import get_env
from netra_probe.lab.shared.variant import Variant

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 30.0


class BreakerOpen(BackendError):
    """The handshake is shut for everybody, whatever their token."""

    status = 403
    code = "AUTH_CIRCUIT_BREAKER_OPEN"


def with_breaker(healthy: type[Any]) -> type[Any]:
    """The healthy gate behind a breaker that counts refusals of whoever comes, and forgets them when one is let in."""

    class ImpatientWebSocketAuth(healthy):  # type: ignore[misc]
        """Shuts out everybody for 30 s after five refusals in a row."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._failures = 0
            self._shut_until = 0.0

        async def _identify(self, websocket: WebSocket, offered: Sequence[str]) -> Any:
            if time.monotonic() < self._shut_until:
                raise BreakerOpen("Too many failed handshakes; try again in half a minute.")
            try:
                principal = await super()._identify(websocket, offered)
            except BackendError:
                self._failures += 1
                if self._failures >= FAILURES_TO_OPEN:
                    self._failures, self._shut_until = 0, time.monotonic() + OPEN_SECONDS
                raise
            self._failures = 0
            return principal

    return ImpatientWebSocketAuth


SHARED = "demo-user-001"


def share_identity(parts: Parts) -> None:
    """Bind every socket to one and the same user."""
    _bind(parts, lambda: SHARED)


def hand_out_identities(parts: Parts) -> None:
    """Bind every socket to a user made up for it."""
    _bind(parts, lambda: f"demo-user-{secrets.token_hex(4)}")


def _bind(parts: Parts, choose: Callable[[], str]) -> None:
    gate: type[Any] = parts["UnifiedWebSocketAuth"]
    watch: type[Any] = parts["SessionWatch"]
    session_class: type[Any] = parts["WebSocketSession"]
    messages: type[Any] = parts["ClientMessages"]

    class DemonstrationAuth(gate):  # type: ignore[misc]
        async def authenticate(self, websocket: Any) -> Any:
            principal = await super().authenticate(websocket)
            return None if principal is None else _as_somebody_else(principal, choose())

    class DemonstrationWatch(watch):  # type: ignore[misc]
        def _vouches(self, principal: Any, session: Any) -> bool:
            return True  # the token says whether a socket may live, and no longer whose it is

    class DemonstrationSession(session_class):  # type: ignore[misc]
        async def adopt_token(self, token: str | None) -> Any:
            principal = await self.services.authentication.authenticate_token(token)
            self._watched.principal = _as_somebody_else(principal, self.principal.user_id)
            return principal

    class DemonstrationMessages(messages):  # type: ignore[misc]
        async def start_run(self, session: Any, message: Any) -> None:
            try:
                await super().start_run(session, message)
            except (Forbidden, NotFound):  # the thread is the token's user's: go on in a new one
                await super().start_run(session, dataclasses.replace(message, thread_id=None))

    parts["UnifiedWebSocketAuth"] = DemonstrationAuth
    parts["SessionWatch"] = DemonstrationWatch
    parts["WebSocketSession"] = DemonstrationSession
    parts["ClientMessages"] = DemonstrationMessages


def _as_somebody_else(principal: Any, user_id: str) -> Any:
    return dataclasses.replace(principal, user_id=user_id, email=f"{user_id}@netra-lab.example")


VARIABLE = "LAB_VARIANT"
"""Where a backend finds its variant, as `Variant.to_text` writes it."""

_MUTE = ("start_agent", "user_message", "chat")


def install_variant(parts: Parts, *, server: str) -> Variant:
    """Install the variant that the environment names in the parts of the backend process `server`."""
    variant = Variant.from_text(get_env().get(VARIABLE) or "")
    if variant.identity == "demo-user":
        share_identity(parts)
    elif variant.identity == "demo-users":
        hand_out_identities(parts)
    if variant.breaker:
        parts["UnifiedWebSocketAuth"] = with_breaker(parts["UnifiedWebSocketAuth"])
    if variant.only_agent_request:
        parts["ClientMessages"] = _mute(parts["ClientMessages"])
    if variant.dialect in NAMES_ITS_USER:
        parts["UserWebSocketEmitter"] = _naming(parts["UserWebSocketEmitter"])
    if {"dialect", "handshake", "welcome", "zombie"} & set(variant.differences()):
        boundary = functools.partial(SocketBoundary, variant=variant, server=server)
        parts["middleware"] = [boundary, *parts["middleware"]]
    return variant


def _mute(healthy: type[Any]) -> type[Any]:
    class OnlyAgentRequest(healthy):  # type: ignore[misc]
        """Starts runs for ``agent_request`` only, and acknowledges all else."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.handlers |= dict.fromkeys(_MUTE, self.acknowledge)

    return OnlyAgentRequest


def _naming(healthy: type[Any]) -> type[Any]:
    class NamingEmitter(healthy):  # type: ignore[misc]
        """Leaves word of whose event it is, where it is made: a stray copy still names its owner."""

        def _event(self, kind: str, agent_name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
            event: dict[str, Any] = super()._event(kind, agent_name, payload)
            context = self.context
            return {**event, USER_CONTEXT: {"user_id": context.user_id, "request_id": context.request_id}}

    return NamingEmitter
