"""The backend's REST interface, as a client of one user sees it (netra-wire §7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Reply, body_of, from_api
from netra_probe.history import actions


class BackendClient:
    """Threads and messages of one user; what the user creates is noted in the history as theirs."""

    def __init__(self, http: Http) -> None:
        self.http = http

    async def create_thread(self, title: str) -> Reply:
        """Create a thread; ``reply.body["id"]`` is its id."""
        reply = from_api(await self.http.request("POST", "/api/threads", json={"title": title}))
        self._own("thread", reply)
        return reply

    async def threads(self) -> Reply:
        return from_api(await self.http.request("GET", "/api/threads"))

    async def thread(self, id: str, *, attempt: Mapping[str, Any] | None = None) -> Reply:
        return from_api(await self.http.request("GET", "/api/threads/{id}", path={"id": id}, attempt=attempt))

    async def rename_thread(self, id: str, title: str, *, attempt: Mapping[str, Any] | None = None) -> Reply:
        return await self.http.request(
            "PUT", "/api/threads/{id}", path={"id": id}, json={"title": title}, attempt=attempt
        )

    async def delete_thread(self, id: str, *, attempt: Mapping[str, Any] | None = None) -> Reply:
        return from_api(await self.http.request("DELETE", "/api/threads/{id}", path={"id": id}, attempt=attempt))

    async def messages(self, thread: str, *, attempt: Mapping[str, Any] | None = None) -> Reply:
        return from_api(
            await self.http.request("GET", "/api/threads/{id}/messages", path={"id": thread}, attempt=attempt)
        )

    def _own(self, kind: str, reply: Reply) -> None:
        id = body_of(reply).get("id")
        if isinstance(id, str):
            self.http.history.observe(
                actions.OWN, user=self.http.user, ids={f"{kind}_id": id}, detail={"kind": kind, "id": id}
            )
