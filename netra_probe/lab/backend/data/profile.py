"""ProfileStore: the user's own row; made at first sight together with the first spend records."""

from __future__ import annotations

import hashlib
from typing import Any

from netra_probe.lab.backend.data.owned_store import OwnedStore, decoded, encoded
from netra_probe.lab.backend.identifiers import new_record_id

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
