"""Services: the assembled backend, as routes and sockets see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netra_probe.lab.backend.agent_instance_factory import AgentInstanceFactory
from netra_probe.lab.backend.agent_registry import AgentRegistry
from netra_probe.lab.backend.agents.recovery import RunRecovery
from netra_probe.lab.backend.auth_proxy import AuthProxy
from netra_probe.lab.backend.background_worker import BackgroundWorker
from netra_probe.lab.backend.chat_service import ChatService
from netra_probe.lab.backend.control_channel import ControlChannel
from netra_probe.lab.backend.data_access_factory import DataAccessFactory
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.export_service import ExportService
from netra_probe.lab.backend.rate_limiter import RateLimiter
from netra_probe.lab.backend.settings import BackendSettings
from netra_probe.lab.backend.socket_tickets import SocketTickets
from netra_probe.lab.backend.unified_authentication_service import UnifiedAuthenticationService
from netra_probe.lab.backend.unified_websocket_auth import UnifiedWebSocketAuth
from netra_probe.lab.backend.websocket_core.event_log import EventLog
from netra_probe.lab.backend.websocket_core.session_watch import SessionWatch
from netra_probe.lab.backend.websocket_core.subscription import ConnectionHub
from netra_probe.lab.backend.websocket_event_router import WebSocketEventRouter


@dataclass(frozen=True, kw_only=True)
class Services:
    """One instance of each component of this process."""

    settings: BackendSettings
    redis: Any
    clients: tuple[Any, ...]
    authentication: UnifiedAuthenticationService
    auth_proxy: AuthProxy
    tickets: SocketTickets
    websocket_auth: UnifiedWebSocketAuth
    database: DatabaseManager
    data_access: DataAccessFactory
    event_log: EventLog
    hub: ConnectionHub
    router: WebSocketEventRouter
    watch: SessionWatch
    limiter: RateLimiter
    control: ControlChannel
    factory: AgentInstanceFactory
    registry: AgentRegistry
    recovery: RunRecovery
    chat: ChatService
    worker: BackgroundWorker
    exports: ExportService
    open_socket: Callable[..., Any]
