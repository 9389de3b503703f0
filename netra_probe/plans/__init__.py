"""Plans: what is going to be done to a target, as data, before anything is done.

steps        one step of a plan, and the plan: shown, stored, filtered, joined, cut down
dimensions   what can be combined with what, what cannot and why, and what comes first
explorer     target description, seed and budget → a plan that covers the combinations, and what it leaves out
description  what a target offers, from its services' own descriptions
executor     carries a plan out over the recording clients; each operation in the history names its step
"""

from __future__ import annotations

from netra_probe.plans.steps import Plan, Step

__all__ = ["Plan", "Step"]
