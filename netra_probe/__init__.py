"""Netra isolation workbook: record what a deployment does, judge it afterwards, show the evidence.

from netra_probe import investigate
from netra_probe.checkers import canary, delivery

probe = await investigate("C4", environment="lab")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netra_probe.checkers.verdict import CaseResult, Finding, Verdict
    from netra_probe.clients.replies import Answered, Broken, Closed, Refused, Silent, Unreachable
    from netra_probe.errors import CleanUpError, ParameterError, ProbeError, TargetError
    from netra_probe.history.operation import Operation
    from netra_probe.history.secret import Secret
    from netra_probe.history.store import History
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User
    from netra_probe.report.interactive import investigate
    from netra_probe.target.deployment import Mode, Target

#: Public name → the module that defines it. Imported on first use: the lab's services live in this package, too, and
#: start faster without the clients.
_HOME = {
    "Answered": "clients.replies",
    "Broken": "clients.replies",
    "CaseResult": "checkers.verdict",
    "CleanUpError": "errors",
    "Closed": "clients.replies",
    "Finding": "checkers.verdict",
    "History": "history.store",
    "Investigation": "investigation.investigation",
    "Mode": "target.deployment",
    "Operation": "history.operation",
    "ParameterError": "errors",
    "ProbeError": "errors",
    "Refused": "clients.replies",
    "Secret": "history.secret",
    "Silent": "clients.replies",
    "Target": "target.deployment",
    "TargetError": "errors",
    "Unreachable": "clients.replies",
    "User": "investigation.users",
    "Verdict": "checkers.verdict",
    "investigate": "report.interactive",
}

__all__ = [
    "Answered",
    "Broken",
    "CaseResult",
    "CleanUpError",
    "Closed",
    "Finding",
    "History",
    "Investigation",
    "Mode",
    "Operation",
    "ParameterError",
    "ProbeError",
    "Refused",
    "Secret",
    "Silent",
    "Target",
    "TargetError",
    "Unreachable",
    "User",
    "Verdict",
    "investigate",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"netra_probe.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
