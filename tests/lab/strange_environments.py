"""Environments that are not like the lab's, for processes that investigate whatever a path names."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

Callback = Callable[[str, str | None, str | None], None]


class Plain:
    """Only what every platform has, and that is right."""

    _instance: Any = None
    _lock = threading.RLock()

    def __new__(cls) -> Any:
        with cls._lock:
            if cls._instance is None:
                cls._instance = super().__new__(cls)
                cls._instance._values = dict(os.environ)
                cls._instance._sources = {}
            return cls._instance

    _values: dict[str, str]
    _sources: dict[str, str]

    def get(self, key: str, default: str | None = None) -> str | None:
        return self._values.get(key, default)

    def set(self, key: str, value: str, source: str = "runtime") -> bool:
        if "\0" in value:
            raise ValueError(f"{key} cannot be set")
        with self._lock:
            self._values[key], self._sources[key] = value, source
        return True

    def get_all(self) -> dict[str, str]:
        return dict(self._values)

    def get_variable_source(self, key: str) -> str | None:
        return self._sources.get(key, "process" if key in self._values else None)

    def enable_isolation(self) -> None: ...

    def disable_isolation(self) -> None: ...

    def is_isolated(self) -> bool:
        return True

    def add_change_callback(self, callback: Callback) -> None: ...

    def get_subprocess_env(self, additional: dict[str, str] | None = None) -> dict[str, str]:
        return {**self._values, **(additional or {})}


class Asynchronous(Plain):
    """Everything has to be awaited."""

    async def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return super().get(key, default)

    async def set(self, key: str, value: str, source: str = "runtime") -> bool:  # type: ignore[override]
        return super().set(key, value, source)


class NeedsMore(Plain):
    """Cannot be made without arguments."""

    def __new__(cls, service: str) -> Any:
        return super().__new__(cls)


class Raising(Plain):
    """Cannot be made at all."""

    def __new__(cls) -> Any:
        raise OSError("no place for an environment")


class Endless(Plain):
    """Does not come back from a read."""

    def get(self, key: str, default: str | None = None) -> str | None:
        threading.Event().wait()
        return default
