"""LiveConfiguration: what a service does with its configuration, from its start to its end.

configuration = LiveConfiguration("auth_service", SETTINGS)     # files read, all settings checked, backup written
configuration.manager.integer("ACCESS_TOKEN_SECONDS")
configuration.reload()                                          # files read again; changes reach their listeners
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from netra_probe.lab.shared.clock import clock
from netra_probe.lab.shared.configuration import (
    ConfigurationBackup,
    ConfigurationProblem,
    Setting,
    UnifiedConfigurationManager,
)
from netra_probe.lab.shared.env_file import NAME, EnvFileProblem, read_env_file
from netra_probe.lab.shared.faults import Fault
from netra_probe.lab.shared.isolated_environment import EnvironmentProblem, IsolatedEnvironment, get_env

log = logging.getLogger(__name__)

CLOCK_OFFSET = "CLOCK_OFFSET_SECONDS"
SECRET_OVERLAP = "SECRET_OVERLAP_SECONDS"

COMMON: tuple[Setting, ...] = (
    Setting(name=CLOCK_OFFSET, kind="float", default=0.0),
    Setting(name=SECRET_OVERLAP, kind="float", minimum=0, default={"test": 30.0, "*": 3600.0}),
)
"""What every service declares: how wrong its clock is, and how long a rotated secret still counts."""


class LiveConfiguration:
    """The files, the checked values and the clock of one process."""

    def __init__(self, service_name: str, settings: Sequence[Setting], *, process: str = "") -> None:
        variables = get_env()
        self.layers = ConfigurationLayers(variables, secrets=[setting for setting in settings if setting.secret])
        try:
            self.layers.load()
        except EnvFileProblem as problem:
            raise ConfigurationProblem(str(problem)) from None
        self.manager = UnifiedConfigurationManager(
            service_name=service_name, settings=(*COMMON, *settings), variables=variables
        )
        self.manager.validate(self.layers.backup(process or service_name))
        for name, complaint in self.manager.rejected_changes().items():
            log.warning("%s is as in the last good configuration: %s", name, complaint)
        self.manager.on_change(self._follow)
        self._follow(CLOCK_OFFSET)

    def reload(self) -> dict[str, Any]:
        """Read everything again: ``{"changed": [names], "rejected": {name: problem}, "declared": [names]}``.

        Never a value. What is rejected stays as it was.
        """
        changed: set[str] = set()
        rejected: dict[str, str] = {}
        self.manager.on_change(changed.add)
        try:
            self.layers.load()
            self.manager.reload()
        except (EnvFileProblem, EnvironmentProblem) as problem:
            rejected["files"] = str(problem)
        finally:
            self.manager.off_change(changed.add)
        return {
            "changed": sorted(changed),
            "rejected": {**self.manager.rejected_changes(), **rejected},
            "declared": self.manager.names(),
        }

    def _follow(self, name: str) -> None:
        if name == CLOCK_OFFSET:
            clock.offset = self.manager.number(CLOCK_OFFSET)


VARIABLE = "CONFIG_DIRECTORY"
"""Where a service finds the directory of its files; without it there is only the process environment."""


class ConfigurationLayers:
    """One service's files.

    Arguments:
        secrets: the settings whose secrets this service may read; every secret there is when left out.
    """

    def __init__(self, variables: IsolatedEnvironment, *, secrets: Sequence[Setting] | None = None) -> None:
        directory = variables.get(VARIABLE)
        self._variables = variables
        self._own = secrets
        self.directory = Path(directory) if directory else None

    def load(self) -> None:
        """Make the sources hold what the files hold now; what was taken out of a file is gone."""
        if self.directory is None:
            return
        environment = (self._variables.get("ENVIRONMENT") or "development").lower()
        for source, name in (("default", "base"), ("file", environment), ("runtime", "runtime")):
            path = self.directory / f"{name}.env"
            self._variables.replace(source, read_env_file(path) if path.is_file() else {})
        own = [name for setting in self._own or () for name in setting.variables(environment)]
        secrets = _secrets(self.directory / "secrets")
        self._variables.replace("secret", {name: secrets[name] for name in secrets if self._own is None or name in own})

    def backup(self, process: str) -> ConfigurationBackup | None:
        """Where a process keeps its last good configuration."""
        return None if self.directory is None else ConfigurationBackup(self.directory / "backups" / f"{process}.json")


def _secrets(directory: Path) -> dict[str, str]:
    if not directory.is_dir():
        return {}
    files = sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))
    return {path.name: path.read_text(encoding="utf-8").strip() for path in files}


STATE_PATH = "/lab/state"
RELOAD_PATH = "/lab/reload"
ENVIRONMENT_PATH = "/lab/environment"
OPERATOR_HEADER = "X-Lab-Operator"

Inspection = Mapping[str, Any]
Inspector = Callable[[], Inspection | Awaitable[Inspection]]


def state_route(service: str, faults: Sequence[Fault] = (), inspector: Inspector | None = None) -> Route:
    """A route that shows process, connections, tasks, pool and fault counters; 404 without the operator's token.

    `inspector` adds or replaces entries, typically ``connections`` (live sockets) and ``pool`` (sizes). Being a plain
    Starlette route it never appears in ``/openapi.json``: ``app.router.routes.append(state_route(...))``.
    """
    started = time.monotonic()

    async def state(request: Request) -> Response:
        if not _is_operator(request):
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        body: dict[str, Any] = {
            "service": service,
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - started, 3),
            "connections": 0,
            "tasks": len(asyncio.all_tasks()),
            "pool": {},
            "faults": {fault.id: fault.counts() for fault in faults},
        }
        if inspector is not None:
            extra = inspector()
            body.update(await extra if inspect.isawaitable(extra) else extra)
        return JSONResponse(body)

    return Route(STATE_PATH, state, methods=["GET"], include_in_schema=False)


def reload_route(configuration: LiveConfiguration) -> Route:
    """A route that reads the configuration again and names what changed; 404 without the operator's token."""

    async def reload(request: Request) -> Response:
        if not _is_operator(request):
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        return JSONResponse(configuration.reload())

    return Route(RELOAD_PATH, reload, methods=["POST"], include_in_schema=False)


def environment_route() -> Route:
    """A route that names the variables of this process, and of a child of it; 404 without the operator's token.

    Instead of a value it shows a fingerprint, keyed with the token: services that hold the same value show the same.
    """

    async def environment(request: Request) -> Response:
        if not _is_operator(request):
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        variables = get_env()
        key = (variables.get("LAB_OPERATOR_TOKEN") or "").encode()

        def fingerprint(value: str) -> str:
            return hmac.new(key, value.encode(), "sha256").hexdigest()[:16]

        held = [
            [name, variables.get_variable_source(name), fingerprint(value)]
            for name, value in sorted(variables.get_all().items())
        ]
        child = [[name, "", fingerprint(value)] for name, value in sorted(variables.get_subprocess_env().items())]
        return JSONResponse({"held": held, "child": child})

    return Route(ENVIRONMENT_PATH, environment, methods=["GET"], include_in_schema=False)


def _is_operator(request: Request) -> bool:
    token = get_env().get("LAB_OPERATOR_TOKEN") or ""
    return bool(token) and hmac.compare_digest(token.encode(), request.headers.get(OPERATOR_HEADER, "").encode())
