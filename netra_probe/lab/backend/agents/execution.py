"""One run of an agent from start to end, and the end of runs that a former life of this backend left open."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

from netra_probe.lab.backend.agent_registry import OVERDUE, AgentRegistry
from netra_probe.lab.backend.agents.agent import Outcome, Task
from netra_probe.lab.backend.data_access_factory import DataAccessFactory, UserData
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.errors import BackendError, DependencyDown
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter
from netra_probe.lab.backend.websocket_event_router import EventLog

log = logging.getLogger(__name__)

FIRST_AGENT = "triage"
CANCELLED = "The run was stopped at your request; send the message again to start a new one."
LATE = "The run took too long and was ended; send the message again, or ask for less."
INTERRUPTED = "The run was interrupted because a server was restarted; send the message again."
FAILED = "The run failed through no fault of yours; send the message again."
CLOSING_SECONDS = 3.0


class AgentExecution:
    """Carries out runs; holds nothing between them."""

    def __init__(self, *, registry: AgentRegistry, data_access: DataAccessFactory) -> None:
        self._registry = registry
        self._data_access = data_access

    async def run(self, context: UserExecutionContext, task: Task) -> None:
        """Do the whole run; failures and cancellation end in ``agent_error``."""
        data = self._data_access.for_user(context)
        emitter = self._registry.factory.make_emitter(context)
        try:
            await self._work(context, task, data, emitter)
        except asyncio.CancelledError as cancelled:
            if self._registry.shutting_down:
                await self._close(data, emitter, status="failed", code="RUN_INTERRUPTED", message=INTERRUPTED)
            elif OVERDUE in cancelled.args:
                await self._close(data, emitter, status="failed", code="RUN_OVERDUE", message=LATE)
            else:
                await self._close(data, emitter, status="cancelled", code="CANCELLED", message=CANCELLED)
            raise
        except BackendError as refusal:
            await self._close(data, emitter, status="failed", code=refusal.code, message=refusal.message)
        except Exception:
            log.exception("run %s failed", context.run_id)
            await self._close(data, emitter, status="failed", code="RUN_FAILED", message=FAILED)

    async def _work(
        self, context: UserExecutionContext, task: Task, data: UserData, emitter: UserWebSocketEmitter
    ) -> None:
        agent_name, current = FIRST_AGENT, context
        while True:
            agent = await self._registry.create_agent_for_user(context.user_id, agent_name, current, emitter=emitter)
            outcome = await agent.run(task)
            await data.runs.record_step(
                context.run_id,
                agent_name=agent_name,
                kind="handoff" if outcome.hand_over_to else "answer",
                status="completed",
                details={
                    "request_id": current.request_id,
                    "parent_request_id": current.parent_request_id,
                    "operation_depth": current.operation_depth,
                    "hand_over_to": outcome.hand_over_to,
                },
            )
            if outcome.hand_over_to is None:
                break
            agent_name = outcome.hand_over_to
            current = current.create_child_context(f"handoff:{agent_name}")
        await self._deliver(context, task, data, emitter, agent_name, outcome)

    async def _deliver(
        self,
        context: UserExecutionContext,
        task: Task,
        data: UserData,
        emitter: UserWebSocketEmitter,
        agent_name: str,
        outcome: Outcome,
    ) -> None:
        """Keep the answer in the conversation in which it was asked for, and say that it is there."""
        await data.messages.add(context.thread_id, role="assistant", content=outcome.answer, run_id=context.run_id)
        await data.runs.save_state(
            context.run_id, context.thread_id, agent_name=agent_name, state={"request": task.request}
        )
        await data.memory.remember(context.thread_id, task.request)
        await data.runs.finish(context.run_id, status="completed")
        await emitter.notify_agent_completed(agent_name, outcome.answer)
        await emitter.notify_final_report(agent_name, outcome.report)

    async def _close(
        self, data: UserData, emitter: UserWebSocketEmitter, *, status: str, code: str, message: str
    ) -> None:
        """Tell the user and the row how the run ended, as far as the stores can still be reached."""
        context = emitter.context
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await data.runs.finish(context.run_id, status=status, error=message)
        except (DependencyDown, TimeoutError):
            log.warning("the end of run %s could not be stored", context.run_id)
        if emitter.finished:
            return
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await emitter.notify_agent_error(
                    FIRST_AGENT, message, error_code=code, error_context={"run_id": context.run_id}
                )
        except (DependencyDown, TimeoutError):
            log.warning("the end of run %s could not be announced", context.run_id)


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
