"""The handlers, and the table ``"METHOD /path"`` → handler; each entry is a part that a fault can replace."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from netra_probe.lab.backend.chat_service import ChatRequest
from netra_probe.lab.backend.errors import NotAuthenticated
from netra_probe.lab.backend.requests import (
    AnyServices,
    Caller,
    ChatMessageBody,
    CreditsBody,
    CurrentCaller,
    ExportBody,
    MessageBody,
    ProfileBody,
    RunBody,
    Services,
    SpendBatchBody,
    SpendBody,
    ThreadBody,
    ToolBody,
    while_client_waits,
)
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.websocket_core.websocket_session import RunStream

VERSION = "1.0.0"


async def health(services: AnyServices) -> JSONResponse:
    """503 while PostgreSQL or Redis does not answer; ``degraded`` while nobody can sign in."""
    postgres, redis, auth = await asyncio.gather(
        services.database.health(), _redis_health(services), services.authentication.health()
    )
    stores_answer = postgres["status"] == redis["status"] == "healthy"
    status = "unhealthy" if not stores_answer else "healthy" if auth["status"] == "healthy" else "degraded"
    body = {
        "status": status,
        "service": "backend",
        "backend": services.settings.name,
        "version": VERSION,
        "dependencies": {"postgresql": postgres, "redis": redis, "auth_service": auth},
    }
    return JSONResponse(body, status_code=200 if stores_answer else 503)


async def live(services: AnyServices) -> dict[str, Any]:
    """The process answers."""
    return {"status": "alive", "service": "backend", "backend": services.settings.name, "version": VERSION}


async def _redis_health(services: Services) -> dict[str, Any]:
    try:
        async with asyncio.timeout(2.0):
            await services.redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return {"status": "unhealthy", "error": type(error).__name__}
    return {"status": "healthy"}


async def issue_ticket(caller: CurrentCaller) -> dict[str, Any]:
    """A ticket that opens one socket as the caller: ``/ws?ticket=…``, once, within half a minute."""
    ticket = await caller.services.tickets.issue(caller.principal)
    return {
        "ticket_id": ticket.ticket_id,
        "expires_at": datetime.fromtimestamp(ticket.expires_at, UTC).isoformat(),
        "single_use": True,
        "websocket_path": "/ws",
    }


PREFIXES: Final = ("/api/v1/auth", "/auth")


class RegistrationBody(BaseModel):
    """A new account."""

    email: Annotated[str, Field(max_length=1000)]
    password: Annotated[str, Field(max_length=1000)]
    name: Annotated[str, Field(max_length=1000)] | None = None


class CredentialsBody(BaseModel):
    """An address and its password."""

    email: Annotated[str, Field(max_length=1000)]
    password: Annotated[str, Field(max_length=1000)]


async def register(request: Request, services: AnyServices, body: RegistrationBody) -> JSONResponse:
    """Make an account and log it in."""
    return await _pass_on(request, services, "POST", "/auth/register", body.model_dump(exclude_none=True))


async def log_in(request: Request, services: AnyServices, body: CredentialsBody) -> JSONResponse:
    """Log in with a password."""
    return await _pass_on(request, services, "POST", "/auth/login", body.model_dump())


async def dev_login(request: Request, services: AnyServices) -> JSONResponse:
    """Tokens of the development user, where that is switched on."""
    return await _pass_on(request, services, "POST", "/auth/dev/login", {})


async def log_out(request: Request, services: AnyServices) -> JSONResponse:
    """Revoke the caller's token and end its session."""
    return await _pass_on(request, services, "POST", "/auth/logout", {})


async def config(request: Request, services: AnyServices) -> JSONResponse:
    """What a front end needs to offer a login."""
    return await _pass_on(request, services, "GET", "/auth/config", None)


async def _pass_on(request: Request, services: AnyServices, method: str, path: str, body: Any) -> JSONResponse:
    answer = await services.auth_proxy.send(
        method,
        path,
        address=request.client.host if request.client else "",
        user_agent=request.headers.get("user-agent", ""),
        authorization=request.headers.get("authorization") if path == "/auth/logout" else None,
        body=body,
    )
    return JSONResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))


_HANDLERS: Final[dict[str, Callable[..., Any]]] = {
    "POST {}/register": register,
    "POST {}/login": log_in,
    "POST {}/dev_login": dev_login,
    "POST {}/logout": log_out,
    "GET {}/config": config,
}
AUTH_ROUTES: Final[dict[str, Callable[..., Any]]] = {
    key.format(prefix): handler for prefix in PREFIXES for key, handler in _HANDLERS.items()
}


Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]


