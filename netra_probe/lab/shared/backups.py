"""The last configuration that was good, on disk: without secrets, written when a service has started well.

A service whose files were broken since then starts with the old values, says so, and waits for somebody to mend them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ConfigurationBackup:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, values: Mapping[str, Any]) -> None:
        """Replace what was kept, in one step."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file)
        draft.rename(self._path)

    def read(self) -> dict[str, Any]:
        """What was kept; nothing when there is nothing, or nothing readable."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}
