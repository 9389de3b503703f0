"""ServiceDirectory: where the services of an environment can be reached, as they say themselves.

services.register("auth", "auth-1", "http://10.0.0.7:8081", seconds=30)     # again before the time is over
services.addresses("auth")                                                  # ("http://10.0.0.7:8081",)
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from netra_probe.lab.shared.settings import ConfigurationProblem, Setting, convert

log = logging.getLogger(__name__)

_URL = Setting(name="the address", kind="url", schemes=("http", "https"))


class ServiceDirectory:
    """A folder for each environment and service, and a file in it for each process, which replaces it whole."""

    def __init__(self, directory: Path | None, environment: str, now: Callable[[], float]) -> None:
        self._directory = None if directory is None else directory / "services"
        self._environment = environment
        self._now = now

    def register(self, service: str, process: str, url: str, *, seconds: float) -> None:
        """Say where a process can be reached for so many seconds."""
        convert(_URL, url)
        path = self._folder(service) / f"{process}.json"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        entry = {"environment": self._environment, "url": url, "until": self._now() + seconds}
        draft.write_text(json.dumps(entry), encoding="utf-8")
        draft.rename(path)

    def withdraw(self, service: str, process: str) -> None:
        """A process can no longer be reached."""
        (self._folder(service) / f"{process}.json").unlink(missing_ok=True)

    def addresses(self, service: str) -> tuple[str, ...]:
        """Where a service can be reached now, in order of its processes, or a ConfigurationProblem: nowhere."""
        found = [self._read(path) for path in sorted(self._folder(service).glob("*.json"))]
        urls = tuple(url for url in found if url is not None)
        if not urls:
            raise ConfigurationProblem(f"no {service} is registered in {self._environment}; is it running?")
        return urls

    def _read(self, path: Path) -> str | None:
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            environment, url, until = entry["environment"], str(convert(_URL, str(entry["url"]))), float(entry["until"])
        except (OSError, ValueError, TypeError, KeyError):
            log.warning("the registration %s/%s cannot be read and is not used", path.parent.name, path.name)
            return None
        if environment != self._environment:
            log.warning(
                "the registration %s/%s is of %s, and is not used in %s",
                *(path.parent.name, path.name, environment, self._environment),
            )
            return None
        return url if until > self._now() else None

    def _folder(self, service: str) -> Path:
        if self._directory is None:
            raise ConfigurationProblem("services are found in CONFIG_DIRECTORY, which is not set")
        return self._directory / self._environment / service
