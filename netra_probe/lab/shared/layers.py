"""The files that a service's variables come from, weakest first, read at start and whenever it is told to.

========================  ============  ==========================================================
``base.env``              ``default``   what holds everywhere
``<environment>.env``     ``file``      what one environment has of its own
(the process environment) ``process``
``runtime.env``           ``runtime``   what was changed since the start
``secrets/<NAME>``        ``secret``    one file per secret; wins over everything but an override
========================  ============  ==========================================================
"""

from __future__ import annotations

from pathlib import Path

from netra_probe.lab.shared.backups import ConfigurationBackup
from netra_probe.lab.shared.env_file import NAME, read_env_file
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment

VARIABLE = "CONFIG_DIRECTORY"
"""Where a service finds the directory of its files; without it there is only the process environment."""


class ConfigurationLayers:
    """One service's files."""

    def __init__(self, variables: IsolatedEnvironment) -> None:
        directory = variables.get(VARIABLE)
        self._variables = variables
        self.directory = Path(directory) if directory else None

    def load(self) -> None:
        """Make the sources hold what the files hold now; what was taken out of a file is gone."""
        if self.directory is None:
            return
        environment = (self._variables.get("ENVIRONMENT") or "development").lower()
        for source, name in (("default", "base"), ("file", environment), ("runtime", "runtime")):
            path = self.directory / f"{name}.env"
            self._variables.replace(source, read_env_file(path) if path.is_file() else {})
        self._variables.replace("secret", _secrets(self.directory / "secrets"))

    def backup(self, process: str) -> ConfigurationBackup | None:
        """Where a process keeps its last good configuration."""
        return None if self.directory is None else ConfigurationBackup(self.directory / "backups" / f"{process}.json")


def _secrets(directory: Path) -> dict[str, str]:
    if not directory.is_dir():
        return {}
    files = sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))
    return {path.name: path.read_text(encoding="utf-8").strip() for path in files}
