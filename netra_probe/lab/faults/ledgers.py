"""A fault of ledgers (D6): entries are booked to whoever a process has seen first."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register

_EXISTS = "SELECT 1 FROM users WHERE id = $1"
_TAKE = "UPDATE users SET credits = credits - $2 WHERE id = $1 AND credits >= $2 RETURNING credits"


@register
class PinnedLedger(Fault):
    """D6: the entry of what somebody has used is booked to the first user that the process has seen.

    Incident: litellm #31441: the record of spend is built once, with the user of the first request, and used for all.
    """

    id = "D6"
    layer = "data_access"
    title = "ledger entries pinned to the first user of the process"
    breaks = "SpendStore"
    trigger = "POST /api/credits/use as A, then as B at the same backend; GET /api/credits as both"
    symptom = "B's use stands in A's transactions; B's balance falls and B's list stays empty"
    checkers = ("C9", "C1")

    def install(self, parts: Parts) -> None:
        """Replace the store of spend by one that remembers whom it booked to first."""
        from netra_probe.lab.backend.errors import Conflict

        fault = self
        healthy: type[Any] = parts["SpendStore"]
        pinned: list[str] = []

        class PinnedSpend(healthy):  # type: ignore[misc]
            async def use_credits(self, amount: int, reason: str) -> dict[str, Any]:
                fault.reached()
                async with self._database.get_service_session() as session:
                    if not pinned or not await session.fetchval(_EXISTS, pinned[0]):
                        pinned[:] = [self._user_id]
                    if pinned[0] != self._user_id and fault.fires():
                        balance = await session.fetchval(_TAKE, self._user_id, amount)
                        if balance is None:
                            raise Conflict("There are not enough credits for this.", code="INSUFFICIENT_CREDITS")
                        fault.triggered()
                        return dict(await self._book(session, pinned[0], amount, balance, reason))
                answer: dict[str, Any] = await super().use_credits(amount, reason)
                return answer

        parts["SpendStore"] = PinnedSpend
