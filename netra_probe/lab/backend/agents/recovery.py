"""RunRecovery: runs that a killed backend left in the middle get their last event when that backend comes back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from netra_probe.lab.backend.agents.execution import FIRST_AGENT, INTERRUPTED
from netra_probe.lab.backend.data_access_factory import DataAccessFactory
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter
from netra_probe.lab.backend.websocket_core.event_log import EventLog

log = logging.getLogger(__name__)

_LEFT_OPEN = """
SELECT id, thread_id, user_id, metadata_ FROM runs
WHERE status = 'in_progress' AND metadata_->>'backend' = $1 ORDER BY created_at, id
"""


class RunRecovery:
    """Closes what a former life of this backend left open; nobody waits for an answer that cannot come."""

    def __init__(
        self,
        *,
        database: DatabaseManager,
        data_access: DataAccessFactory,
        event_log: EventLog,
        make_emitter: Callable[[UserExecutionContext], UserWebSocketEmitter],
        backend: str,
    ) -> None:
        self._database = database
        self._data_access = data_access
        self._event_log = event_log
        self._make_emitter = make_emitter
        self._backend = backend

    async def close_left_open(self) -> int:
        """End every such run as failed and tell its user; returns how many there were."""
        async with self._database.get_service_session() as session:
            rows = await session.fetch(_LEFT_OPEN, self._backend)
        for row in rows:
            context = UserExecutionContext.from_request(
                row["user_id"],
                row["thread_id"],
                row["id"],
                agent_context={"turn_id": json.loads(row["metadata_"]).get("turn_id")},
            )
            await self._data_access.for_user(context).runs.finish(row["id"], status="failed", error=INTERRUPTED)
            emitter = self._make_emitter(context)
            emitter.continue_after(await self._event_log.last_seq(row["user_id"], row["id"]))
            await emitter.notify_agent_error(
                FIRST_AGENT, INTERRUPTED, error_code="RUN_INTERRUPTED", error_context={"run_id": row["id"]}
            )
        if rows:
            log.warning("closed %d runs that were interrupted by the end of this backend", len(rows))
        return len(rows)
