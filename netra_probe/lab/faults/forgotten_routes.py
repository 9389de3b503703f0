"""A fault of routes (D8): one was forgotten when its neighbours got their checks."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from netra_probe.lab.shared.faults import Fault, Parts, register

_EXPORT = "GET /api/threads/{thread_id}/export"
_OWNER = "SELECT user_id FROM threads WHERE id = $1 AND deleted_at IS NULL"
_MESSAGES = "SELECT id, content, user_id FROM messages WHERE thread_id = $1 ORDER BY position"


@register
class ForgottenRoute(Fault):
    """D8: a route that no description lists asks neither who calls nor whose the thread is.

    Incident: Langflow GHSA-9c59-2mvc-vfr8: an endpoint beside those that check, left without authentication.
    """

    id = "D8"
    layer = "data_access"
    title = "a forgotten route beside its checked neighbour"
    breaks = _EXPORT
    trigger = "GET /api/threads/{thread_id}/export (in no OpenAPI document) with another user's thread, or no token"
    symptom = "anybody reads the thread and its messages"
    checkers = ("C5", "C1")

    def install(self, parts: Parts) -> None:
        """Replace the handler by one that reads whatever is asked for."""
        from netra_probe.lab.backend.errors import BackendError, NotFound
        from netra_probe.lab.backend.requests import services_of

        fault = self
        healthy, healthy_caller = parts[_EXPORT], parts["current_caller"]

        async def unchecked(request: Request, thread_id: str) -> dict[str, Any]:
            fault.reached()
            if not fault.fires():
                answer: dict[str, Any] = await healthy(await healthy_caller(request), thread_id)
                return answer
            try:
                asker = (await healthy_caller(request)).principal.user_id
            except BackendError:
                asker = ""
            async with services_of(request).database.get_service_session() as session:
                owner = await session.fetchval(_OWNER, thread_id)
                rows = await session.fetch(_MESSAGES, thread_id)
            if owner is None:
                raise NotFound("There is no such thread.")
            if owner != asker:
                fault.triggered()
            return {"id": thread_id, "user_id": owner, "messages": [dict(row) for row in rows]}

        parts[_EXPORT] = unchecked
