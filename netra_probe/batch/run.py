"""A batch run: papermill over a selection of notebooks, side by side, with one warm lab for all of them."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from netra_probe import lab
from netra_probe.batch.execution import Order, keep_partial
from netra_probe.batch.executors import OwnProcesses, RemoteExecutor, Workers, execute_all
from netra_probe.batch.manifest import Record, completed, set_aside
from netra_probe.batch.notebooks import Notebook
from netra_probe.batch.plan import Plan, parameters_of_each
from netra_probe.batch.processes import remove_leftovers, uninterrupted
from netra_probe.batch.progress import Estimate, Patient, Watcher
from netra_probe.catalogue.folders import folder
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.clients.rate_limit import RUN_VARIABLE
from netra_probe.errors import OutputError, ParameterError, TargetError
from netra_probe.investigation.exclusive_access import lock_variables
from netra_probe.results.results import FOLDERS, PLAN, RESULTS, Judged, compute, judge_scenario, read_plan, write_json
from netra_probe.results.runs import held
from netra_probe.target.environment import scratch
from netra_probe.target.lab import LAB_VARIABLE


def run(
    plan: Plan,
    *,
    executor: Executor | Workers | None = None,
    watcher: Watcher | None = None,
    keep: dict[str, ScenarioResult] | None = None,
    resume: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Execute the plan; returns the run directory and its results. Ctrl-C ends the run early and leaves valid results.

    Arguments:
        executor: who executes the notebooks: any ``concurrent.futures.Executor``, whose workers need not share a file
            system with us; processes of this run when left out.
        watcher: receives its progress.
        keep: gets the judged scenarios, by id.
        resume: finish what is missing in ``plan.output``, which holds a run; what is complete there stays as it is.

    Raises ParameterError for wrong use, before anything is started or written; TargetError when the lab cannot start;
    OutputError when the results cannot be written.
    """
    given = parameters_of_each(plan)
    watcher = Patient(watcher) if watcher else Watcher()
    directory = _existing(plan) if resume else _fresh(plan)
    with held(directory):
        record = Record(directory=directory, plan=plan)
        if resume:
            record.executions = completed(directory)
            record.go_on_from(read_plan(directory))
        elif (directory / PLAN).exists():
            raise ParameterError(f"{directory} holds a run already; give another --output, or --resume it.")
        missing = [one for one in plan.notebooks if one.id not in record.executions]
        judged: dict[str, Judged] = {}
        if missing:
            with contextlib.suppress(KeyboardInterrupt):
                set_aside(directory, [(one.id, one.path.name) for one in missing])
                _begin(record, fresh=not resume)
                judged = _execute_in_order(record, [(one, given[one.id]) for one in missing], executor, watcher, resume)
        with uninterrupted():
            record.write(ended=True)
            results = compute(directory, keep=keep, already=judged)
            write_json(directory / RESULTS, results)
    return directory, results


def _execute_in_order(
    record: Record,
    missing: list[tuple[Notebook, dict[str, Any]]],
    executor: Executor | Workers | None,
    watcher: Watcher,
    resume: bool,
) -> dict[str, Judged]:
    try:
        with scratch("npk-") as sockets:
            orders = [_order(notebook, given, record, sockets) for notebook, given in missing]
            return _execute(record, orders, _workers(executor), watcher)
    except lab.LabError as error:
        if not resume:
            _forget(record.directory)
        raise TargetError(str(error)) from None


def _order(notebook: Notebook, parameters: dict[str, Any], record: Record, sockets: Path) -> Order:
    directory = record.directory
    return Order(
        id=notebook.id,
        source=notebook.path,
        output=directory / "notebooks" / notebook.path.name,
        parameters=parameters,
        variables={RUN_VARIABLE: str(directory)},
        timeout=record.plan.cell_seconds,
        log=directory / "logs" / f"{notebook.id}.log",
        sockets=sockets,
    )


