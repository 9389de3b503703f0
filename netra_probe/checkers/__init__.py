"""C1 … C12 and H1: history in, findings out; no I/O.

A checker is built by its lower-case name, ``canary()``, and rebuilt from what was stored with a verdict by
``from_options``. The classes are imported here and not on use: a submodule imported later would hide the function of
the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.checkers.authorisation.checker import AuthorisationChecker
from netra_probe.checkers.base import Checker, CheckerRun, Window, judge
from netra_probe.checkers.canary import CanaryChecker
from netra_probe.checkers.delivery.checker import DeliveryChecker
from netra_probe.checkers.envelope import EnvelopeChecker
from netra_probe.checkers.hygiene import HygieneChecker
from netra_probe.checkers.lifecycle import LifecycleChecker
from netra_probe.checkers.noninterference import NonInterferenceChecker
from netra_probe.checkers.pairing import PairingChecker
from netra_probe.checkers.resources import ResourceChecker
from netra_probe.checkers.runs.automaton import AutomatonChecker
from netra_probe.checkers.store import StoreChecker
from netra_probe.checkers.tokens import TokenChecker
from netra_probe.checkers.transactions.checker import TransactionChecker

REGISTRY: dict[str, type[Checker]] = {
    "C1": CanaryChecker,
    "C2": EnvelopeChecker,
    "C3": DeliveryChecker,
    "C4": AutomatonChecker,
    "C5": AuthorisationChecker,
    "C6": TokenChecker,
    "C7": LifecycleChecker,
    "C8": PairingChecker,
    "C9": TransactionChecker,
    "C10": ResourceChecker,
    "C11": NonInterferenceChecker,
    "C12": StoreChecker,
    "H1": HygieneChecker,
}

canary = CanaryChecker
envelope = EnvelopeChecker
delivery = DeliveryChecker
automaton = AutomatonChecker
authorisation = AuthorisationChecker
tokens = TokenChecker
lifecycle = LifecycleChecker
pairing = PairingChecker
transactions = TransactionChecker
resources = ResourceChecker
noninterference = NonInterferenceChecker
store = StoreChecker
hygiene = HygieneChecker


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
    "delivery",
    "envelope",
    "from_options",
    "hygiene",
    "judge",
    "lifecycle",
    "noninterference",
    "pairing",
    "resources",
    "store",
    "tokens",
    "transactions",
]
