"""ExportStore: copies of their own data that users asked for."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.backend.data.owned_store import OwnedStore, decoded, encoded, epoch_now
from netra_probe.lab.backend.identifiers import new_record_id

_COLUMNS = """
SELECT e.id, e.created_at, e.label, e.status, d.content
FROM exports e LEFT JOIN export_documents d ON d.export_id = e.id AND d.user_id = e.user_id
WHERE e.user_id = $1
"""


class ExportStore(OwnedStore):
    """An export is queued with the request and gets its document when the background worker has made it."""

    async def queue(self, label: str, *, backend: str) -> dict[str, Any]:
        """Note that an export is wanted."""
        export = {"id": new_record_id("export"), "created_at": epoch_now(), "label": label, "status": "queued"}
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "INSERT INTO exports (id, created_at, label, status, backend, user_id) VALUES ($1, $2, $3, $4, $5, $6)",
                *export.values(),
                backend,
                self._user_id,
            )
        return {**export, "document": None}

    async def complete(self, export_id: str, document: dict[str, Any]) -> None:
        """Keep the document."""
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "INSERT INTO export_documents (export_id, user_id, content) VALUES ($1, $2, $3)",
                export_id,
                self._user_id,
                encoded(document),
            )
            await self._mark(session, export_id, "completed")

    async def fail(self, export_id: str) -> None:
        """Note that there will be no document."""
        async with self._database.get_session(self._user_id) as session:
            await self._mark(session, export_id, "failed")

    async def get(self, export_id: str) -> dict[str, Any]:
        """One export with its document, once that exists."""
        async with self._database.get_session(self._user_id) as session:
            row = await session.fetchrow(_COLUMNS + "AND e.id = $2", self._user_id, export_id)
        if row is None:
            await self._refuse("export", export_id)
        return _shown(row)

    async def list(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """The user's exports, newest first."""
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(_COLUMNS + "ORDER BY e.created_at DESC, e.id LIMIT $2", self._user_id, limit)
        return [_shown(row) for row in rows]

    async def delete(self, export_id: str) -> None:
        """Remove an export and its document."""
        async with self._database.get_session(self._user_id) as session:
            gone = await session.fetchval(
                "DELETE FROM exports WHERE id = $1 AND user_id = $2 RETURNING id", export_id, self._user_id
            )
        if gone is None:
            await self._refuse("export", export_id)

    async def _mark(self, session: Any, export_id: str, status: str) -> None:
        await session.execute(
            "UPDATE exports SET status = $3 WHERE id = $1 AND user_id = $2 AND status = 'queued'",
            export_id,
            self._user_id,
            status,
        )


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "created_at": row["created_at"],
        "label": row["label"],
        "status": row["status"],
        "document": decoded(row["content"]),
    }
