"""Configurations that are not like the lab's, for processes that investigate whatever a path names."""

from __future__ import annotations

import threading
from typing import Any


class Plain:
    """Only what every platform has: it is made with the arguments that are written down, and has no settings."""

    def __init__(
        self, user_id: str | None = None, environment: str | None = None, service_name: str | None = None
    ) -> None:
        self.user_id, self.environment, self.service_name = user_id, environment, service_name


class NeedsMore:
    """Takes no settings, and cannot be made without a region."""

    def __init__(self, service_name: str, region: str) -> None:
        self.region = region


class Asynchronous:
    """Reads its values when it is awaited."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.user_id = None

    async def validate(self) -> None: ...

    async def integer(self, name: str) -> int:
        return 5

    async def override(self, name: str, value: object) -> None: ...

    async def text(self, name: str) -> str:
        return "info"


class Raising:
    """Cannot be made at all."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        raise OSError("no place for a configuration")


class Endless:
    """Is never made."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        threading.Event().wait()
