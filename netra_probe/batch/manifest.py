"""``run.json`` while its run goes on: written after each notebook, so that it is right whenever the run is cut."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netra_probe.batch.execution import Execution
from netra_probe.batch.plan import Plan, noted
from netra_probe.batch.provenance import origin
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.errors import OutputError
from netra_probe.results.results import PLAN, SCHEMA, write_json


@dataclass(kw_only=True)
class Record:
    """What has become of each notebook of a plan so far.

    Arguments:
        directory: of the run.
        executions: those that have ended, by id.
        origin: when it began, and with which versions.
        after: what was done once all of them had ended.
    """

    directory: Path
    plan: Plan
    executions: dict[str, Execution] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=origin)
    after: dict[str, Any] = field(default_factory=dict)

    def go_on_from(self, earlier: Mapping[str, Any]) -> None:
        """What an earlier part of the run has noted holds for the whole; this part is noted beside it."""
        self.after = dict(earlier.get("after", {}))
        begun = {name: earlier[name] for name in self.origin if name in earlier}
        self.origin = {**begun, "resumed": [*earlier.get("resumed", []), self.origin]}

    def entry(self, id: str, notebook: str, *, ended: bool = False) -> dict[str, Any]:
        """One notebook, as ``run.json`` lists it."""
        execution, scenario = self.executions.get(id), SCENARIOS[id]
        declared = {"id": id, "notebook": notebook, "title": scenario.title, "cases": scenario.cases}
        if execution is None:
            status, reason = ("interrupted", "the run was interrupted") if ended else ("planned", "the run is not over")
            return {**declared, "status": status, "reason": reason}
        return {
            **declared,
            "status": execution.status,
            "reason": execution.reason,
            "seconds": execution.seconds,
            "cpu_seconds": execution.cpu_seconds,
            "memory_mb": execution.memory_mb,
        }

    def write(self, *, ended: bool = False) -> None:
        """Write ``run.json`` in one step.

        Raises OutputError when that is impossible; an earlier one is still there then.
        """
        value = {
            "schema": SCHEMA,
            "run": self.directory.name,
            **noted(self.plan),
            "pid": os.getpid(),
            **self.origin,
            "scenarios": [self.entry(one.id, one.path.name, ended=ended) for one in self.plan.notebooks],
            **({"after": self.after} if self.after else {}),
        }
        write_json(self.directory / PLAN, value)

    def note(self, execution: Execution) -> None:
        """A notebook has ended. A disk that is full now may have room at the end, when it is written once more."""
        self.executions[execution.id] = execution
        with contextlib.suppress(OutputError):
            self.write()
