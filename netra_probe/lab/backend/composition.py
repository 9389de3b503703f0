"""The composition root of the backend: all parts by name, and how they are put together.

A fault replaces entries of `healthy_parts` before anything is built; this is the only module that names concrete
classes together. Parts are classes or factories called as below, route handlers under ``"METHOD /path"``, and
``"middleware"``, a list of ASGI middleware classes that are put around the application, the first one outermost.
"""

from __future__ import annotations

import functools
from typing import Any

import httpx

from netra_probe.lab.backend.agent_registry import AgentInstanceFactory, AgentRegistry
from netra_probe.lab.backend.agents.agent import CostSpecialist, PerformanceSpecialist, SpecialistAgent, TriageAgent
from netra_probe.lab.backend.agents.execution import AgentExecution, RunRecovery
from netra_probe.lab.backend.application import BodyLimit, NoStore, build_application
from netra_probe.lab.backend.chat_service import ChatService, ExportService
from netra_probe.lab.backend.circuit_breakers import DatabaseBreaker, ModelBreaker
from netra_probe.lab.backend.data.owned_store import ThreadMemory, UserCache
from netra_probe.lab.backend.data.profile import ExportStore, ProfileStore, SpendStore
from netra_probe.lab.backend.data.runs import RunStore
from netra_probe.lab.backend.data.threads import MessageStore, ThreadStore
from netra_probe.lab.backend.data_access_factory import DataAccessFactory, StoreClasses
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.dialects.installing import install_variant
from netra_probe.lab.backend.idempotency import IdempotentPosts, KeptAnswers
from netra_probe.lab.backend.llm_manager import LLMManager
from netra_probe.lab.backend.process_resources import (
    BackgroundWorker,
    ControlChannel,
    RateLimiter,
    connect_redis,
)
from netra_probe.lab.backend.requests import Services, current_caller
from netra_probe.lab.backend.routes import AUTH_EVENTS, ROUTES, UNLISTED, auth_event
from netra_probe.lab.backend.settings import SETTINGS, BackendSettings
from netra_probe.lab.backend.tool_connections import ToolConnections, ToolServer
from netra_probe.lab.backend.tools import TOOLS, ToolExecutionEngine, UnifiedToolDispatcher
from netra_probe.lab.backend.unified_authentication_service import (
    AuthProxy,
    SocketTickets,
    UnifiedAuthenticationService,
    UnifiedWebSocketAuth,
)
from netra_probe.lab.backend.user_execution_context import UserExecutionContext, new_run_id
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter
from netra_probe.lab.backend.websocket_core import frames
from netra_probe.lab.backend.websocket_core.client_messages import ClientMessages
from netra_probe.lab.backend.websocket_core.session_watch import SessionWatch
from netra_probe.lab.backend.websocket_core.websocket_session import WebSocketSession
from netra_probe.lab.backend.websocket_event_router import ConnectionHub, EventLog, WebSocketEventRouter
from netra_probe.lab.shared.faults import Parts, install_faults
from netra_probe.lab.shared.isolated_environment import get_env
from netra_probe.lab.shared.live_configuration import LiveConfiguration
from netra_probe.lab.shared.operator_routes import environment_route, reload_route

KEEP_ALIVE_SECONDS = 3.0
"""Shorter than the five seconds after which our servers close idle connections, so none is reused as it closes."""


def healthy_parts() -> Parts:
    """Every replaceable part in its healthy form."""
    return Parts(
        {
            "UnifiedAuthenticationService": UnifiedAuthenticationService,
            "UnifiedWebSocketAuth": UnifiedWebSocketAuth,
            "SocketTickets": SocketTickets,
            "AuthProxy": AuthProxy,
            "UserExecutionContext": UserExecutionContext,
            "new_run_id": new_run_id,
            "UnifiedToolDispatcher": UnifiedToolDispatcher,
            "ToolExecutionEngine": ToolExecutionEngine,
            "ToolConnections": ToolConnections,
            "ToolServer": ToolServer,
            "LLMManager": LLMManager,
            "ModelBreaker": ModelBreaker,
            "DataAccessFactory": DataAccessFactory,
            "AgentInstanceFactory": AgentInstanceFactory,
            "AgentRegistry": AgentRegistry,
            "UserWebSocketEmitter": UserWebSocketEmitter,
            "WebSocketEventRouter": WebSocketEventRouter,
            "DatabaseManager": DatabaseManager,
            "DatabaseBreaker": DatabaseBreaker,
            "connect_redis": connect_redis,
            "ThreadStore": ThreadStore,
            "MessageStore": MessageStore,
            "RunStore": RunStore,
            "ProfileStore": ProfileStore,
            "SpendStore": SpendStore,
            "ExportStore": ExportStore,
            "ThreadMemory": ThreadMemory,
            "UserCache": UserCache,
            "AgentExecution": AgentExecution,
            "RunRecovery": RunRecovery,
            "ChatService": ChatService,
            "BackgroundWorker": BackgroundWorker,
            "ExportService": ExportService,
            "ControlChannel": ControlChannel,
            "RateLimiter": RateLimiter,
            "EventLog": EventLog,
            "ConnectionHub": ConnectionHub,
            "KeptAnswers": KeptAnswers,
            "SessionWatch": SessionWatch,
            "ClientMessages": ClientMessages,
            "WebSocketSession": WebSocketSession,
            "agents": {
                agent.name: agent for agent in (TriageAgent, CostSpecialist, PerformanceSpecialist, SpecialistAgent)
            },
            "tools": TOOLS,
            "current_caller": current_caller,
            "middleware": [NoStore, BodyLimit, IdempotentPosts],
            **ROUTES,
            **UNLISTED,
            f"POST {AUTH_EVENTS}": auth_event,
        }
    )


