"""One route of the service, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A method, a path and the function behind it (FastAPI reads its signature)."""

    method: str
    path: str
    handler: Callable[..., Any]

    @property
    def name(self) -> str:
        """The name of the part."""
        return f"{self.method} {self.path}"
