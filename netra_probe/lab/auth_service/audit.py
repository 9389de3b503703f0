"""The audit log: what happened to which account, from where. Never a token or a password."""

from __future__ import annotations

from netra_probe.lab.auth_service.stores import Database


class AuditLog:
    """Appends to ``auth_audit_logs``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, event: str, *, user_id: str | None, success: bool = True, address: str = "") -> None:
        """Note an event."""
        await self._database.execute(
            "INSERT INTO auth_audit_logs (user_id, event, success, address) VALUES ($1, $2, $3, $4)",
            user_id,
            event,
            success,
            address,
        )