async def list_threads(
    request: Request, caller: CurrentCaller, limit: Limit = 50, offset: Offset = 0
) -> list[dict[str, Any]]:
    """The caller's threads, newest first."""
    return await while_client_waits(request, caller.data.threads.list(limit=limit, offset=offset))


async def count_threads(caller: CurrentCaller) -> dict[str, int]:
    """How many threads the caller has."""
    return {"count": await caller.data.threads.count()}


async def create_thread(caller: CurrentCaller, body: ThreadBody | None = None) -> dict[str, Any]:
    """A new thread of the caller."""
    body = body or ThreadBody()
    return await caller.services.chat.create_thread(caller.principal, title=body.title, metadata=body.metadata)


async def get_thread(caller: CurrentCaller, thread_id: str) -> dict[str, Any]:
    """One thread."""
    return await caller.data.threads.get(thread_id)


async def update_thread(caller: CurrentCaller, thread_id: str, body: ThreadBody) -> dict[str, Any]:
    """Rename a thread or change its metadata."""
    return await caller.services.chat.update_thread(
        caller.principal, thread_id, title=body.title, metadata=body.metadata
    )


async def delete_thread(caller: CurrentCaller, thread_id: str) -> dict[str, Any]:
    """Delete a thread."""
    await caller.data.threads.delete(thread_id)
    return {"id": thread_id, "deleted": True}


async def list_thread_messages(
    caller: CurrentCaller, thread_id: str, limit: Limit = 100, offset: Offset = 0
) -> dict[str, Any]:
    """The messages of one thread, oldest first."""
    messages = await caller.data.messages.of_thread(thread_id, limit=limit, offset=offset)
    return {"thread_id": thread_id, "messages": messages}


async def add_thread_message(caller: CurrentCaller, thread_id: str, body: MessageBody) -> dict[str, Any]:
    """Append a message to a thread; no agent is started."""
    return await caller.data.messages.add(thread_id, role="user", content=body.content, metadata=body.metadata)


async def export_thread(caller: CurrentCaller, thread_id: str) -> dict[str, Any]:
    """One thread with its messages in one document; left over from an older front end, and in no description."""
    thread = await caller.data.threads.get(thread_id)
    return {**thread, "messages": await caller.data.messages.of_thread(thread_id, limit=500)}


async def list_messages(
    caller: CurrentCaller, thread_id: str | None = None, limit: Limit = 50, offset: Offset = 0
) -> dict[str, Any]:
    """The caller's messages, of one thread or of all."""
    if thread_id is not None:
        return {"messages": await caller.data.messages.of_thread(thread_id, limit=limit, offset=offset)}
    return {"messages": await caller.data.messages.recent(limit=limit, offset=offset)}


async def create_message(caller: CurrentCaller, body: ChatMessageBody) -> dict[str, Any]:
    """Store a message in a thread of the caller, or in a new one; no agent is started."""
    thread_id = body.thread_id
    if thread_id is None:
        thread_id = (await caller.services.chat.create_thread(caller.principal))["id"]
    return await caller.data.messages.add(thread_id, role="user", content=body.content, metadata=body.metadata)


async def get_message(caller: CurrentCaller, message_id: str) -> dict[str, Any]:
    """One message."""
    return await caller.data.messages.get(message_id)


async def delete_message(caller: CurrentCaller, message_id: str) -> dict[str, Any]:
    """Delete one message."""
    await caller.data.messages.delete(message_id)
    return {"id": message_id, "deleted": True}


async def search_messages(
    request: Request, caller: CurrentCaller, q: Annotated[str, Query(max_length=500)], limit: Limit = 50
) -> dict[str, Any]:
    """The caller's messages that contain a text."""
    return {"messages": await while_client_waits(request, caller.data.messages.search(q, limit=limit))}


def _request(body: RunBody) -> ChatRequest:
    return ChatRequest(text=body.request, thread_id=body.thread_id, references=tuple(body.references))


async def chat_stream(caller: CurrentCaller, body: RunBody) -> StreamingResponse:
    """Start a run and stream its events as server-sent events until it ends."""
    stream = await RunStream.open(caller.services, caller.principal, _request(body))
    return StreamingResponse(
        stream.lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Run-Id": stream.run_id}
    )


async def execute_agent(caller: CurrentCaller, body: RunBody) -> dict[str, Any]:
    """Start a run; its events come over the caller's sockets."""
    started = await caller.services.chat.begin(caller.principal, _request(body))
    return {"run_id": started.run_id, "thread_id": started.thread_id, "status": "started"}


