"""What a service offers, learned from its own description: operations, their parameters, the bodies they take.

A target is asked for its ``/openapi.json``; where it has none, the operations that deployments of the platform are
known to have (netra-wire §2 and §7) stand in, and each is tried before anything is concluded from it.
"""

from __future__ import annotations

from netra_probe.openapi.document import Interface, Parameter, Route

__all__ = ["Interface", "Parameter", "Route"]
