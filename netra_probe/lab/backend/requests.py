"""A request: who sent it, what it may carry, the backend behind it, and work that lasts while its client waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import AliasChoices, BaseModel, Field

from netra_probe.lab.backend.agent_registry import AgentInstanceFactory, AgentRegistry
from netra_probe.lab.backend.agents.execution import RunRecovery
from netra_probe.lab.backend.chat_service import MAX_REQUEST, ChatService, ExportService
from netra_probe.lab.backend.data.threads import MAX_CONTENT
from netra_probe.lab.backend.data_access_factory import DataAccessFactory, UserData
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.errors import BackendError
from netra_probe.lab.backend.idempotency import KeptAnswers
from netra_probe.lab.backend.process_resources import BackgroundWorker, ControlChannel, RateLimiter
from netra_probe.lab.backend.settings import BackendSettings
from netra_probe.lab.backend.unified_authentication_service import (
    AuthProxy,
    Principal,
    SocketTickets,
    UnifiedAuthenticationService,
    UnifiedWebSocketAuth,
    bearer_token,
)
from netra_probe.lab.backend.websocket_core.session_watch import SessionWatch
from netra_probe.lab.backend.websocket_event_router import ConnectionHub, EventLog, WebSocketEventRouter

ShortText = Annotated[str, Field(max_length=500)]


class ThreadBody(BaseModel):
    """Title and metadata of a thread."""

    title: ShortText | None = None
    metadata: dict[str, Any] | None = None


class MessageBody(BaseModel):
    """A message for a thread."""

    content: Annotated[
        str, Field(min_length=1, max_length=MAX_CONTENT, validation_alias=AliasChoices("content", "message", "text"))
    ]
    metadata: dict[str, Any] | None = None


class ChatMessageBody(MessageBody):
    """A message for a thread named in the body, or for a new one."""

    thread_id: str | None = None


class RunBody(BaseModel):
    """What agents shall work on."""

    request: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_REQUEST,
            validation_alias=AliasChoices("user_request", "message", "content", "request", "text"),
        ),
    ]
    thread_id: str | None = None
    references: Annotated[list[str], Field(max_length=20)] = []


class ProfileBody(BaseModel):
    """What a user may change about themselves."""

    name: ShortText | None = None
    preferences: dict[str, Any] | None = None


class SpendBody(BaseModel):
    """One spend record."""

    service: Annotated[str, Field(min_length=1, max_length=500)]
    amount_usd: Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=2)]
    note: Annotated[str, Field(max_length=2000)] = ""


class SpendBatchBody(BaseModel):
    """Several spend records, to be kept together or not at all."""

    records: Annotated[list[SpendBody], Field(min_length=1, max_length=200)]


class CreditsBody(BaseModel):
    """Credits to use up."""

    amount: Annotated[int, Field(gt=0, le=1_000_000)]
    reason: ShortText = ""


class ExportBody(BaseModel):
    """What an export shall be called."""

    label: ShortText = ""


class ToolBody(BaseModel):
    """A tool and its parameters."""

    tool_name: Annotated[str, Field(max_length=200, validation_alias=AliasChoices("tool_name", "name", "tool"))]
    parameters: dict[str, Any] = {}


T = TypeVar("T")


class ClientGone(BackendError):
    """The client hung up; nobody reads the answer that says so."""

    status = 499
    code = "CLIENT_CLOSED_REQUEST"


async def while_client_waits(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; when the client hangs up before, the work is cancelled where it stands.

    For reads, and for writes that are one transaction: what a cancelled transaction did is undone.

    Raises:
        ClientGone: the client has hung up, and the work has ended.
    """
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait((task,))
        if task.cancelled():
            raise ClientGone("The client hung up.")
        return task.result()
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _hang_up(request: Request) -> None:
    """Return when the client has closed the connection; its request has been read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


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
    kept_answers: KeptAnswers
    control: ControlChannel
    factory: AgentInstanceFactory
    registry: AgentRegistry
    recovery: RunRecovery
    chat: ChatService
    worker: BackgroundWorker
    exports: ExportService
    open_socket: Callable[..., Any]


def services_of(request: Request) -> Services:
    """The assembled backend behind this request."""
    services: Services = request.app.state.services
    return services


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever sent this request, as the auth service says."""

    principal: Principal
    services: Services
    data: UserData

    async def ensure_profile(self) -> None:
        """Make the caller's row and seed their data, before their first write."""
        await self.data.profile.ensure(self.principal.email)


async def current_caller(request: Request) -> Caller:
    """Authenticate the request and count it against the caller's quota."""
    services = services_of(request)
    principal = await services.authentication.authenticate_token(bearer_token(request.headers.get("authorization")))
    limits = services.settings.limits
    await services.limiter.check(principal.user_id, "rest", limit=limits.rest_requests)
    thread_id: Any = request.path_params.get("thread_id")
    data = services.chat.data_of(principal, thread_id=thread_id if is_plain_id(thread_id) else None)
    return Caller(principal=principal, services=services, data=data)


def is_plain_id(value: object) -> bool:
    """True for something shaped like one of our thread ids."""
    return isinstance(value, str) and value.startswith("thread_") and value.isidentifier()


CurrentCaller = Annotated[Caller, Depends(current_caller)]
AnyServices = Annotated[Services, Depends(services_of)]
