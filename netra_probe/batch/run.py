"""A batch run: papermill over a selection of notebooks, side by side, with one warm lab for all of them."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netra_probe import lab
from netra_probe.batch.ending import end_workers, remove_what_is_left, uninterrupted
from netra_probe.batch.execution import Execution, Order, execute
from netra_probe.batch.notebooks import Notebook
from netra_probe.batch.origin import origin
from netra_probe.batch.results import PLAN, RESULTS, SCHEMA, compute, write_json
from netra_probe.errors import ParameterError, TargetError, did_you_mean
from netra_probe.judging import ScenarioResult
from netra_probe.lab_target import LAB_VARIABLE
from netra_probe.pace import RUN_VARIABLE
from netra_probe.parameters import Parameters, folder
from netra_probe.turns import TURNS_VARIABLE

#: Seconds one cell may take before its notebook is given up.
CELL_SECONDS = 600
#: What a run directory holds beside run.json and results.json.
FOLDERS = ("notebooks", "history", "logs")
#: prctl(2): the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run, on what, how.

    Arguments:
        notebooks: in the order in which they are started.
        parameters: validated.
        extra, set: parameters of single notebooks, and names of common ones, that were set by ``-p``.
        faults, fault_modules: for the lab that the run starts.
        variables: for the kernels' environment; naming a lab here keeps the run from starting one.
        output: the run directory; a fresh one under ``outputs/<environment>/`` when left out.
    """

    notebooks: Sequence[Notebook]
    parameters: Parameters
    extra: dict[str, Any] = field(default_factory=dict)
    set: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    fault_modules: tuple[Path, ...] = ()
    jobs: int = 2
    output: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)


def run(
    plan: Plan,
    *,
    tell: Callable[[Execution], None] = lambda execution: None,
    keep: dict[str, ScenarioResult] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Execute the plan; returns the run directory and its results.

    Each notebook that ends is told about; ``keep`` gets the judged scenarios, by id. Ctrl-C ends the run early and
    still leaves valid results.

    Raises ParameterError for wrong use, before anything is started or written, and TargetError when the lab cannot
    start.
    """
    given = _parameters_of_each(plan)
    directory = _make_directory(plan)
    name = directory.name
    executions: dict[str, Execution] = {}
    after: dict[str, Any] = {}
    begun = origin()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _write_plan(directory, name, plan, executions, begun)
            with _target_variables(plan) as variables:
                orders = [
                    Order(
                        id=notebook.id,
                        source=notebook.path,
                        output=directory / "notebooks" / notebook.path.name,
                        parameters=given[notebook.id],
                        variables={RUN_VARIABLE: str(directory), TURNS_VARIABLE: str(directory / "logs"), **variables},
                        timeout=CELL_SECONDS,
                        log=directory / "logs" / f"{notebook.id}.log",
                    )
                    for notebook in plan.notebooks
                ]
                try:
                    for execution in _execute_all(orders, jobs=plan.jobs):
                        executions[execution.id] = execution
                        _write_plan(directory, name, plan, executions, begun)
                        tell(execution)
                finally:
                    after = remove_what_is_left(plan.parameters, variables)
    except lab.LabError as error:
        _forget(directory)
        raise TargetError(str(error)) from None
    with uninterrupted():
        _write_plan(directory, name, plan, executions, begun, ended=True, after=after)
        results = compute(directory, keep=keep)
        write_json(directory / RESULTS, results)
    return directory, results


def _parameters_of_each(plan: Plan) -> dict[str, dict[str, Any]]:
    common = plan.parameters.model_dump()
    taken = {notebook.id: notebook.parameters for notebook in plan.notebooks}
    everything = frozenset().union(*taken.values()) if taken else frozenset()
    for name in (*plan.extra, *plan.set):
        if name not in everything:
            raise ParameterError(f'unknown parameter "{name}" (-p); {did_you_mean(name, everything)}')
    values = {**common, **plan.extra}
    return {id: {name: values[name] for name in sorted(names & values.keys())} for id, names in taken.items()}


def _make_directory(plan: Plan) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    directory = plan.output or folder("outputs") / plan.parameters.environment / f"{stamp}-{secrets.token_hex(3)}"
    if (directory / PLAN).exists():
        raise ParameterError(f"{directory} holds a run already; give another --output, or --resume it.")
    try:
        for name in FOLDERS:
            (directory / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{directory}: cannot be made ({error.strerror}); give a writable --output.") from None
    return directory


def _forget(directory: Path) -> None:
    """Remove a run directory in which nothing has happened."""
    (directory / PLAN).unlink(missing_ok=True)
    for path in (*(directory / name for name in FOLDERS), directory):
        with contextlib.suppress(OSError):
            path.rmdir()


@contextlib.contextmanager
def _target_variables(plan: Plan) -> Iterator[dict[str, str]]:
    """What kernels need in their environment to find the target; a lab is started for the block where one is needed."""
    if plan.parameters.target or LAB_VARIABLE in plan.variables:
        yield plan.variables
        return
    with lab.start_lab(faults=plan.faults, fault_modules=plan.fault_modules) as running:
        yield {**plan.variables, LAB_VARIABLE: str(running.state_file)}


def _execute_all(orders: list[Order], *, jobs: int) -> Iterator[Execution]:
    """Run the orders in worker processes; yields each execution when it ends."""
    context = multiprocessing.get_context("spawn")
    pool: Executor
    with ProcessPoolExecutor(
        max_workers=max(1, min(jobs, len(orders))), mp_context=context, initializer=end_with_parent
    ) as pool:
        waiting: dict[Future[Execution], Order] = {pool.submit(execute, order): order for order in orders}
        try:
            for future in as_completed(waiting):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield Execution(id=waiting[future].id, status="died", reason="its worker process died")
        except (KeyboardInterrupt, GeneratorExit):
            pool.shutdown(wait=False, cancel_futures=True)
            end_workers()
            raise


def end_with_parent() -> None:
    """For a worker: leave Ctrl-C to the parent, and end when it ends, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _write_plan(
    directory: Path,
    name: str,
    plan: Plan,
    executions: dict[str, Execution],
    begun: dict[str, Any],
    *,
    ended: bool = False,
    after: dict[str, Any] | None = None,
) -> None:
    scenarios = []
    for notebook in plan.notebooks:
        execution = executions.get(notebook.id)
        status = execution.status if execution else "interrupted" if ended else "planned"
        reason = execution.reason if execution else "the run was interrupted" if ended else "the run is not over"
        scenarios.append({"id": notebook.id, "notebook": notebook.path.name, "status": status, "reason": reason})
    write_json(
        directory / PLAN,
        {
            "schema": SCHEMA,
            "run": name,
            "environment": plan.parameters.environment,
            "seed": plan.parameters.seed,
            "users": plan.parameters.users,
            "faults": list(plan.faults),
            "pid": os.getpid(),
            **begun,
            "scenarios": scenarios,
            **({"after": after} if after else {}),
        },
    )
