"""What all checkers say of an act: its findings, over the operations that the act has recorded."""

from __future__ import annotations

from netra_probe import Investigation
from netra_probe.checkers import (
    authorisation,
    automaton,
    canary,
    delivery,
    envelope,
    pairing,
    resources,
    store,
    transactions,
)
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.verdict import Finding

CHECKERS = (automaton, authorisation, canary, delivery, envelope, pairing, resources, store, transactions)


def findings(probe: Investigation, *, start: int) -> list[Finding]:
    """Everything that any checker finds from operation ``start`` on."""
    checkers = [checker() for checker in CHECKERS]
    judgements = judge(checkers, list(probe.history), Window(start=start))
    return [finding for judgement in judgements for finding in judgement.findings]


def kinds(probe: Investigation, *, start: int = 0) -> set[str]:
    """The same in short: ``C3 lost``."""
    return {f"{finding.checker} {finding.kind}" for finding in findings(probe, start=start)}
