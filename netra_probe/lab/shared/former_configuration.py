"""What was configured before: former values of rotated secrets, and the last good configuration of a process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class FormerValues:
    """What settings were before, each with the moment at which it is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, list[tuple[float, str]]] = {}

    def keep(self, name: str, value: str, seconds: float) -> None:
        """Accept a former value for so many seconds."""
        self._kept.setdefault(name, []).append((self._clock() + seconds, value))

    def of(self, name: str) -> tuple[str, ...]:
        """The former values that are still accepted, the youngest first."""
        now = self._clock()
        fresh = [entry for entry in self._kept.get(name, []) if entry[0] > now]
        self._kept[name] = fresh
        return tuple(value for _, value in reversed(fresh))


class ConfigurationBackup:
    """One file of one process in one environment, readable by its owner only."""

    def __init__(self, path: Path, environment: str) -> None:
        self._path = path
        self._environment = environment

    def save(self, values: Mapping[str, Any]) -> None:
        """Replace what was kept, in one step; where that fails the former backup stays, and the log says so."""
        draft = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"environment": self._environment, "values": values}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            log.warning("the configuration was not backed up: %s", error.strerror)

    def read(self) -> dict[str, Any]:
        """What was kept; nothing when there is nothing, nothing readable, or another environment's: the log says so."""
        return self._read(self._path)

    def others(self) -> dict[str, dict[str, Any]]:
        """What the other processes of the environment have kept, by process."""
        paths = sorted(path for path in self._path.parent.glob("*.json") if path != self._path)
        return {path.stem: self._read(path) for path in paths}

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            environment, values = kept["environment"], dict(kept["values"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError):
            log.warning("the backup %s cannot be read and is not used", path.name)
            return {}
        if environment != self._environment:
            log.warning("the backup %s is of %s, and is not used in %s", path.name, environment, self._environment)
            return {}
        return values
