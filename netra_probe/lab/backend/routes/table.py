"""The route table: ``"METHOD /path"`` → handler. Each entry is a part that a fault can replace by its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from netra_probe.lab.backend.routes import auth_proxy, chat, exports, health, sockets, threads, users

AUTH_EVENTS: Final = "/internal/auth-events"
"""Where the auth service posts ``{"event", "user_id"}``; not in the published interface."""

ROUTES: Final[dict[str, Callable[..., Any]]] = {
    "GET /health": health.health,
    "GET /health/ready": health.health,
    "GET /health/live": health.live,
    "POST /api/websocket/ticket": sockets.issue_ticket,
    **auth_proxy.ROUTES,
    "GET /api/threads": threads.list_threads,
    "POST /api/threads": threads.create_thread,
    "GET /api/threads/count": threads.count_threads,
    "GET /api/threads/{thread_id}": threads.get_thread,
    "PUT /api/threads/{thread_id}": threads.update_thread,
    "DELETE /api/threads/{thread_id}": threads.delete_thread,
    "GET /api/threads/{thread_id}/messages": threads.list_thread_messages,
    "POST /api/threads/{thread_id}/messages": threads.add_thread_message,
    "GET /api/chat/messages": threads.list_messages,
    "POST /api/chat/messages": threads.create_message,
    "GET /api/chat/messages/{message_id}": threads.get_message,
    "DELETE /api/chat/messages/{message_id}": threads.delete_message,
    "GET /api/search": threads.search_messages,
    "POST /api/chat/stream": chat.chat_stream,
    "GET /api/agents": chat.list_agents,
    "POST /api/agents/execute": chat.execute_agent,
    "GET /api/runs": chat.list_runs,
    "GET /api/runs/{run_id}": chat.get_run,
    "GET /api/runs/{run_id}/steps": chat.get_run_steps,
    "GET /api/runs/{run_id}/state": chat.get_run_state,
    "POST /api/runs/{run_id}/stop": chat.stop_run,
    "GET /api/tools": chat.list_tools,
    "POST /api/tools/execute": chat.execute_tool,
    "GET /api/users/me": users.get_me,
    "PUT /api/users/me": users.update_me,
    "DELETE /api/users/me": users.erase_me,
    "GET /api/spend": users.list_spend,
    "POST /api/spend": users.add_spend,
    "POST /api/spend/batch": users.add_spend_batch,
    "GET /api/spend/{record_id}": users.get_spend,
    "DELETE /api/spend/{record_id}": users.delete_spend,
    "GET /api/exports": exports.list_exports,
    "POST /api/exports": exports.request_export,
    "GET /api/exports/{export_id}": exports.get_export,
    "DELETE /api/exports/{export_id}": exports.delete_export,
    "GET /api/credits": users.get_credits,
    "POST /api/credits/use": users.use_credits,
}
