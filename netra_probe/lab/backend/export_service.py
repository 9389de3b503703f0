"""ExportService: a copy of everything a user wrote, made in the background, announced when it is there."""

from __future__ import annotations

import functools
from typing import Any

from netra_probe.lab.backend.background_worker import BackgroundWorker
from netra_probe.lab.backend.data_access_factory import DataAccessFactory
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import plain_event
from netra_probe.lab.backend.websocket_event_router import WebSocketEventRouter

EXPORTED = 500
"""At most so many threads and so many messages, the newest ones."""


class ExportService:
    """Queues exports and makes them."""

    def __init__(
        self,
        *,
        database: DatabaseManager,
        data_access: DataAccessFactory,
        worker: BackgroundWorker,
        router: WebSocketEventRouter,
        backend: str,
    ) -> None:
        self._database = database
        self._data_access = data_access
        self._worker = worker
        self._router = router
        self._backend = backend

    async def request(self, context: UserExecutionContext, label: str) -> dict[str, Any]:
        """Queue an export for the context's user.

        Raises:
            RateLimited: too many are waiting.
        """
        exports = self._data_access.for_user(context).exports
        export = await exports.queue(label, backend=self._backend)
        try:
            self._worker.submit(context, functools.partial(self.make, export_id=export["id"], label=label))
        except Exception:
            await exports.fail(export["id"])
            raise
        return export

    async def make(self, context: UserExecutionContext, *, export_id: str, label: str) -> None:
        """Gather the data of the context's user, keep the document, tell the user."""
        data = self._data_access.for_user(context)
        try:
            document = {
                "label": label,
                "threads": await data.threads.list(limit=EXPORTED),
                "messages": await data.messages.recent(limit=EXPORTED),
            }
            await data.exports.complete(export_id, document)
        except BaseException:
            await data.exports.fail(export_id)
            raise
        payload = {
            "export_id": export_id,
            "label": label,
            "user_id": context.user_id,
            "threads": len(document["threads"]),
            "messages": len(document["messages"]),
        }
        await self._router.route_event(context.user_id, None, plain_event("export_ready", payload=payload))

    async def give_up_left_over(self) -> None:
        """Exports that a former life of this backend left in its queue will never be made: say so."""
        async with self._database.get_service_session() as session:
            await session.execute(
                "UPDATE exports SET status = 'failed' WHERE status = 'queued' AND backend = $1", self._backend
            )
