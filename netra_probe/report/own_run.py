"""A notebook that is executed by hand, or by papermill alone, leaves what a batch run leaves.

Its directory is a run like any other: ``recheck``, ``report``, ``bundle``, the dashboard and ``scenarios`` take it.
The notebook itself is in it as it was saved last, where its file can be found.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from IPython.core.getipython import get_ipython

from netra_probe.batch.execution import Execution
from netra_probe.batch.manifest import Record
from netra_probe.batch.notebooks import Notebook, all_notebooks
from netra_probe.batch.plan import Plan
from netra_probe.batch.progress import Place
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.errors import OutputError
from netra_probe.history.limits import TooLargeError, whole
from netra_probe.history.untrusted import decoded
from netra_probe.results.results import FOLDERS, RESULTS, compute, declared_cases, write_json
from netra_probe.results.runs import read_run
from netra_probe.target.parameters import Parameters

#: Variables in which front ends tell a kernel its notebook's path.
_FRONT_ENDS = ("__session__", "__vsc_ipynb_file__")


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
        self._copy_notebook()
        with contextlib.suppress(OutputError):
            self.record.write(ended=True)
            write_json(directory / RESULTS, compute(directory))
            if get_ipython() is not None:
                from netra_probe.report.publish import publish

                publish(Place(directory), judged={self.id: result})
            else:
                from netra_probe.report.reproducers.writing import write_reproducers

                write_reproducers(read_run(directory), {self.id: result})

    def summed_up(self) -> None:
        """Take over what the notebook was saved with meanwhile, unless it asks for other checks than were judged."""
        kept = self._kept
        if kept.exists() and (file := executed_file(self.id)) and declared_cases(file) == declared_cases(kept):
            self._copy_notebook()

    @property
    def _kept(self) -> Path:
        return self.record.directory / "notebooks" / self.record.plan.notebooks[0].path.name

    def _copy_notebook(self) -> None:
        with contextlib.suppress(OSError):
            if (file := executed_file(self.id)) is not None:
                shutil.copyfile(file, self._kept)


def executed_file(scenario: str) -> Path | None:
    """The file of the notebook that this kernel executes, as far as its front end has said which: JupyterLab, VS Code.

    A path may be relative to a folder that only the server knows: the kernel itself starts beside its notebook.
    """
    shell: Any = get_ipython()
    variables = shell.user_ns if shell is not None else {}
    told = (os.environ.get("JPY_SESSION_NAME"), *(variables.get(name) for name in _FRONT_ENDS))
    for name in (one for one in told if isinstance(one, str) and one.endswith(".ipynb")):
        for path in (Path(name), Path(Path(name).name)):
            if _is_of(path, scenario):
                return path.resolve()
    return None


def _is_of(path: Path, scenario: str) -> bool:
    """Whether a file is a notebook that may be one of a scenario; kernels inherit what others were told."""
    try:
        with path.open("rb") as stream:
            notebook = decoded(whole(stream, path))
    except (OSError, ValueError, TooLargeError):
        return False
    if not isinstance(notebook, dict) or "cells" not in notebook:
        return False
    metadata = notebook.get("metadata")
    declared = metadata.get("netra_probe") if isinstance(metadata, dict) else None
    return not isinstance(declared, dict) or declared.get("id") == scenario


def _notebook(scenario: str) -> Notebook:
    return next(notebook for notebook in all_notebooks() if notebook.id == scenario)
