"""ThreadStore: the conversations of one user."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.backend.data.owned_store import OwnedStore, decoded, encoded, epoch_now
from netra_probe.lab.backend.identifiers import new_thread_id

SELECT_THREADS = """
SELECT t.id, t.object, t.created_at, t.updated_at, t.metadata_,
       (SELECT count(*) FROM messages m WHERE m.thread_id = t.id AND m.user_id = t.user_id) AS message_count
FROM threads t WHERE t.deleted_at IS NULL
"""
_COLUMNS = SELECT_THREADS + "AND t.user_id = $1 "

DEFAULT_TITLE = "New conversation"


class ThreadStore(OwnedStore):
    """Create, read, rename and delete; a foreign id is refused, a missing one is missing."""

    async def create(self, *, title: str | None = None, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
        """A new thread; the owner in its metadata is this user whatever `metadata` says."""
        thread_id, now = new_thread_id(), epoch_now()
        kept = {
            **(metadata or {}),
            "user_id": self._user_id,
            "status": "active",
            "title": title or DEFAULT_TITLE,
        }
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "INSERT INTO threads (id, created_at, updated_at, metadata_) VALUES ($1, $2, $2, $3)",
                thread_id,
                now,
                encoded(kept),
            )
        await self._cache.invalidate()
        return shown_thread(
            {"id": thread_id, "object": "thread", "created_at": now, "updated_at": now, "metadata_": kept}, 0
        )

    async def get(self, thread_id: str) -> dict[str, Any]:
        """One thread.

        Raises:
            Forbidden, NotFound
        """
        async with self._database.get_session(self._user_id) as session:
            row = await session.fetchrow(_COLUMNS + "AND t.id = $2", self._user_id, thread_id)
        if row is None:
            await self._refuse("thread", thread_id)
        return shown_thread(row, row["message_count"])

    async def list(self, *, limit: int = 50, offset: int = 0) -> list[dict[str, Any]]:
        """The user's threads, newest first."""

        async def load() -> list[dict[str, Any]]:
            async with self._database.get_session(self._user_id) as session:
                rows = await session.fetch(
                    _COLUMNS + "ORDER BY t.created_at DESC, t.id LIMIT $2 OFFSET $3", self._user_id, limit, offset
                )
            return [shown_thread(row, row["message_count"]) for row in rows]

        threads: list[dict[str, Any]] = await self._cache.get_or_load(f"threads:{limit}:{offset}", load)
        return threads

    async def count(self) -> int:
        """How many threads the user has."""
        async with self._database.get_session(self._user_id) as session:
            return int(
                await session.fetchval(
                    "SELECT count(*) FROM threads WHERE user_id = $1 AND deleted_at IS NULL", self._user_id
                )
            )

    async def update(
        self, thread_id: str, *, title: str | None = None, metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Change title and metadata; owner and status stay as they are."""
        async with self._database.get_session(self._user_id) as session:
            row = await session.fetchrow(
                "SELECT metadata_ FROM threads WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL FOR UPDATE",
                thread_id,
                self._user_id,
            )
            if row is not None:
                before = decoded(row["metadata_"])
                kept = {
                    **before,
                    **(metadata or {}),
                    "user_id": self._user_id,
                    "status": before["status"],
                    "title": before["title"] if title is None else title,
                }
                await session.execute(
                    "UPDATE threads SET metadata_ = $3, updated_at = $4 WHERE id = $1 AND user_id = $2",
                    thread_id,
                    self._user_id,
                    encoded(kept),
                    epoch_now(),
                )
        if row is None:
            await self._refuse("thread", thread_id)
        await self._cache.invalidate()
        return await self.get(thread_id)

    async def delete(self, thread_id: str) -> None:
        """Hide the thread for good; to its owner it is missing from now on."""
        async with self._database.get_session(self._user_id) as session:
            gone = await session.fetchval(
                "UPDATE threads SET deleted_at = now() WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL "
                "RETURNING id",
                thread_id,
                self._user_id,
            )
        if gone is None:
            await self._refuse("thread", thread_id)
        await self._cache.invalidate()


def shown_thread(row: Any, message_count: int) -> dict[str, Any]:
    """A row as a client sees it."""
    metadata = decoded(row["metadata_"])
    return {
        "id": row["id"],
        "object": row["object"],
        "title": metadata["title"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "metadata": metadata,
        "message_count": message_count,
    }
