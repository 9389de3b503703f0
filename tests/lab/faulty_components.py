"""Classes of the lab with one of their faults: ``faulty_components:IsolatedEnvironment__environment_file_wins``.

For processes that investigate a component, by the route that somebody else's classes take.
"""

from __future__ import annotations

from typing import Any

from netra_probe.catalogue.components import COMPONENTS
from netra_probe.clients.component_signature import imported
from netra_probe.lab.composed import join, shared_parts
from netra_probe.lab.shared.faults import known_faults


def __getattr__(name: str) -> Any:
    component, _, fault = name.partition("__")
    if not fault:
        raise AttributeError(name)
    broken = known_faults(kinds=("component",))[fault.replace("_", "-")]
    # A whole service takes a second to import.
    parts: Any = shared_parts() if broken.service == "shared" else {component: imported(COMPONENTS[component].path)}
    broken().install(parts)
    if broken.service == "shared":
        join(parts)
    return parts[component]