async def list_agents(caller: CurrentCaller) -> dict[str, Any]:
    """The agents that exist."""
    return {"agents": list(caller.services.factory.agent_names())}


async def list_runs(
    caller: CurrentCaller, thread_id: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> dict[str, Any]:
    """The caller's runs, newest first."""
    if thread_id is not None:
        await caller.data.threads.get(thread_id)
    return {"runs": await caller.data.runs.list(thread_id=thread_id, limit=limit)}


async def get_run(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """One run."""
    return await caller.data.runs.get(run_id)


async def get_run_steps(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """The steps of a run."""
    return {"run_id": run_id, "steps": await caller.data.runs.steps(run_id)}


async def get_run_state(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """What the agents of a run knew at its end."""
    return {"run_id": run_id, "states": await caller.data.runs.states(run_id)}


async def stop_run(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """Stop a run in progress."""
    await caller.services.chat.stop(caller.principal, run_id)
    return {"run_id": run_id, "stopped": True}


async def list_tools(caller: CurrentCaller) -> dict[str, Any]:
    """The tools that the caller may call."""
    tools = await caller.services.factory.create_tools(_tool_context(caller))
    return {"tools": [{"name": tool.name, "description": tool.description} for tool in tools.available()]}


async def execute_tool(caller: CurrentCaller, body: ToolBody) -> dict[str, Any]:
    """Call one tool with the caller's own rights."""
    await caller.ensure_profile()
    context = _tool_context(caller)
    try:
        tools = await caller.services.factory.create_tools(context)
        context.add_cleanup_callback(tools.cleanup)
        outcome = await tools.execute_tool(body.tool_name, body.parameters)
    finally:
        await context.cleanup()
    if outcome.refusal is not None:
        raise outcome.refusal
    return {"tool_name": outcome.tool_name, "success": True, "result": outcome.result}


def _tool_context(caller: CurrentCaller) -> UserExecutionContext:
    return caller.services.chat.context_of(caller.principal)


async def get_me(request: Request, caller: CurrentCaller) -> dict[str, Any]:
    """Who the caller is."""
    return await while_client_waits(request, who_is(caller))


async def update_me(caller: CurrentCaller, body: ProfileBody) -> dict[str, Any]:
    """Change the caller's name and preferences."""
    await caller.ensure_profile()
    await caller.data.profile.update(name=body.name, preferences=body.preferences)
    return await who_is(caller)


async def erase_me(caller: CurrentCaller) -> dict[str, Any]:
    """Delete everything the backend keeps of the caller, and end their runs and sockets."""
    erased = await caller.services.chat.erase(caller.principal)
    return {"user_id": caller.principal.user_id, "deleted": True, "erased": erased}


async def list_spend(caller: CurrentCaller) -> dict[str, Any]:
    """The caller's spend records."""
    return {"records": await caller.data.spend.list()}


async def add_spend(caller: CurrentCaller, body: SpendBody) -> dict[str, Any]:
    """Keep a spend record."""
    await caller.ensure_profile()
    return await caller.data.spend.add(service=body.service, amount_usd=body.amount_usd, note=body.note)


async def add_spend_batch(request: Request, caller: CurrentCaller, body: SpendBatchBody) -> dict[str, Any]:
    """Keep several spend records: all of them, or none when one is refused or the client hangs up."""
    await caller.ensure_profile()
    records = [(record.service, record.amount_usd, record.note) for record in body.records]
    return {"records": await while_client_waits(request, caller.data.spend.add_all(records))}


async def get_spend(caller: CurrentCaller, record_id: str) -> dict[str, Any]:
    """One spend record."""
    return await caller.data.spend.get(record_id)


async def delete_spend(caller: CurrentCaller, record_id: str) -> dict[str, Any]:
    """Delete a spend record."""
    await caller.data.spend.delete(record_id)
    return {"id": record_id, "deleted": True}


async def get_credits(caller: CurrentCaller) -> dict[str, Any]:
    """The caller's balance and newest transactions."""
    return await caller.data.spend.credits()


async def use_credits(caller: CurrentCaller, body: CreditsBody) -> dict[str, Any]:
    """Use up credits."""
    await caller.ensure_profile()
    return await caller.data.spend.use_credits(body.amount, body.reason)


async def who_is(caller: Caller) -> dict[str, Any]:
    """The caller as the token and their profile describe them."""
    profile = await caller.data.profile.get() or {}
    return {
        "id": caller.principal.user_id,
        "user_id": caller.principal.user_id,
        "email": caller.principal.email,
        "permissions": list(caller.principal.permissions),
        "name": profile.get("name", ""),
        "preferences": profile.get("preferences", {}),
    }


async def request_export(caller: CurrentCaller, body: ExportBody | None = None) -> dict[str, Any]:
    """Ask for an export; ``export_ready`` comes over the caller's sockets when it is there."""
    await caller.ensure_profile()
    context = caller.services.chat.context_of(caller.principal)
    return await caller.services.exports.request(context, (body or ExportBody()).label)


async def list_exports(caller: CurrentCaller, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
    """The caller's exports, newest first."""
    return {"exports": await caller.data.exports.list(limit=limit)}


async def get_export(caller: CurrentCaller, export_id: str) -> dict[str, Any]:
    """One export; its document is null until it was made."""
    return await caller.data.exports.get(export_id)


async def delete_export(caller: CurrentCaller, export_id: str) -> dict[str, Any]:
    """Delete an export."""
    await caller.data.exports.delete(export_id)
    return {"id": export_id, "deleted": True}


class AuthEventBody(BaseModel):
    """Something happened to a user in the auth service."""

    event: Annotated[str, Field(min_length=1, max_length=100)]
    user_id: Annotated[str, Field(min_length=1, max_length=200)]


async def auth_event(
    services: AnyServices,
    body: AuthEventBody,
    x_service_id: Annotated[str, Header()] = "",
    x_service_secret: Annotated[str, Header()] = "",
) -> dict[str, str]:
    """Take an event of the auth service."""
    settings = services.settings
    known = hmac.compare_digest(x_service_id.encode(), settings.service_id.encode())
    given = x_service_secret.encode()
    right = [hmac.compare_digest(given, secret.encode()) for secret in settings.service_secrets()]
    if not known or not any(right):
        raise NotAuthenticated("Service credentials are required.")
    await services.chat.take_auth_event(body.event, body.user_id)
    return {"status": "taken"}


AUTH_EVENTS: Final = "/internal/auth-events"
"""Where the auth service posts ``{"event", "user_id"}``; not in the published interface."""

UNLISTED: Final[dict[str, Callable[..., Any]]] = {"GET /api/threads/{thread_id}/export": export_thread}
"""Served, and not in the published interface."""

ROUTES: Final[dict[str, Callable[..., Any]]] = {
    "GET /health": health,
    "GET /health/ready": health,
    "GET /health/live": live,
    "POST /api/websocket/ticket": issue_ticket,
    **AUTH_ROUTES,
    "GET /api/threads": list_threads,
    "POST /api/threads": create_thread,
    "GET /api/threads/count": count_threads,
    "GET /api/threads/{thread_id}": get_thread,
    "PUT /api/threads/{thread_id}": update_thread,
    "DELETE /api/threads/{thread_id}": delete_thread,
    "GET /api/threads/{thread_id}/messages": list_thread_messages,
    "POST /api/threads/{thread_id}/messages": add_thread_message,
    "GET /api/chat/messages": list_messages,
    "POST /api/chat/messages": create_message,
    "GET /api/chat/messages/{message_id}": get_message,
    "DELETE /api/chat/messages/{message_id}": delete_message,
    "GET /api/search": search_messages,
    "POST /api/chat/stream": chat_stream,
    "GET /api/agents": list_agents,
    "POST /api/agents/execute": execute_agent,
    "GET /api/runs": list_runs,
    "GET /api/runs/{run_id}": get_run,
    "GET /api/runs/{run_id}/steps": get_run_steps,
    "GET /api/runs/{run_id}/state": get_run_state,
    "POST /api/runs/{run_id}/stop": stop_run,
    "GET /api/tools": list_tools,
    "POST /api/tools/execute": execute_tool,
    "GET /api/users/me": get_me,
    "PUT /api/users/me": update_me,
    "DELETE /api/users/me": erase_me,
    "GET /api/spend": list_spend,
    "POST /api/spend": add_spend,
    "POST /api/spend/batch": add_spend_batch,
    "GET /api/spend/{record_id}": get_spend,
    "DELETE /api/spend/{record_id}": delete_spend,
    "GET /api/exports": list_exports,
    "POST /api/exports": request_export,
    "GET /api/exports/{export_id}": get_export,
    "DELETE /api/exports/{export_id}": delete_export,
    "GET /api/credits": get_credits,
    "POST /api/credits/use": use_credits,
}
