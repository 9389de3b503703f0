"""Put a variant's parts in the place of the healthy ones, before faults are installed on top."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from netra_probe.lab.backend.dialects.boundary import SocketBoundary
from netra_probe.lab.backend.dialects.breaker import with_breaker
from netra_probe.lab.backend.dialects.envelopes import NAMES_ITS_USER, USER_CONTEXT
from netra_probe.lab.backend.dialects.identity import hand_out_identities, share_identity
from netra_probe.lab.shared.faults import Parts
from netra_probe.lab.shared.isolated_environment import get_env
from netra_probe.lab.shared.variant import Variant

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
