"""Files of ``NAME=value`` lines."""

from __future__ import annotations

import re
from pathlib import Path

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnvFileProblem(ValueError):
    """A line that is no ``NAME=value``; names file and line, never a value."""


def read_env_file(path: Path) -> dict[str, str]:
    """The values in a file; comments, ``export`` and quotes are allowed."""
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, separator, value = text.partition("=")
        if not separator or not NAME.fullmatch(name.strip()):
            raise EnvFileProblem(f"{path}, line {number}: expected NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[name.strip()] = value
    return values
