"""The embedded platform under investigation: a small, real Netra, started from wheels in seconds.

    from netra_probe.lab import start_lab

    with start_lab() as lab:
        lab.parameters   # what a probe needs to know of any deployment

The probe treats it as it treats any deployment, over the wire; starting it is all that it knows of this package.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from netra_probe.lab.infrastructure.errors import LabError
    from netra_probe.lab.infrastructure.handle import Lab, attach, running_labs, start_lab
    from netra_probe.lab.shared.faults import FaultProblem, check_selection, known_faults

__all__ = [
    "FaultProblem",
    "Lab",
    "LabError",
    "attach",
    "check_selection",
    "known_faults",
    "running_labs",
    "start_lab",
]


def __getattr__(name: str) -> Any:
    """Import on first use: every service of the lab imports this package, and none needs these names."""
    if name == "LabError":
        from netra_probe.lab.infrastructure.errors import LabError

        return LabError
    if name in __all__:
        if sys.platform == "win32":
            return _unsupported
        from netra_probe.lab.infrastructure import handle

        return getattr(handle, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _unsupported(*_: object, **__: object) -> NoReturn:
    from netra_probe.lab.infrastructure.errors import LabError

    raise LabError("The lab runs on Linux and macOS: there are no Redis programs for Windows. Use WSL 2 there.")
