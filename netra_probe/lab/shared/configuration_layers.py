"""ConfigurationLayers: the files of one service in one environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from netra_probe.lab.shared.configuration_backup import ConfigurationBackup
from netra_probe.lab.shared.env_file import NAME, EnvFileProblem, read_env_file
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment
from netra_probe.lab.shared.settings import Setting

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
