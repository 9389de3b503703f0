"""What breaks in one component or one critical flow: faults for the notebooks E and F, a module for each component.

Modules of flows are called ``flows_…``; one holds the faults of a few flows.

Each breaks what one area of its component promises, and its id says where and what: ``environment-shell-executed``.
They differ from the published faults in their kind, ``component``; ``netra-probe detect --claimed`` holds the cases
of the notebooks to them.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
