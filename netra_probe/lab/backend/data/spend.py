"""SpendStore: what the user spends (the rows their agents read) and the credits they can use up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from netra_probe.lab.backend.data.owned_store import OwnedStore
from netra_probe.lab.backend.errors import Conflict
from netra_probe.lab.backend.identifiers import new_record_id


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
                    rows.append(_shown(row))
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
        return [_shown(row) for row in rows]

    async def get(self, record_id: str) -> dict[str, Any]:
        """One spend record."""
        async with self._database.get_session(self._user_id) as session:
            row = await session.fetchrow(
                "SELECT id, service, amount_usd, note FROM spend_records WHERE id = $1 AND user_id = $2",
                record_id,
                self._user_id,
            )
        if row is None:
            await self._refuse("spend record", record_id)
        return _shown(row)

    async def delete(self, record_id: str) -> None:
        """Remove one spend record."""
        async with self._database.get_session(self._user_id) as session:
            gone = await session.fetchval(
                "DELETE FROM spend_records WHERE id = $1 AND user_id = $2 RETURNING id", record_id, self._user_id
            )
        if gone is None:
            await self._refuse("spend record", record_id)
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
            transaction_id = new_record_id("credit")
            await session.execute(
                "INSERT INTO credit_transactions (id, user_id, amount, balance_after, reason) "
                "VALUES ($1, $2, $3, $4, $5)",
                transaction_id,
                self._user_id,
                -amount,
                balance,
                reason,
            )
        await self._cache.invalidate()
        return {"id": transaction_id, "amount": -amount, "balance": balance}


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "service": row["service"],
        "amount_usd": float(row["amount_usd"]),
        "note": row["note"],
    }
