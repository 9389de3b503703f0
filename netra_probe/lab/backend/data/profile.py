"""What a user has besides threads: the profile, spend records and credits, and exports."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from netra_probe.lab.backend.data.owned_store import OwnedStore, decoded, encoded, epoch_now
from netra_probe.lab.backend.errors import Conflict
from netra_probe.lab.backend.user_execution_context import new_record_id

SEEDED_SERVICES = ("model-inference", "vector-search", "batch-training", "object-storage")


class ProfileStore(OwnedStore):
    """Name, preferences and existence of one user."""

    async def ensure(self, email: str) -> None:
        """Make the user's row unless it exists, and seed the spend records that their tools will read."""
        async with self._database.get_session(self._user_id) as session:
            made = await session.fetchval(
                "INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING RETURNING id",
                self._user_id,
                email,
            )
            if made is None:
                return
            await session.executemany(
                "INSERT INTO spend_records (id, user_id, service, amount_usd, note) VALUES ($1, $2, $3, $4, $5)",
                [
                    (new_record_id("spend"), self._user_id, service, _seeded_amount(self._user_id, service), "seeded")
                    for service in SEEDED_SERVICES
                ],
            )
        await self._cache.invalidate()

    async def get(self) -> dict[str, Any] | None:
        """The user's profile, or None before their first write."""

        async def load() -> dict[str, Any] | None:
            async with self._database.get_session(self._user_id) as session:
                row = await session.fetchrow(
                    "SELECT id, email, name, preferences, credits FROM users WHERE id = $1", self._user_id
                )
            return None if row is None else {**dict(row), "preferences": decoded(row["preferences"])}

        profile: dict[str, Any] | None = await self._cache.get_or_load("profile", load)
        return profile

    async def update(self, *, name: str | None, preferences: dict[str, Any] | None) -> None:
        """Change what is given and leave the rest."""
        async with self._database.get_session(self._user_id) as session:
            await session.execute(
                "UPDATE users SET name = coalesce($2, name), preferences = coalesce($3, preferences), "
                "updated_at = now() WHERE id = $1",
                self._user_id,
                name,
                None if preferences is None else encoded(preferences),
            )
        await self._cache.invalidate()

    async def erase(self) -> int:
        """Delete the user's row and, through it, every row that refers to it; returns how many users that were."""
        async with self._database.get_session(self._user_id) as session:
            outcome: str = await session.execute("DELETE FROM users WHERE id = $1", self._user_id)
        return int(outcome.rpartition(" ")[2])


def _seeded_amount(user_id: str, service: str) -> int:
    """Between 100 and 9 999 dollars, different for each user, the same whenever the user is made again."""
    digest = hashlib.sha256(f"{user_id}|{service}".encode()).digest()
    return 100 + int.from_bytes(digest[:4], "big") % 9_900


class SpendStore(OwnedStore):
    """Spend records and credits of one user."""

    async def add(self, *, service: str, amount_usd: Decimal, note: str) -> dict[str, Any]:
        """Keep one spend record."""
        return (await self.add_all([(service, amount_usd, note)]))[0]

    async def add_all(self, records: Sequence[tuple[str, Decimal, str]]) -> list[dict[str, Any]]:
        """Keep several spend records, given as service, amount in dollars and note: all of them or none."""
        rows = []
        try:
            async with self._database.get_session(self._user_id) as session:
                for service, amount_usd, note in records:
                    row = await session.fetchrow(
                        "INSERT INTO spend_records (id, user_id, service, amount_usd, note) "
                        "VALUES ($1, $2, $3, $4, $5) RETURNING id, service, amount_usd, note",
                        new_record_id("spend"),
                        self._user_id,
                        service,
                        amount_usd,
                        note,
                    )
                    rows.append(_shown_record(row))
        finally:
            # also when cancelled: the transaction may just have been committed
            await self._cache.invalidate()
        return rows

    async def list(self, *, limit: int = 200) -> list[dict[str, Any]]:
        """The user's spend records, oldest first."""
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(
                "SELECT id, service, amount_usd, note FROM spend_records WHERE user_id = $1 ORDER BY position LIMIT $2",
                self._user_id,
                limit,
            )
        return [_shown_record(row) for row in rows]

    async def get(self, record_id: str) -> dict[str, Any]:
        """One spend record."""
        statement = "SELECT id, service, amount_usd, note FROM spend_records WHERE user_id = $1 AND id = $2"
        return _shown_record(await self._one("spend record", record_id, statement))

    async def delete(self, record_id: str) -> None:
        """Remove one spend record."""
        statement = "DELETE FROM spend_records WHERE user_id = $1 AND id = $2 RETURNING id"
        await self._one("spend record", record_id, statement)
        await self._cache.invalidate()

    async def credits(self) -> dict[str, Any]:
        """Balance and the newest transactions."""
        async with self._database.get_session(self._user_id) as session:
            balance = await session.fetchval("SELECT credits FROM users WHERE id = $1", self._user_id)
            rows = await session.fetch(
                "SELECT id, amount, balance_after, reason FROM credit_transactions WHERE user_id = $1 "
                "ORDER BY created_at DESC, id LIMIT 50",
                self._user_id,
            )
        return {"balance": 0 if balance is None else balance, "transactions": [dict(row) for row in rows]}

    async def use_credits(self, amount: int, reason: str) -> dict[str, Any]:
        """Take credits off the balance, in one statement that cannot see a stale balance.

        Raises:
            Conflict: the balance is too low; nothing was taken.
        """
        async with self._database.get_session(self._user_id) as session:
            balance = await session.fetchval(
                "UPDATE users SET credits = credits - $2 WHERE id = $1 AND credits >= $2 RETURNING credits",
                self._user_id,
                amount,
            )
            if balance is None:
                raise Conflict("There are not enough credits for this.", code="INSUFFICIENT_CREDITS")
            entry = await self._book(session, self._user_id, amount, balance, reason)
        await self._cache.invalidate()
        return entry

    async def _book(self, session: Any, user_id: str, amount: int, balance: int, reason: str) -> dict[str, Any]:
        """Write down what was taken, and what it left."""
        entry = {"id": new_record_id("credit"), "amount": -amount, "balance": balance}
        await session.execute(
            "INSERT INTO credit_transactions (id, user_id, amount, balance_after, reason) VALUES ($1, $2, $3, $4, $5)",
            entry["id"],
            user_id,
            -amount,
            balance,
            reason,
        )
        return entry


def _shown_record(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "service": row["service"],
        "amount_usd": float(row["amount_usd"]),
        "note": row["note"],
    }


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
        return _shown_export(await self._one("export", export_id, _COLUMNS + "AND e.id = $2"))

    async def list(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """The user's exports, newest first."""
        async with self._database.get_session(self._user_id) as session:
            rows = await session.fetch(_COLUMNS + "ORDER BY e.created_at DESC, e.id LIMIT $2", self._user_id, limit)
        return [_shown_export(row) for row in rows]

    async def delete(self, export_id: str) -> None:
        """Remove an export and its document."""
        await self._one("export", export_id, "DELETE FROM exports WHERE user_id = $1 AND id = $2 RETURNING id")

    async def _mark(self, session: Any, export_id: str, status: str) -> None:
        await session.execute(
            "UPDATE exports SET status = $3 WHERE id = $1 AND user_id = $2 AND status = 'queued'",
            export_id,
            self._user_id,
            status,
        )


def _shown_export(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "created_at": row["created_at"],
        "label": row["label"],
        "status": row["status"],
        "document": decoded(row["content"]),
    }
