"""The embedded platform under investigation: a small, real Netra, started from wheels in seconds.

    from netra_probe.lab import start_lab

    with start_lab() as lab:
        lab.parameters   # what a probe needs to know of any deployment

The probe treats it as it treats any deployment, over the wire; starting it is all that it knows of this package.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netra_probe.lab.composed import replaced_parts as replaced_parts
    from netra_probe.lab.infrastructure.errors import LabError as LabError
    from netra_probe.lab.infrastructure.handle import Lab as Lab
    from netra_probe.lab.infrastructure.handle import attach as attach
    from netra_probe.lab.infrastructure.handle import running_labs as running_labs
    from netra_probe.lab.infrastructure.handle import start_lab as start_lab
    from netra_probe.lab.shared.faults import FaultProblem as FaultProblem
    from netra_probe.lab.shared.faults import check_selection as check_selection
    from netra_probe.lab.shared.faults import known_faults as known_faults
    from netra_probe.lab.shared.variant import Variant as Variant
    from netra_probe.lab.shared.variant import VariantProblem as VariantProblem


#: Public name → the module that defines it. Imported on first use: every service of the lab imports this package, and
#: none needs these names.
_HOME = {
    "FaultProblem": "shared.faults",
    "Lab": "infrastructure.handle",
    "LabError": "infrastructure.errors",
    "Variant": "shared.variant",
    "VariantProblem": "shared.variant",
    "attach": "infrastructure.handle",
    "check_selection": "shared.faults",
    "known_faults": "shared.faults",
    "replaced_parts": "composed",
    "running_labs": "infrastructure.handle",
    "start_lab": "infrastructure.handle",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        if sys.platform == "win32" and _HOME[name] == "infrastructure.handle":
            return _unsupported
        return getattr(import_module(f"netra_probe.lab.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _unsupported(*_: object, **__: object) -> None:
    from netra_probe.lab.infrastructure.errors import LabError

    raise LabError("The lab runs on Linux and macOS: there are no Redis programs for Windows. Use WSL 2 there.")
