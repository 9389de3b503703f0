"""The configuration files of a lab's services, as the supervisor writes them (`netra_probe.lab.shared.layers`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from netra_probe.lab.shared.env_file import read_env_file


class ConfigurationDirectory:
    """``base.env``, ``<environment>.env``, ``runtime.env`` and ``secrets/``; readable by the lab's own user only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)

    def clear(self) -> None:
        """Forget everything: layers, rotated secrets, and what services have kept as their last good configuration."""
        shutil.rmtree(self.path)
        self.path.mkdir(mode=0o700)

    def write(self, layer: str, values: Mapping[str, str]) -> None:
        """Replace a layer's file in one step."""
        self._put(self.path / f"{layer}.env", "".join(f"{name}={value}\n" for name, value in sorted(values.items())))

    def read(self, layer: str) -> dict[str, str]:
        """What a layer's file holds."""
        path = self.path / f"{layer}.env"
        return read_env_file(path) if path.is_file() else {}

    def write_secret(self, name: str, value: str) -> None:
        """Replace one secret."""
        (self.path / "secrets").mkdir(mode=0o700, exist_ok=True)
        self._put(self.path / "secrets" / name, value)

    def _put(self, path: Path, text: str) -> None:
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.rename(path)
