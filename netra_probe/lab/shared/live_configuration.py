"""LiveConfiguration: what a service does with its configuration, from its start to its end.

configuration = LiveConfiguration("auth_service", SETTINGS)     # files read, all settings checked, backup written
configuration.manager.integer("ACCESS_TOKEN_SECONDS")
configuration.reload()                                          # files read again; changes reach their listeners
"""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from netra_probe.lab.shared.clock import clock
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.env_file import NAME, EnvFileProblem, read_env_file
from netra_probe.lab.shared.former_configuration import ConfigurationBackup
from netra_probe.lab.shared.health_policy import HEALTH_SETTINGS, HealthPolicy
from netra_probe.lab.shared.isolated_environment import EnvironmentProblem, IsolatedEnvironment, get_env
from netra_probe.lab.shared.service_directory import ServiceDirectory
from netra_probe.lab.shared.settings import ConfigurationProblem, Setting

log = logging.getLogger(__name__)

CLOCK_OFFSET = "CLOCK_OFFSET_SECONDS"
SECRET_OVERLAP = "SECRET_OVERLAP_SECONDS"

COMMON: tuple[Setting, ...] = (
    Setting(name=CLOCK_OFFSET, kind="float", default=0.0),
    Setting(name=SECRET_OVERLAP, kind="float", minimum=0, default={"test": 30.0, "*": 3600.0}),
    *HEALTH_SETTINGS,
)
"""What every service declares: how wrong its clock is, how long a rotated secret still counts, what health means."""
ALIKE = 0.85
"""How similar two names are, of 1, when one is taken for the other misspelt."""

VARIABLE = "CONFIG_DIRECTORY"
"""Where a service finds the directory of its files; without it there is only the process environment."""


class ConfigurationLayers:
    """One service's files: what holds in every environment, in this one, and what was changed since.

    Arguments:
        secrets: the settings whose secrets this service may read; every secret there is when left out.
    """

    backup_class: ClassVar[type[ConfigurationBackup]] = ConfigurationBackup

    def __init__(self, variables: IsolatedEnvironment, *, secrets: Sequence[Setting] | None = None) -> None:
        directory = variables.get(VARIABLE)
        self._variables = variables
        self._own = secrets
        self._names: set[str] = set()
        self.directory = Path(directory) if directory else None
        self.environment = (variables.get("ENVIRONMENT") or "development").lower()

    def load(self) -> None:
        """Make the sources hold what the files hold now, when all of them can be read; what was taken out is gone."""
        if self.directory is None:
            return
        read = {source: _values(self.directory / name) for source, name in self._files(self.environment)}
        own = [name for setting in self._own or () for name in setting.variables(self.environment)]
        secrets = _secrets(self.directory / "secrets")
        read["secret"] = {name: secrets[name] for name in secrets if self._own is None or name in own}
        for source, values in read.items():
            self._variables.replace(source, values)
        self._names = {name for values in read.values() for name in values}

    def names(self) -> set[str]:
        """The names in the files, as they were last read."""
        return self._names

    def backup(self, process: str) -> ConfigurationBackup | None:
        """Where a process keeps its last good configuration."""
        if self.directory is None:
            return None
        path = self.directory / "backups" / self.environment / f"{process}.json"
        return self.backup_class(path, self.environment)

    def _files(self, environment: str) -> list[tuple[str, str]]:
        """Sources, and the files that they are read from."""
        return [("default", "base.env"), ("file", f"{environment}.env"), ("runtime", "runtime.env")]


def _values(path: Path) -> dict[str, str]:
    try:
        return read_env_file(path) if path.is_file() else {}
    except UnicodeDecodeError:
        raise EnvFileProblem(f"{path} is no UTF-8 text") from None


def _secrets(directory: Path) -> dict[str, str]:
    if not directory.is_dir():
        return {}
    files = sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))
    return {path.name: path.read_text(encoding="utf-8").strip() for path in files}


