"""Classes of the lab with one of their faults: ``faulty_components:IsolatedEnvironment__environment_file_wins``.

For processes that investigate a component, by the route that somebody else's classes take.
"""

from __future__ import annotations

from typing import Any

from netra_probe.lab.composed import join, shared_parts
from netra_probe.lab.shared.faults import known_faults


def __getattr__(name: str) -> Any:
    component, _, fault = name.partition("__")
    if not fault:
        raise AttributeError(name)
    parts = shared_parts()
    known_faults(kinds=("component",))[fault.replace("_", "-")]().install(parts)
    join(parts)
    return parts[component]
