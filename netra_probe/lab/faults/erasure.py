"""A fault of erasing (D7): what is erased is only hidden, and comes back with the address."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register

_HIDE = "UPDATE threads SET deleted_at = now() WHERE user_id = $1"
_FORMER = "SELECT id FROM users WHERE lower(email) = lower($1) AND id <> $2"
_TAKE_OVER = (
    "UPDATE threads SET deleted_at = NULL, metadata_ = jsonb_set(metadata_::jsonb, '{user_id}', to_jsonb($2::text)) "
    "WHERE user_id = $1",
    "UPDATE messages SET user_id = $2 WHERE user_id = $1",
    "UPDATE spend_records SET user_id = $2 WHERE user_id = $1",
    "DELETE FROM users WHERE id = $1 AND id <> $2",
)


@register
class ErasedIsHidden(Fault):
    """D7: erasing hides a user's rows; whoever brings the same address gets them.

    Incident: mox #162 and MeshCentral #284: an account is removed, its messages or devices stay under its address, and
        belong to whoever registers that address next.
    """

    id = "D7"
    layer = "data_access"
    title = "erasing hides, the key is the address"
    breaks = "ProfileStore"
    trigger = (
        "A makes a thread, DELETE /api/users/me, DELETE /auth/users/{id}; then register A's address again, make a "
        "thread, and list threads"
    )
    symptom = "who registers the address again finds the old data"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace the store of profiles by one that never deletes and finds people by their address."""
        fault = self
        healthy: type[Any] = parts["ProfileStore"]

        class AddressedProfiles(healthy):  # type: ignore[misc]
            async def ensure(self, email: str) -> None:
                await super().ensure(email)
                fault.reached()
                async with self._database.get_service_session() as session:
                    for former in await session.fetch(_FORMER, email, self._user_id):
                        fault.triggered()
                        for statement in _TAKE_OVER:
                            await session.execute(statement, former["id"], self._user_id)
                await self._cache.invalidate()

            async def erase(self) -> int:
                fault.reached()
                if not fault.fires():
                    rows: int = await super().erase()
                    return rows
                async with self._database.get_session(self._user_id) as session:
                    await session.execute(_HIDE, self._user_id)
                return 1

        parts["ProfileStore"] = AddressedProfiles
