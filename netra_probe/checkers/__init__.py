"""C1 … C14 and H1: history in, findings out; no I/O.

A checker is built by its lower-case name, ``canary()``, and rebuilt from what was stored with a verdict by
``from_options``. The classes are imported here and not on use: a submodule imported later would hide the function of
the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.checkers.authorisation.checker import AuthorisationChecker as authorisation
from netra_probe.checkers.base import Checker, CheckerRun, Window, judge
from netra_probe.checkers.canary import CanaryChecker as canary
from netra_probe.checkers.conversations import ConversationChecker as conversations
from netra_probe.checkers.delivery.checker import DeliveryChecker as delivery
from netra_probe.checkers.envelope import EnvelopeChecker as envelope
from netra_probe.checkers.hygiene import HygieneChecker as hygiene
from netra_probe.checkers.lifecycle import LifecycleChecker as lifecycle
from netra_probe.checkers.noninterference import NonInterferenceChecker as noninterference
from netra_probe.checkers.pairing import PairingChecker as pairing
from netra_probe.checkers.promises import PromiseChecker as promises
from netra_probe.checkers.resources import ResourceChecker as resources
from netra_probe.checkers.runs.automaton import AutomatonChecker as automaton
from netra_probe.checkers.store import StoreChecker as store
from netra_probe.checkers.tokens import TokenChecker as tokens
from netra_probe.checkers.transactions.checker import TransactionChecker as transactions

REGISTRY: dict[str, type[Checker]] = {
    "C1": canary,
    "C2": envelope,
    "C3": delivery,
    "C4": automaton,
    "C5": authorisation,
    "C6": tokens,
    "C7": lifecycle,
    "C8": pairing,
    "C9": transactions,
    "C10": resources,
    "C11": noninterference,
    "C12": store,
    "C13": conversations,
    "C14": promises,
    "H1": hygiene,
}


def from_options(id: str, options: Mapping[str, Any]) -> Checker:
    """The checker ``id`` with the options that were stored with its verdict.

    >>> from_options("C1", {}).id
    'C1'
    """
    if id not in REGISTRY:
        raise KeyError(f"no checker {id!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[id](**options)


__all__ = [
    "REGISTRY",
    "Checker",
    "CheckerRun",
    "Window",
    "authorisation",
    "automaton",
    "canary",
    "conversations",
    "delivery",
    "envelope",
    "from_options",
    "hygiene",
    "judge",
    "lifecycle",
    "noninterference",
    "pairing",
    "promises",
    "resources",
    "store",
    "tokens",
    "transactions",
]
