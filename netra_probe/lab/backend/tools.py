"""The tools that agents can call; each reads rows of the caller only, through stores that are bound to the caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netra_probe.lab.backend.data_access_factory import UserData
from netra_probe.lab.backend.errors import InvalidRequest
from netra_probe.lab.backend.user_execution_context import UserExecutionContext

ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """What a tool is given: whose call it is, that user's data and the parameters."""

    context: UserExecutionContext
    data: UserData
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A named function over one user's data; `permission` is what the caller must hold, None for everybody."""

    name: str
    description: str
    run: Callable[[ToolCall], Awaitable[Any]]
    permission: str | None = None


async def user_profile(call: ToolCall) -> dict[str, Any]:
    """Name and preferences of the caller."""
    profile = await call.data.profile.get() or {}
    return {"name": profile.get("name", ""), "preferences": profile.get("preferences", {})}


async def spend_summary(call: ToolCall) -> dict[str, Any]:
    """The caller's spend records and their sum."""
    records = await call.data.spend.list()
    return {
        "records": [{key: record[key] for key in ("service", "amount_usd", "note")} for record in records],
        "total_usd": round(sum(record["amount_usd"] for record in records), 2),
    }


async def recent_messages(call: ToolCall) -> dict[str, Any]:
    """What the caller asked over all of their threads before this run."""
    messages = await call.data.messages.recent(role="user", limit=6)
    earlier = [message["content"] for message in messages if message["run_id"] != call.context.run_id]
    return {"earlier_requests": earlier[:5]}


async def thread_lookup(call: ToolCall) -> dict[str, Any]:
    """Title and requests of one of the caller's threads, by id."""
    thread_id = call.parameters.get("thread_id")
    if not isinstance(thread_id, str):
        raise InvalidRequest("thread_lookup needs a thread_id.")
    thread = await call.data.threads.get(thread_id)
    messages = await call.data.messages.of_thread(thread_id)
    return {
        "thread_id": thread["id"],
        "title": thread["title"],
        "requests": [message["content"] for message in messages if message["role"] == "user"][-5:],
    }


async def credit_ledger(call: ToolCall) -> dict[str, Any]:
    """The caller's credit balance and newest transactions, for those who administer billing."""
    return await call.data.spend.credits()


TOOLS: tuple[Tool, ...] = (
    Tool(name="user_profile", description="name and preferences of the caller", run=user_profile),
    Tool(name="spend_summary", description="the caller's spend records and their sum", run=spend_summary),
    Tool(name="recent_messages", description="what the caller asked before", run=recent_messages),
    Tool(name="thread_lookup", description="one of the caller's threads, by id", run=thread_lookup),
    Tool(name="credit_ledger", description="the caller's credit transactions", run=credit_ledger, permission=ADMIN),
)
