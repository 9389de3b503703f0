"""LiveConfiguration: what a service does with its configuration, from its start to its end.

configuration = LiveConfiguration("auth_service", SETTINGS)     # files read, all settings checked, backup written
configuration.manager.integer("ACCESS_TOKEN_SECONDS")
configuration.reload()                                          # files read again; changes reach their listeners
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from netra_probe.lab.shared.clock import clock
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.env_file import EnvFileProblem
from netra_probe.lab.shared.isolated_environment import EnvironmentProblem, get_env
from netra_probe.lab.shared.layers import ConfigurationLayers
from netra_probe.lab.shared.settings import ConfigurationProblem, Setting

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
        self.layers = ConfigurationLayers(variables)
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
