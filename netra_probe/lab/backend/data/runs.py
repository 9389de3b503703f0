"""RunStore: runs, their steps, the agents' states and the tools they used."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.backend.data.owned_store import OwnedStore, decoded, encoded, epoch_now
from netra_probe.lab.backend.user_execution_context import new_record_id

_COLUMNS = """
SELECT r.id, r.object, r.created_at, r.completed_at, r.thread_id, r.status, r.last_error, r.metadata_
FROM runs r JOIN threads t ON t.id = r.thread_id
WHERE r.user_id = $1 AND t.user_id = $1 AND t.deleted_at IS NULL
"""


class RunStore(OwnedStore):
    """What happened in the runs of one user."""

    async def start(self, run_id: str, thread_id: str, *, metadata: dict[str, Any]) -> None:
        """Note that a run begins in one of the user's threads."""
        async with self._database.get_session(self._user_id) as session:
            added = await session.fetchval(
                """
                INSERT INTO runs (id, created_at, thread_id, status, metadata_, user_id)
                SELECT $1, $2, t.id, 'in_progress', $4, $5 FROM threads t
                WHERE t.id = $3 AND t.user_id = $5 AND t.deleted_at IS NULL FOR KEY SHARE
                RETURNING id
                """,
                run_id,
                epoch_now(),
                thread_id,
                encoded({**metadata, "user_id": self._user_id}),
                self._user_id,
            )
        if added is None:
            await self._refuse("thread", thread_id)

    async def finish(self, run_id: str, *, status: str, error: str | None = None) -> None:
        """Note how a run ended; the first ending counts."""
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "UPDATE runs SET status = $3, last_error = $4, completed_at = $5 "
                "WHERE id = $1 AND user_id = $2 AND status = 'in_progress'",
                run_id,
                self._user_id,
                status,
                error,
                epoch_now(),
            )

    async def record_step(
        self, run_id: str, *, agent_name: str, kind: str, status: str, details: dict[str, Any]
    ) -> None:
        """Note one step of a run."""
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "INSERT INTO steps (id, created_at, run_id, agent_name, type, status, step_details, user_id) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                new_record_id("step"),
                epoch_now(),
                run_id,
                agent_name,
                kind,
                status,
                encoded(details),
                self._user_id,
            )

    async def record_tool_use(
        self, run_id: str | None, *, tool_name: str, parameters: dict[str, Any], success: bool, milliseconds: int
    ) -> None:
        """Note one tool call."""
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "INSERT INTO tool_usage_logs (id, user_id, tool_name, run_id, parameters, success, execution_time_ms) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                new_record_id("usage"),
                self._user_id,
                tool_name,
                run_id,
                encoded(parameters),
                success,
                milliseconds,
            )

    async def save_state(self, run_id: str, thread_id: str, *, agent_name: str, state: dict[str, Any]) -> None:
        """Keep what an agent knew at the end of its work."""
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "INSERT INTO agent_state_snapshots (id, run_id, thread_id, user_id, agent_name, state) "
                "VALUES ($1, $2, $3, $4, $5, $6)",
                new_record_id("state"),
                run_id,
                thread_id,
                self._user_id,
                agent_name,
                encoded(state),
            )

    async def get(self, run_id: str) -> dict[str, Any]:
        """One run."""
        return _shown(await self._one("run", run_id, _COLUMNS + "AND r.id = $2"))

    async def steps(self, run_id: str) -> list[dict[str, Any]]:
        """The steps of one run, in order."""
        await self.get(run_id)
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(
                "SELECT id, created_at, run_id, agent_name, type, status, step_details FROM steps "
                "WHERE run_id = $1 AND user_id = $2 ORDER BY position",
                run_id,
                self._user_id,
            )
        return [{**dict(row), "step_details": decoded(row["step_details"])} for row in rows]

    async def states(self, run_id: str) -> list[dict[str, Any]]:
        """The agents' states of one run."""
        await self.get(run_id)
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(
                "SELECT run_id, thread_id, user_id, agent_name, state FROM agent_state_snapshots "
                "WHERE run_id = $1 AND user_id = $2 ORDER BY created_at",
                run_id,
                self._user_id,
            )
        return [{**dict(row), "state": decoded(row["state"])} for row in rows]

    async def list(self, *, thread_id: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The user's runs, newest first, of one thread or of all."""
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(
                _COLUMNS + "AND ($2::text IS NULL OR r.thread_id = $2) ORDER BY r.created_at DESC, r.id LIMIT $3",
                self._user_id,
                thread_id,
                limit,
            )
        return [_shown(row) for row in rows]


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": row["object"],
        "created_at": row["created_at"],
        "completed_at": row["completed_at"],
        "thread_id": row["thread_id"],
        "status": row["status"],
        "last_error": row["last_error"],
        "metadata": decoded(row["metadata_"]),
    }
