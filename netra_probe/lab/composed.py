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
from netra_probe.lab.shared import (
    configuration,
    former_configuration,
    health_policy,
    isolated_environment,
    live_configuration,
    service_directory,
    settings,
)
from netra_probe.lab.shared.faults import Fault, Parts, check_selection, install_faults
from netra_probe.lab.shared.isolated_environment import get_env

_writing = threading.Lock()
_roots: dict[str, Parts] = {}


def shared_parts() -> Parts:
    """What all services share, by name: the parts that a fault with ``service = "shared"`` may replace."""
    return Parts(
        {
            "IsolatedEnvironment": isolated_environment.IsolatedEnvironment,
            "UnifiedConfigurationManager": configuration.UnifiedConfigurationManager,
            "ConfigurationLayers": live_configuration.ConfigurationLayers,
            "ConfigurationBackup": former_configuration.ConfigurationBackup,
            "FormerValues": former_configuration.FormerValues,
            "ServiceDirectory": service_directory.ServiceDirectory,
            "HealthPolicy": health_policy.HealthPolicy,
            "LiveConfiguration": live_configuration.LiveConfiguration,
            "Setting": settings.Setting,
        }
    )


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    if name in _PARTS_OF_AUTH_SERVICE:
        return _parts("auth_service")[name]
    for service in ("shared", *_PARTS_OF_BACKEND, "backend"):
        if service in _PARTS_OF_BACKEND and (name not in _PARTS_OF_BACKEND[service] or _is_whole_backend_needed()):
            continue
        if name in (parts := _parts(service)):
            return parts[name]
    raise AttributeError(f"the lab has no component {name}")


#: Classes of the auth service that can be investigated; nothing of the backend is imported for them.
_PARTS_OF_AUTH_SERVICE = ("LoginService",)
#: What can be investigated without the rest of the backend: the ``service`` of the faults that replace it → the name of
#: each part → the module that has it.
_PARTS_OF_BACKEND = {
    "database": {"DatabaseManager": "database_manager"},
    "agents": {
        "AgentInstanceFactory": "agent_registry",
        "AgentRegistry": "agent_registry",
        "ToolExecutionEngine": "tools",
        "UnifiedToolDispatcher": "tools",
        "UserExecutionContext": "user_execution_context",
        "UserWebSocketEmitter": "user_websocket_emitter",
    },
}


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
    if service in _PARTS_OF_BACKEND:
        modules = {name: f"netra_probe.lab.backend.{module}" for name, module in _PARTS_OF_BACKEND[service].items()}
        return Parts({name: getattr(importlib.import_module(module), name) for name, module in modules.items()})
    # Importing a whole service takes a second, which most have no use for.
    composition = importlib.import_module(f"netra_probe.lab.{service}.composition")
    parts: Parts = composition.healthy_parts()
    return parts


def _parts(service: str) -> Parts:
    if service not in _roots:
        parts = _healthy(service)
        faults = install_faults(parts, service, process=f"component-{os.getpid()}")
        if service == "backend":
            for part in _PARTS_OF_BACKEND:
                faults += install_faults(parts, part, process=f"component-{os.getpid()}")
        for fault in faults:
            fault.counted = lambda: _write_counts(service, faults)
        if service == "shared":
            join(parts)
        _roots[service] = parts
    return _roots[service]


def _is_whole_backend_needed() -> bool:
    """Whether a selected fault replaces parts of the backend: all its classes then come from there."""
    environment = get_env()
    modules = [path for path in (environment.get("LAB_FAULT_MODULES") or "").split(os.pathsep) if path]
    selected = check_selection(environment.get("LAB_FAULTS") or "", modules)
    return any(fault.service == "backend" and not fault.is_of_running_services for fault in selected)


def join(parts: Parts) -> None:
    """Have those that make others themselves make the classes that are in the list."""
    isolated_environment.begin_with(parts["IsolatedEnvironment"])
    parts["ConfigurationLayers"].backup_class = parts["ConfigurationBackup"]
    parts["UnifiedConfigurationManager"].former_values = parts["FormerValues"]
    live = parts["LiveConfiguration"]
    live.layers_class, live.manager_class = parts["ConfigurationLayers"], parts["UnifiedConfigurationManager"]
    live.services_class, live.health_class = parts["ServiceDirectory"], parts["HealthPolicy"]


def _write_counts(service: str, faults: Sequence[Fault]) -> None:
    directory = os.environ.get("LAB_FAULT_COUNTS")
    if not directory:
        return
    with _writing:
        path = Path(directory) / f"{os.getpid()}-{service}.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps({fault.id: fault.counts() for fault in faults}), encoding="utf-8")
        draft.rename(path)