def connect_http(base_url: str, timeout: float) -> httpx.AsyncClient:
    """A client for another service."""
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=timeout,
        trust_env=False,
        verify=base_url.startswith("https:"),  # reading all authorities is a tenth of the CPU of a service's start
        limits=httpx.Limits(max_connections=100, keepalive_expiry=KEEP_ALIVE_SECONDS),
    )


def assemble(parts: Parts, settings: BackendSettings) -> Services:
    """Build the components of one process; nothing is connected yet."""
    limits = settings.limits
    redis = parts["connect_redis"](settings)
    auth_client = connect_http(settings.auth_service_url, limits.authentication_timeout)
    model_client = connect_http(settings.llm_service_url, limits.model_timeout)
    authentication = parts["UnifiedAuthenticationService"](
        auth_client, service_id=settings.service_id, service_secret=settings.service_secret
    )
    watch = parts["SessionWatch"](authentication, limits=limits)
    database = parts["DatabaseManager"](
        settings.database_url,
        name=settings.name,
        limits=limits,
        breaker=parts["DatabaseBreaker"](lambda event: watch.announce(frames.system_frame(event, service="database"))),
    )
    data_access = parts["DataAccessFactory"](
        database=database, redis=redis, limits=limits, stores=_store_classes(parts)
    )
    hub = parts["ConnectionHub"]()
    event_log = parts["EventLog"](redis, limits=limits)
    router = parts["WebSocketEventRouter"](redis=redis, log=event_log, hub=hub, backend=settings.name)
    control = parts["ControlChannel"](redis=redis)
    breaker = parts["ModelBreaker"](lambda event: watch.announce(frames.system_frame(event, service="language_model")))
    factory = _agent_factory(
        parts, data_access=data_access, router=router, redis=redis, client=model_client, breaker=breaker, limits=limits
    )
    registry = parts["AgentRegistry"](factory, limits=limits)
    chat = parts["ChatService"](
        data_access=data_access,
        registry=registry,
        execution=parts["AgentExecution"](registry=registry, data_access=data_access),
        router=router,
        control=control,
        watch=watch,
        limits=limits,
        backend=settings.name,
        context_class=parts["UserExecutionContext"],
        mint_run_id=parts["new_run_id"],
    )
    recovery = parts["RunRecovery"](
        database=database,
        data_access=data_access,
        event_log=event_log,
        make_emitter=factory.make_emitter,
        backend=settings.name,
    )
    tickets = parts["SocketTickets"](redis)
    worker = parts["BackgroundWorker"](limits=limits)
    exports = parts["ExportService"](
        database=database, data_access=data_access, worker=worker, router=router, backend=settings.name
    )
    return Services(
        settings=settings,
        redis=redis,
        clients=(redis, auth_client, model_client),
        authentication=authentication,
        auth_proxy=parts["AuthProxy"](
            auth_client, service_id=settings.service_id, service_secret=settings.service_secret
        ),
        tickets=tickets,
        websocket_auth=parts["UnifiedWebSocketAuth"](
            authentication, frontend_url=settings.frontend_url, tickets=tickets
        ),
        database=database,
        data_access=data_access,
        event_log=event_log,
        hub=hub,
        router=router,
        watch=watch,
        limiter=parts["RateLimiter"](redis, window_seconds=limits.quota_window_seconds),
        kept_answers=parts["KeptAnswers"](redis),
        control=control,
        factory=factory,
        registry=registry,
        recovery=recovery,
        chat=chat,
        worker=worker,
        exports=exports,
        open_socket=functools.partial(parts["WebSocketSession"], messages=parts["ClientMessages"]()),
    )


def create_app() -> Any:
    """The application of one backend process, with the variant and the faults that the environment selects."""
    live = LiveConfiguration("backend", SETTINGS, process=get_env().get("BACKEND_NAME") or "backend")
    settings = BackendSettings.of(live.manager)
    parts = healthy_parts()
    install_variant(parts, server=settings.name)
    faults = install_faults(parts, "backend", process=settings.name)
    app = build_application(assemble(parts, settings), parts, faults)
    app.router.routes.append(reload_route(live))
    app.router.routes.append(environment_route())
    return app


def _store_classes(parts: Parts) -> StoreClasses:
    return StoreClasses(
        threads=parts["ThreadStore"],
        messages=parts["MessageStore"],
        runs=parts["RunStore"],
        profile=parts["ProfileStore"],
        spend=parts["SpendStore"],
        exports=parts["ExportStore"],
        memory=parts["ThreadMemory"],
        cache=parts["UserCache"],
    )


def _agent_factory(parts: Parts, *, data_access: Any, router: Any, **model: Any) -> Any:
    def make_emitter(context: UserExecutionContext) -> Any:
        return parts["UserWebSocketEmitter"](context, router, context.websocket_client_id)

    return parts["AgentInstanceFactory"](
        agents=parts["agents"],
        tools=parts["tools"],
        engine=parts["ToolExecutionEngine"](data_access, parts["ToolConnections"](parts["ToolServer"]())),
        data_access=data_access,
        make_emitter=make_emitter,
        make_model=functools.partial(parts["LLMManager"], **model),
        dispatcher=parts["UnifiedToolDispatcher"],
    )
