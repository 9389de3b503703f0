"""Threads and their messages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request

from netra_probe.lab.backend.routes.bodies import ChatMessageBody, MessageBody, ThreadBody
from netra_probe.lab.backend.routes.caller import CurrentCaller
from netra_probe.lab.backend.routes.waiting import while_client_waits

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
