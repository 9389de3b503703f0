"""The published faults, one module per layer; importing this package registers them.

A fault is written as :mod:`netra_probe.lab.shared.faults` shows. It replaces entries of a service's composition root
(`backend/composition.py`: `healthy_parts`) before anything is built:

* a component, store, agent or tool: by class name, usually with a subclass of the healthy one;
* a route handler: by ``"METHOD /path"``, e.g. ``parts["GET /api/threads/{thread_id}"]``;
* authentication of REST requests: ``parts["current_caller"]``;
* middleware: ``parts["middleware"] = [MyASGIMiddleware, *parts["middleware"]]``.

Its attributes say what it breaks, what triggers it and what is seen outside; its docstring tells the incident.
"""

from netra_probe.lab.faults import (
    agent_tools,
    agents,
    authentication,
    bypass,
    caches,
    connections,
    correlation,
    data_access,
    delivery,
    execution,
    pools,
    quotas,
    sessions,
    websocket,
)

__all__ = [
    "agent_tools",
    "agents",
    "authentication",
    "bypass",
    "caches",
    "connections",
    "correlation",
    "data_access",
    "delivery",
    "execution",
    "pools",
    "quotas",
    "sessions",
    "websocket",
]
