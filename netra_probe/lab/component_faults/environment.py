"""Faults of IsolatedEnvironment (E1)."""

from __future__ import annotations

import subprocess
from typing import Any, ClassVar

from netra_probe.lab.shared.faults import Fault, Kind, Parts, register


class EnvironmentFault(Fault):
    """A fault of IsolatedEnvironment."""

    service = "shared"
    kind: ClassVar[Kind] = "component"
    layer = "environment"
    checkers = ("C14",)


@register
class ShellExecuted(EnvironmentFault):
    """Shell substitutions in values are executed when they are read."""

    id = "environment-shell-executed"
    title = "$(…) in a value is executed"
    breaks = "values are text: no shell runs when they are read"

    def install(self, parts: Parts) -> None:
        """Replace the reading of a value."""
        healthy: type[Any] = parts["IsolatedEnvironment"]
        fault = self

        class Executing(healthy):  # type: ignore[misc]
            def get(self, key: str, default: str | None = None) -> str | None:
                value = super().get(key, default)
                fault.reached()
                if value and "$(" in value and fault.fires():
                    fault.triggered()
                    return subprocess.run(["sh", "-c", f"echo {value}"], capture_output=True, text=True).stdout.strip()
                return value  # type: ignore[no-any-return]

        parts["IsolatedEnvironment"] = Executing


@register
class FileWins(EnvironmentFault):
    """What stands in a file beats what was set while the service ran."""

    id = "environment-file-wins"
    title = "a file beats an explicit set"
    breaks = "the strongest source that holds a name wins"

    def install(self, parts: Parts) -> None:
        """Replace the order of sources."""
        healthy: type[Any] = parts["IsolatedEnvironment"]
        fault = self

        class Reversed(healthy):  # type: ignore[misc]
            def _winner(self, key: str) -> tuple[str, str] | None:
                fault.reached()
                stored = self._visible().get("file", {}).get(key)
                if stored is not None and super()._winner(key) != ("file", stored) and fault.fires():
                    fault.triggered()
                    return "file", stored
                return super()._winner(key)  # type: ignore[no-any-return]

        parts["IsolatedEnvironment"] = Reversed
