"""Netra isolation workbook: record what a deployment does, judge it afterwards, show the evidence.

from netra_probe import investigate
from netra_probe.checkers import canary, delivery

probe = await investigate("C4", environment="lab")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netra_probe.checkers.verdict import CaseResult as CaseResult
    from netra_probe.checkers.verdict import Finding as Finding
    from netra_probe.checkers.verdict import Verdict as Verdict
    from netra_probe.clients.replies import Answered as Answered
    from netra_probe.clients.replies import Broken as Broken
    from netra_probe.clients.replies import Closed as Closed
    from netra_probe.clients.replies import Refused as Refused
    from netra_probe.clients.replies import Silent as Silent
    from netra_probe.clients.replies import Unreachable as Unreachable
    from netra_probe.errors import ParameterError as ParameterError
    from netra_probe.errors import ProbeError as ProbeError
    from netra_probe.errors import TargetError as TargetError
    from netra_probe.history.operation import Operation as Operation
    from netra_probe.history.secret import Secret as Secret
    from netra_probe.history.store import History as History
    from netra_probe.investigation.investigation import Investigation as Investigation
    from netra_probe.investigation.users import User as User
    from netra_probe.report.interactive import investigate as investigate
    from netra_probe.target.deployment import Mode as Mode
    from netra_probe.target.deployment import Target as Target

#: Public name → the module that defines it. Imported on first use: the lab's services live in this package, too, and
#: start faster without the clients.
_HOME = {
    "Answered": "clients.replies",
    "Broken": "clients.replies",
    "CaseResult": "checkers.verdict",
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

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"netra_probe.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
