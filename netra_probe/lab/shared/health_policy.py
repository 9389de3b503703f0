"""HealthPolicy: what the checks of its dependencies mean for the health of a service, as its configuration says.

health.record("database", False)
health.status()             # {"status": "unhealthy", "dependencies": {"database": "unhealthy", "cache": "unknown"}}
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from netra_probe.lab.shared.settings import Setting

if TYPE_CHECKING:
    from netra_probe.lab.shared.configuration import UnifiedConfigurationManager

log = logging.getLogger(__name__)

FAILURES, CRITICAL, OPTIONAL = "HEALTH_FAILURES", "HEALTH_CRITICAL", "HEALTH_OPTIONAL"
HEALTH_SETTINGS: tuple[Setting, ...] = (
    Setting(name=FAILURES, kind="int", minimum=1, default=3),
    Setting(name=CRITICAL, kind="list", default=()),
    Setting(name=OPTIONAL, kind="list", default=()),
)
"""After how many failures in a row a dependency is unhealthy; those that nothing works without, and the others."""


class HealthPolicy:
    """Failures in a row by dependency; what they mean is read from the configuration when it is asked for."""

    def __init__(self, configuration: UnifiedConfigurationManager) -> None:
        self._configuration = configuration
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()

    def record(self, dependency: str, healthy: bool) -> None:
        """Count what a check has found; one success ends a row of failures."""
        with self._lock:
            before = self._failures.get(dependency)
            self._failures[dependency] = 0 if healthy else (before or 0) + 1
        if self._state(dependency) == "unhealthy" and not healthy:
            log.warning("%s is unhealthy after %d failures", dependency, (before or 0) + 1)

    def status(self) -> dict[str, Any]:
        """``healthy``, ``degraded`` (something optional is away) or ``unhealthy``, and the state of each dependency."""
        critical, optional = self._configuration.together(CRITICAL, OPTIONAL)
        states = {name: self._state(name) for name in (*critical, *optional)}
        if any(states[name] in ("unhealthy", "unknown") for name in critical):
            return {"status": "unhealthy", "dependencies": states}
        is_degraded = any(states[name] in ("unhealthy", "unknown") for name in optional)
        return {"status": "degraded" if is_degraded else "healthy", "dependencies": states}

    def _state(self, dependency: str) -> str:
        with self._lock:
            failures = self._failures.get(dependency)
        if failures is None:
            return "unknown"
        if failures >= self._threshold():
            return "unhealthy"
        return "failing" if failures else "healthy"

    def _threshold(self) -> int:
        return self._configuration.integer(FAILURES)
