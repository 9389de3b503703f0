"""A notebook that is executed by hand, or by papermill alone, leaves what a batch run leaves.

Its directory is a run like any other: ``recheck``, ``report``, ``bundle``, the dashboard and ``scenarios`` take it.
Only the notebook itself is not in it: what is on disk at that moment shows the outputs of some earlier execution.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from IPython.core.getipython import get_ipython

from netra_probe.batch.execution import Execution
from netra_probe.batch.manifest import Record
from netra_probe.batch.notebooks import Notebook, all_notebooks
from netra_probe.batch.plan import Plan
from netra_probe.batch.progress import Place
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.errors import OutputError
from netra_probe.results.results import FOLDERS, RESULTS, compute, write_json
from netra_probe.target.parameters import Parameters


@dataclass(kw_only=True)
class OwnRun:
    """A run directory around one investigation, from its opening to its end."""

    id: str
    record: Record
    begun: float = field(default_factory=time.monotonic)

    @staticmethod
    def begin(directory: Path, *, scenario: str, parameters: Parameters, faults: Sequence[str]) -> OwnRun:
        """Note what is going to be done, so that what is left of it is a run even if it never ends."""
        plan = Plan(notebooks=[_notebook(scenario)], parameters=parameters, faults=tuple(faults), output=directory)
        run = OwnRun(id=scenario, record=Record(directory=directory, plan=plan))
        with contextlib.suppress(OSError):
            for name in FOLDERS:
                (directory / name).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OutputError):  # a full disk ends no investigation; the end tries once more
            run.record.write()
        return run

    def end(self, result: ScenarioResult) -> None:
        """Write the results and, from a notebook, the report; what cannot be written is left out."""
        directory = self.record.directory
        seconds = round(time.monotonic() - self.begun, 1)
        self.record.executions[self.id] = Execution(id=self.id, status="completed", seconds=seconds)
        with contextlib.suppress(OutputError):
            self.record.write(ended=True)
            write_json(directory / RESULTS, compute(directory))
            if get_ipython() is not None:
                from netra_probe.report.publish import publish

                publish(Place(directory), judged={self.id: result})


def _notebook(scenario: str) -> Notebook:
    return next(notebook for notebook in all_notebooks() if notebook.id == scenario)
