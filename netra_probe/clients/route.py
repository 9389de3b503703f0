"""Detours: reaching a service by another way than straight to its address."""

from __future__ import annotations

from typing import Protocol


class NetworkRoute(Protocol):
    """A way to services that leads through something of ours, such as the nemesis; bytes pass unchanged."""

    name: str

    def address(self, base_url: str) -> tuple[str, int] | None:
        """Host and port to dial instead of those of ``base_url``; ``None`` where the detour does not lead there."""