def _workers(executor: Executor | Workers | None) -> Workers:
    if executor is None:
        return OwnProcesses()
    return RemoteExecutor(executor) if isinstance(executor, Executor) else executor


def _execute(record: Record, orders: list[Order], workers: Workers, watcher: Watcher) -> dict[str, Judged]:
    """Execute the orders and judge each scenario as it ends; an interruption ends them, and is no error."""
    plan, judged = record.plan, dict[str, Judged]()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(workers))
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        workers.prepare(jobs=plan.jobs, orders=len(orders))
        variables = stack.enter_context(target_variables(plan))
        shared = {**variables, **lock_variables(plan.parameters.target, variables)}
        for order in orders:
            order.variables.update(shared)
        estimate = Estimate.of(plan)
        position = {id: number for number, id in enumerate(estimate.order(order.id for order in orders))}
        watcher.begin(estimate, record.directory if workers.is_here else None)
        try:
            with contextlib.closing(
                execute_all(
                    sorted(orders, key=lambda order: position[order.id]),
                    workers,
                    jobs=plan.jobs,
                    started=watcher.started,
                    look=watcher.look,
                )
            ) as executions:
                for execution in executions:
                    record.note(execution)
                    judged[execution.id] = judge_scenario(record.directory, record.entry(execution.id, ""))
                    watcher.ended(execution, judged[execution.id][0])
        finally:
            watcher.end()
            for order in orders:
                keep_partial(order.output)
            record.after = _together(record.after, remove_leftovers(plan.parameters, variables))
            record.untriggered = _untriggered(plan, variables)
    return judged


def _untriggered(plan: Plan, variables: Mapping[str, str]) -> list[str]:
    """Faults of the run's own lab that did nothing wrong all the time: what passed says nothing about them."""
    if not plan.faults:
        return []
    try:
        counts = lab.attach(Path(variables[LAB_VARIABLE])).status()["faults"]
    except lab.LabError:
        return []
    return [id for id, count in counts.items() if not count["triggered"]]


def _together(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What was done after each part of a run that was taken up again, as of one: what is left is what is left now."""
    if not before:
        return now
    return {"removed": before["removed"] + now.get("removed", 0), "left": now.get("left", [])}


def _fresh(plan: Plan) -> Path:
    """A directory for the run, with its folders."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    directory = plan.output or folder("outputs") / plan.parameters.environment / f"{stamp}-{secrets.token_hex(3)}"
    _make_folders(directory)
    return directory


def _existing(plan: Plan) -> Path:
    """The directory of a run to be finished, with its folders."""
    if plan.output is None:
        raise ParameterError("nothing to resume: the plan names no output.")
    read_plan(plan.output)
    _make_folders(plan.output)
    return plan.output


def _make_folders(directory: Path) -> None:
    try:
        for name in FOLDERS:
            (directory / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{directory}: cannot be made ({error.strerror}); give a writable --output.") from None


def _begin(record: Record, *, fresh: bool) -> None:
    """Write the first ``run.json``: where that fails nothing is started."""
    try:
        record.write()
    except OutputError:
        if fresh:
            _forget(record.directory)
        raise


def _forget(directory: Path) -> None:
    """Remove a run directory in which nothing has happened."""
    (directory / PLAN).unlink(missing_ok=True)
    for path in (*(directory / name for name in FOLDERS), directory):
        with contextlib.suppress(OSError):
            path.rmdir()


@contextlib.contextmanager
def target_variables(plan: Plan) -> Iterator[dict[str, str]]:
    """What kernels need in their environment to find the target; a lab is started for the block where one is needed."""
    if not plan.needs_lab or LAB_VARIABLE in plan.variables:
        yield plan.variables
        return
    with lab.start_lab(faults=plan.faults, fault_modules=plan.fault_modules) as running:
        yield {**plan.variables, LAB_VARIABLE: str(running.state_file)}
