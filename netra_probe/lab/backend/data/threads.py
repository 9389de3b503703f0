"""Threads and the messages in them."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.backend.data.owned_store import OwnedStore, decoded, encoded, epoch_now
from netra_probe.lab.backend.errors import InvalidRequest
from netra_probe.lab.backend.user_execution_context import new_message_id, new_thread_id

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
        row = await self._one("thread", thread_id, _COLUMNS + "AND t.id = $2")
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
        statement = "UPDATE threads SET deleted_at = now() WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL "
        await self._one("thread", thread_id, statement + "RETURNING id")
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


SELECT_MESSAGES = """
SELECT m.id, m.object, m.created_at, m.thread_id, m.role, m.content, m.run_id, m.metadata_
FROM messages m JOIN threads t ON t.id = m.thread_id
WHERE t.deleted_at IS NULL
"""
_MESSAGE_COLUMNS = SELECT_MESSAGES + "AND m.user_id = $1 AND t.user_id = $1 "

MAX_CONTENT = 65_536


class MessageStore(OwnedStore):
    """Add, read, search and delete; a message is only ever added to a thread of its own user."""

    async def add(
        self,
        thread_id: str,
        *,
        role: str,
        content: str,
        run_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Append a message to one of the user's threads.

        Raises:
            Forbidden, NotFound: the thread is somebody else's or does not exist.
        """
        message = {
            "id": new_message_id(),
            "object": "thread.message",
            "created_at": epoch_now(),
            "thread_id": thread_id,
            "role": role,
            "content": [{"type": "text", "text": {"value": content}}],
            "run_id": run_id,
            "metadata_": {**(metadata or {}), "user_id": self._user_id},
        }
        async with self._database.get_session(self._user_id) as session:
            added = await session.fetchval(
                """
                INSERT INTO messages (id, created_at, thread_id, role, content, run_id, metadata_, user_id)
                SELECT $1, $2, t.id, $4, $5, $6, $7, $8 FROM threads t
                WHERE t.id = $3 AND t.user_id = $8 AND t.deleted_at IS NULL FOR KEY SHARE
                RETURNING id
                """,
                message["id"],
                message["created_at"],
                thread_id,
                role,
                encoded(message["content"]),
                run_id,
                encoded(message["metadata_"]),
                self._user_id,
            )
        if added is None:
            await self._refuse("thread", thread_id)
        await self._cache.invalidate()
        return shown_message(message)

    async def of_thread(self, thread_id: str, *, limit: int = 100, offset: int = 0) -> list[dict[str, Any]]:
        """The messages of one thread, oldest first."""
        async with self._database.get_session(self._user_id) as session:
            own = await session.fetchval(
                "SELECT 1 FROM threads WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL",
                thread_id,
                self._user_id,
            )
            rows = await session.fetch(
                _MESSAGE_COLUMNS + "AND m.thread_id = $2 ORDER BY m.position LIMIT $3 OFFSET $4",
                self._user_id,
                thread_id,
                limit,
                offset,
            )
        if own is None:
            await self._refuse("thread", thread_id)
        return [shown_message(row) for row in rows]

    async def recent(self, *, limit: int = 50, offset: int = 0, role: str | None = None) -> list[dict[str, Any]]:
        """The user's newest messages over all threads, newest first."""
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(
                _MESSAGE_COLUMNS + "AND ($4::text IS NULL OR m.role = $4) ORDER BY m.position DESC LIMIT $2 OFFSET $3",
                self._user_id,
                limit,
                offset,
                role,
            )
        return [shown_message(row) for row in rows]

    async def search(self, text: str, *, limit: int = 50) -> list[dict[str, Any]]:
        """The user's messages that contain `text`, newest first."""
        if not text.strip():
            raise InvalidRequest("Say what to search for: q must not be empty.")
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(
                _MESSAGE_COLUMNS
                + "AND position(lower($2) IN lower(m.content #>> '{0,text,value}')) > 0 "
                + "ORDER BY m.position DESC LIMIT $3",
                self._user_id,
                text,
                limit,
            )
        return [shown_message(row) for row in rows]

    async def get(self, message_id: str) -> dict[str, Any]:
        """One message."""
        return shown_message(await self._one("message", message_id, _MESSAGE_COLUMNS + "AND m.id = $2"))

    async def delete(self, message_id: str) -> None:
        """Remove one message."""
        statement = (
            "DELETE FROM messages m USING threads t WHERE m.id = $2 AND m.user_id = $1 AND t.id = m.thread_id "
            "AND t.user_id = $1 AND t.deleted_at IS NULL RETURNING m.id"
        )
        await self._one("message", message_id, statement)
        await self._cache.invalidate()


def shown_message(row: Any) -> dict[str, Any]:
    """A row as a client sees it."""
    content = decoded(row["content"])
    return {
        "id": row["id"],
        "object": row["object"],
        "created_at": row["created_at"],
        "thread_id": row["thread_id"],
        "role": row["role"],
        "content": content[0]["text"]["value"],
        "run_id": row["run_id"],
        "metadata": decoded(row["metadata_"]),
    }
