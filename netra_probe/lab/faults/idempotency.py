"""A fault of repeated requests (K5): a key that one user chose is everybody's."""

from __future__ import annotations

import hashlib
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class KeyOfEverybody(Fault):
    """K5: the first answer is kept under the path and the client's key, whoever the client is.

    Incident: an idempotency store keyed by the header alone, although clients choose their keys and some choose
        ``order-1`` (devlink#773, arun0009/idempotent#217).
    """

    id = "K5"
    layer = "caches"
    title = "idempotency key stored without the user"
    breaks = "KeptAnswers"
    trigger = "A: POST /api/threads with Idempotency-Key: k; then B the same within 60 s, any backend"
    symptom = "B gets A's stored answer, and what B wanted is not done"
    checkers = ("C1", "C2", "C5")

    def install(self, parts: Parts) -> None:
        """Keep answers under keys without a user, and beside each whose it is, to count honestly."""
        fault = self
        healthy: type[Any] = parts["KeptAnswers"]

        class SharedAnswers(healthy):  # type: ignore[misc]
            def place(self, user_id: str, path: str, key: str) -> str:
                if not fault.fires():
                    return str(super().place(user_id, path, key))
                return f"idempotency:{hashlib.sha256(f'{path} {key}'.encode()).hexdigest()}"

            async def begin(self, user_id: str, path: str, key: str) -> dict[str, Any] | None:
                fault.reached()
                kept: dict[str, Any] | None = await super().begin(user_id, path, key)
                if kept and kept["whose"] != user_id:
                    fault.triggered()
                return kept

            async def keep(self, user_id: str, path: str, key: str, answer: dict[str, Any] | None) -> None:
                whose = None if answer is None else {**answer, "whose": user_id}
                await super().keep(user_id, path, key, whose)

        parts["KeptAnswers"] = SharedAnswers
