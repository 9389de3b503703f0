"""When a run began, and with which versions of what: written into ``run.json``, since nobody can tell later."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def origin() -> dict[str, Any]:
    """What ``run.json`` says of the moment and the machine: ``started`` (UTC) and ``versions``, by distribution."""
    return {"started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "versions": versions()}


def versions() -> dict[str, str]:
    """Python, netra-probe, and what netra-probe itself requires, as installed here."""
    found = {"python": platform.python_version(), "netra-probe": metadata.version("netra-probe")}
    for requirement in sorted(metadata.requires("netra-probe") or (), key=str.casefold):
        name = _NAME.match(requirement)
        if name is None or "extra ==" in requirement:
            continue
        try:
            found[name[0]] = metadata.version(name[0])
        except metadata.PackageNotFoundError:
            continue  # not needed on this platform
    return found
