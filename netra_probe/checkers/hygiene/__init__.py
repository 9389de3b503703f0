"""H1, the checker of hygiene: one module for each kind of rule, each rule with the clause that it rests on."""

from __future__ import annotations

from netra_probe.checkers.hygiene.checker import RULES, TOPICS, HygieneChecker

__all__ = ["RULES", "TOPICS", "HygieneChecker"]
