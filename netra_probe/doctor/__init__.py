"""The doctor: what a deployment is like today, what a run would do to it, and what it would be worth.

report = await examine(parameters, target)
print(report.text())
"""

from __future__ import annotations

from netra_probe.doctor.examination import examine, own_amounts, planned
from netra_probe.doctor.plan import OperationPlan, plan_operations
from netra_probe.doctor.report import Report, Status
from netra_probe.results.amounts import Amounts

__all__ = ["Amounts", "OperationPlan", "Report", "Status", "examine", "own_amounts", "plan_operations", "planned"]
