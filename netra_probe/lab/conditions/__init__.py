"""Conditions: what a healthy lab may meet without being any less healthy. Selected by name, as faults are.

A condition replaces healthy parts by others that are just as right: no checker may find anything under it.
"""

from netra_probe.lab.conditions import jitter

__all__ = ["jitter"]
