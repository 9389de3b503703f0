"""The lab's components as its composition roots have them, with the faults that this process was started with.

    from netra_probe.lab.composed import IsolatedEnvironment

For whoever investigates a component in a process of its own instead of over the wire. ``LAB_FAULTS`` and
``LAB_FAULT_MODULES`` select faults as they do for a service; what they count is written into ``LAB_FAULT_COUNTS``, a
directory, for the lab's status.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As modules: a class that stood here would be found without its faults.
from netra_probe.lab.shared import configuration, isolated_environment, live_configuration
from netra_probe.lab.shared.faults import Fault, Parts, install_faults

_writing = threading.Lock()
_roots: dict[str, Parts] = {}


def shared_parts() -> Parts:
    """What all services share, by name: the parts that a fault with ``service = "shared"`` may replace."""
    return Parts(
        {
            "IsolatedEnvironment": isolated_environment.IsolatedEnvironment,
            "UnifiedConfigurationManager": configuration.UnifiedConfigurationManager,
            "ConfigurationLayers": live_configuration.ConfigurationLayers,
            "ConfigurationBackup": configuration.ConfigurationBackup,
            "FormerValues": configuration.FormerValues,
            "LiveConfiguration": live_configuration.LiveConfiguration,
        }
    )


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    for service in ("shared", "backend"):
        if name in (parts := _parts(service)):
            return parts[name]
    raise AttributeError(f"the lab has no component {name}")


def replaced_parts(fault: type[Fault]) -> tuple[str, ...]:
    """The names of the parts that a fault puts something else in place of: where in the code its like would be.

    Raises whatever its ``install`` raises.
    """
    healthy, faulty = _healthy(fault.service), _healthy(fault.service)
    fault().install(faulty)
    return tuple(name for name in healthy if faulty[name] != healthy[name])


def _healthy(service: str) -> Parts:
    if service == "shared":
        return shared_parts()
    # Importing a whole service takes a second, which most have no use for.
    composition = importlib.import_module(f"netra_probe.lab.{service}.composition")
    parts: Parts = composition.healthy_parts()
    return parts


def _parts(service: str) -> Parts:
    if service not in _roots:
        parts = _healthy(service)
        faults = install_faults(parts, service, process=f"component-{os.getpid()}")
        for fault in faults:
            fault.counted = lambda: _write_counts(service, faults)
        if service == "shared":
            isolated_environment.begin_with(parts["IsolatedEnvironment"])
        _roots[service] = parts
    return _roots[service]


def _write_counts(service: str, faults: Sequence[Fault]) -> None:
    directory = os.environ.get("LAB_FAULT_COUNTS")
    if not directory:
        return
    with _writing:
        path = Path(directory) / f"{os.getpid()}-{service}.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps({fault.id: fault.counts() for fault in faults}), encoding="utf-8")
        draft.rename(path)
