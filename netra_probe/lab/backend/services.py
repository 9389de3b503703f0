"""Services: the assembled backend, as routes and sockets see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .agent_instance_factory import AgentInstanceFactory
from .agent_registry import AgentRegistry
from .agents.recovery import RunRecovery
from .auth_proxy import AuthProxy
from .background_worker import BackgroundWorker
from .chat_service import ChatService
from .control_channel import ControlChannel
from .data_access_factory import DataAccessFactory
from .database_manager import DatabaseManager
from .export_service import ExportService
from .rate_limiter import RateLimiter
from .settings import BackendSettings
from .socket_tickets import SocketTickets
from .unified_authentication_service import UnifiedAuthenticationService
from .unified_websocket_auth import UnifiedWebSocketAuth
from .websocket_core.event_log import EventLog
from .websocket_core.session_watch import SessionWatch
from .websocket_core.subscription import ConnectionHub
from .websocket_event_router import WebSocketEventRouter


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
