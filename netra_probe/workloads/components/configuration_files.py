"""The directory of files that services read their configuration from, written by the investigator.

with ConfigurationFiles({"base.env": "LIMIT=5", "secrets/KEY": "first"}) as files:
    await probe.apart(act, "LiveConfiguration", variables=files.variables)
    files.write("runtime.env", "LIMIT=6", "REGION=north")
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType


class ConfigurationFiles:
    """A directory in the layout of the platform's services: ``base.env``, ``<environment>.env``, ``runtime.env``.

    Arguments:
        texts: file → what is in it; `write` for more of them.
        environment: the one that ``variables`` name.
    """

    def __init__(self, texts: Mapping[str, str] | None = None, *, environment: str = "test") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="netra-probe-configuration-")
        self.path = Path(self._directory.name)
        self.environment = environment
        for name, text in (texts or {}).items():
            self.write(name, text)

    @property
    def variables(self) -> dict[str, str]:
        """What a process is told to read its configuration here."""
        return {"CONFIG_DIRECTORY": str(self.path), "ENVIRONMENT": self.environment}

    def write(self, name: str, *lines: str) -> None:
        """Replace a file in one step, as an operator's tools do."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        draft.rename(path)

    def texts(self) -> dict[str, str]:
        """The files that are there now, by name, without those that services write for themselves."""
        own = ("backups", "services")
        found = ((path.relative_to(self.path), path) for path in sorted(self.path.rglob("*")) if path.is_file())
        return {str(name): path.read_text(encoding="utf-8") for name, path in found if name.parts[0] not in own}

    def __enter__(self) -> ConfigurationFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directory.cleanup()