class LiveConfiguration:
    """The files, the checked values, the clock, the health and the neighbours of one process.

    What it promises stands with `UnifiedConfigurationManager`; the classes that it makes can be replaced.
    """

    layers_class: ClassVar[type[ConfigurationLayers]] = ConfigurationLayers
    manager_class: ClassVar[type[UnifiedConfigurationManager]] = UnifiedConfigurationManager
    services_class: ClassVar[type[ServiceDirectory]] = ServiceDirectory
    health_class: ClassVar[type[HealthPolicy]] = HealthPolicy

    def __init__(self, service_name: str, settings: Sequence[Setting], *, process: str = "") -> None:
        variables = get_env()
        self.layers = self.layers_class(variables, secrets=[setting for setting in settings if setting.secret])
        self._load_first()
        self.manager = self.manager_class(
            service_name=service_name,
            settings=(*COMMON, *settings),
            variables=variables,
            clock=lambda: time.monotonic() + clock.offset,
        )
        self._backup = self.layers.backup(process or service_name)
        self._shared = [setting.name for setting in settings if setting.shared]
        self.manager.validate(self._backup)
        for name, complaint in self.manager.rejected_changes().items():
            log.warning("%s is as in the last good configuration: %s", name, complaint)
        self.manager.on_change(self._follow)
        self._follow(CLOCK_OFFSET)
        self.services = self.services_class(self.layers.directory, self.layers.environment, clock.now)
        self.health = self.health_class(self.manager)
        self._tell()

    def reload(self) -> dict[str, Any]:
        """Read everything again: ``{"changed": [names], "rejected": {name: problem}, "declared": [names]}``.

        ``misspelt`` has the names in the files that look like a setting's, ``disagreements`` is as the method. Never a
        value. What is rejected stays as it was.
        """
        changed: set[str] = set()
        rejected: dict[str, str] = {}
        self.manager.on_change(changed.add)
        try:
            with self.manager.all_at_once():
                self.layers.load()
            self.manager.save(self._backup)
        except (EnvFileProblem, EnvironmentProblem) as problem:
            rejected["files"] = str(problem)
        finally:
            self.manager.off_change(changed.add)
        rejected = {**self.manager.rejected_changes(), **rejected}
        for name, complaint in rejected.items():
            log.warning("%s was not changed: %s", name, complaint)
        return {
            "changed": sorted(changed),
            "rejected": rejected,
            "declared": self.manager.names(),
            **self._tell(),
        }

    def misspelt(self) -> dict[str, str]:
        """Names in the files that no setting has, and the settings that were probably meant."""
        declared = self.manager.variables()
        found = {name: difflib.get_close_matches(name, declared, n=1, cutoff=ALIKE) for name in self.layers.names()}
        return {name: close[0] for name, close in sorted(found.items()) if close and name not in declared}

    def disagreements(self) -> dict[str, list[str]]:
        """Shared settings, and the other processes of the environment that have another value of them."""
        if self._backup is None:
            return {}
        found: dict[str, list[str]] = {}
        own = {name: _as_kept(self.manager.get(name)) for name in self._shared}
        for process, values in self._backup.others().items():
            for name in own:
                if name in values and values[name] != own[name]:
                    found.setdefault(name, []).append(process)
        return found

    def _load_first(self) -> None:
        try:
            self.layers.load()
        except EnvFileProblem as problem:
            raise ConfigurationProblem(str(problem)) from None

    def _tell(self) -> dict[str, Any]:
        """What an operator should look at, which is also logged."""
        misspelt, disagreements = self.misspelt(), self.disagreements()
        for name, meant in misspelt.items():
            log.warning("%s is no setting of %s; did you mean %s?", name, self.manager.service_name, meant)
        for name, processes in disagreements.items():
            log.warning("%s of %s is another in %s", name, self.manager.service_name, ", ".join(processes))
        return {"misspelt": misspelt, "disagreements": disagreements}

    def _follow(self, name: str) -> None:
        if name == CLOCK_OFFSET:
            clock.offset = self.manager.number(CLOCK_OFFSET)


def _as_kept(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
