"""Running the detection matrix: the scenarios on one fault after the other, on several labs at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from netra_probe import lab
from netra_probe.batch.interrupts import end_with_parent
from netra_probe.batch.notebooks import Notebook
from netra_probe.batch.plan import Plan
from netra_probe.batch.run import run
from netra_probe.catalogue.scenarios import scenario_of
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.checkers.verdict import Verdict
from netra_probe.clients.account_ledger import Ledger
from netra_probe.detection.disturbances import disturbed
from netra_probe.detection.healthy_variants import VARIANTS
from netra_probe.detection.matrix import HEALTHY, Seen, Trial
from netra_probe.history import actions
from netra_probe.history.store import History
from netra_probe.results.results import find_history, read_plan, write_json
from netra_probe.target.lab import LAB_VARIABLE
from netra_probe.target.parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class TrialOrder:
    """What a worker needs for one trial."""

    fault: str
    number: int
    notebooks: tuple[Notebook, ...]
    parameters: Parameters
    output: Path
    rate: float = 1.0
    variant: str = "plain"
    modules: tuple[Path, ...] = ()


def orders(
    *,
    faults: Sequence[str],
    notebooks: Sequence[Notebook],
    parameters: Parameters,
    output: Path,
    rate: float,
    repeat: int,
    modules: Sequence[Path],
    variants: Sequence[str],
    claims: Mapping[str, Sequence[str]] | None = None,
) -> list[TrialOrder]:
    """All trials: each fault and each healthy variant, ``repeat`` times, every time with another seed.

    With ``claims`` (case → faults) a fault gets only the notebooks that have a case of its own.
    """
    made = []
    for number in range(1, repeat + 1):
        seeded = parameters.model_copy(update={"seed": parameters.seed + number - 1})
        template = TrialOrder(
            fault=HEALTHY,
            number=number,
            notebooks=tuple(notebooks),
            parameters=seeded,
            output=output,
            modules=tuple(modules),
        )
        for variant in variants:
            changed = seeded.model_copy(update=dict(VARIANTS[variant].parameters))
            name = f"{HEALTHY}-{variant.replace(' ', '-')}-{number}"
            made.append(replace(template, variant=variant, parameters=changed, output=output / name))
        for fault in faults:
            own = tuple(one for one in notebooks if claims is None or _is_claimed(fault, one, claims))
            trial = replace(template, fault=fault, rate=rate, output=output / f"{fault}-{number}")
            made.append(replace(trial, notebooks=own))
    return made


def _is_claimed(fault: str, notebook: Notebook, claims: Mapping[str, Sequence[str]]) -> bool:
    return any(fault in said and scenario_of(case) == notebook.id for case, said in claims.items())


def run_trials(
    waiting: Sequence[TrialOrder], *, jobs: int, tell: Callable[[Trial], None] = lambda trial: None
) -> Iterator[Trial]:
    """Run trials side by side, in ``jobs`` processes; one that cannot be finished says why and stops no other.

    Each process has one lab, which is started again over emptied stores for each trial. Ctrl-C, and whoever does not
    want any more of them, ends those that run.
    """
    workers: SimpleQueue[_Worker] = SimpleQueue()
    for _ in range(max(1, jobs)):
        workers.put(_Worker())

    def judged(order: TrialOrder) -> Trial:
        worker = workers.get()
        try:
            return worker.judge(order)
        finally:
            workers.put(worker)

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as starters:
        running = {starters.submit(judged, order): order for order in waiting}
        try:
            for future in as_completed(running):
                trial = future.result()
                tell(trial)
                yield trial
        except (KeyboardInterrupt, GeneratorExit):
            starters.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            _end(workers)  # before the threads that started them: a process is told to end when its thread does
            starters.shutdown()
            _end(workers)


def _end(workers: SimpleQueue[_Worker]) -> None:
    while not workers.empty():
        workers.get().end()


class _Worker:
    """A process that judges one trial after the other; what kills it is the trouble of that trial alone."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._orders: Connection

    def judge(self, order: TrialOrder) -> Trial:
        """One trial, in this worker's process."""
        if self._process is None:
            self._start()
        try:
            self._orders.send(order)
            trial: Trial = self._orders.recv()
            return trial
        except (EOFError, OSError):
            self.end()
            return _unfinished_trial(order, "its process died")

    def end(self) -> None:
        """End the process, and its lab with it; doing it twice is fine."""
        if self._process is not None:
            self._orders.close()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=_judge_all, args=(theirs, os.getpid()))
        self._process.start()
        theirs.close()


def _judge_all(orders: Connection, parent: int) -> None:
    """What a worker's process does, until no more orders come."""
    end_with_parent(parent)
    with WarmLab() as warm, suppress(EOFError):
        while True:
            order: TrialOrder = orders.recv()
            try:
                trial = trial_of(order, warm)
            except Exception as error:
                trial = _unfinished_trial(order, f"{type(error).__name__}: {error}")
            if trial.trouble:
                warm.stop()
            orders.send(trial)


def _unfinished_trial(order: TrialOrder, trouble: str) -> Trial:
    return Trial(fault=order.fault, variant=order.variant, number=order.number, trouble=trouble)


class WarmLab:
    """A lab for one trial after the other: its services start again over emptied stores, while the stores stay up."""

    def __init__(self) -> None:
        self._lab: lab.Lab | None = None

    def __call__(self, faults: Sequence[str], modules: Sequence[Path]) -> lab.Lab:
        """A lab as `start_lab` would start it, which nobody has met."""
        if self._lab is not None:
            try:
                self._lab.recompose(faults, modules)
            except lab.LabError:  # a trial broke it
                self.stop()
            else:
                _forget_accounts(self._lab.parameters["auth_url"])
                return self._lab
        self._lab = lab.start_lab(faults=faults, fault_modules=modules)
        return self._lab

    def stop(self) -> None:
        """End it: the next trial gets another one."""
        if self._lab is not None:
            self._lab.stop()
            self._lab = None

    def __enter__(self) -> WarmLab:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _forget_accounts(auth_url: str) -> None:
    """Strike what earlier trials have left in emptied stores off the books: the next one would try to remove it."""
    ledger = Ledger()
    ledger.strike({entry.email for entry in ledger.entries() if entry.auth_url == auth_url})


def trial_of(order: TrialOrder, warm: WarmLab) -> Trial:
    """One trial, start to end, in this process."""
    begin = time.monotonic()
    variant = VARIANTS[order.variant]
    chosen = variant.conditions if order.fault == HEALTHY else (f"{order.fault}:{order.rate:g}",)
    judged: dict[str, ScenarioResult] = {}
    running = warm(chosen, order.modules)
    plan = Plan(
        notebooks=order.notebooks,
        parameters=order.parameters,
        jobs=1,
        output=order.output,
        variables={LAB_VARIABLE: str(running.state_file)},
    )
    with disturbed(variant.around, running, order.output) as around:
        directory, results = run(plan, keep=judged)
    counters = running.status()["faults"]
    if around.done:
        write_json(directory / "surroundings.json", around.done)
    counted = counters.get(order.fault, {"reached": 0, "triggered": 0})
    idle = [name for name in variant.conditions if not counters[name]["triggered"]]
    seen: list[Seen] = []
    groups: tuple[tuple[str, ...], ...] = ()
    elapsed = 0.0
    for scenario in results["scenarios"]:
        history, result = find_history(directory, scenario["id"]), judged.get(scenario["id"])
        if history is not None and result is not None:
            here = list(_seen(result, history, elapsed))
            if here and not seen:
                groups = result.looks_like
            seen += here
            elapsed += result.seconds
            if result.cleanup.verdict is Verdict.FAIL:
                seen.append(not_cleaned(result.id, elapsed))
    return Trial(
        fault=order.fault,
        variant=order.variant,
        number=order.number,
        reached=counted["reached"],
        triggered=counted["triggered"],
        seen=tuple(sorted(seen, key=lambda one: one.seconds)),
        groups=groups,
        disturbances=sum(around.done.values()) + sum(counters[name]["triggered"] for name in variant.conditions),
        inconclusive=tuple(
            case["id"]
            for scenario in results["scenarios"]
            for case in scenario["cases"]
            if case["verdict"] == Verdict.INCONCLUSIVE
        ),
        trouble=around.trouble or (f"{idle[0]} never came about" if idle else "") or _unfinished(read_plan(directory)),
        seconds=round(time.monotonic() - begin, 1),
    )


def not_cleaned(scenario: str, seconds: float) -> Seen:
    """A clean-up that fails shows a fault as well as a case does: what was to be gone is there."""
    return Seen(case=f"{scenario}.clean-up", checker="C0", seconds=seconds, disturbed=False, people=frozenset())


def _unfinished(plan: dict[str, Any]) -> str:
    """Why some scenario did not run to its end, if one did not."""
    ends = (
        f"{one['id']} {one['status']}: {one['reason']}" for one in plan["scenarios"] if one["status"] != "completed"
    )
    return next(ends, "")


def _seen(result: ScenarioResult, history: History, elapsed: float) -> Iterator[Seen]:
    times: dict[int, int] = {}
    disturbances, checks = [], []
    wanted = {index for case in result.cases for finding in case.findings for index in finding.witness}
    for operation in history:
        if operation.index in wanted:
            times[operation.index] = operation.time
        if operation.action == actions.DISTURB:
            disturbances.append(operation.index)
        elif operation.action == actions.CHECK:
            checks.append((operation.detail["case"], int(operation.detail["start"]), operation.index))
    for case in result.cases:
        windows = [(start, end) for id, start, end in checks if id == case.id]
        disturbed = any(start <= index < end for start, end in windows for index in disturbances)
        for finding in case.findings:
            yield Seen(
                case=case.id,
                checker=finding.checker,
                seconds=elapsed + max(times.get(index, 0) for index in finding.witness) / 1e9,
                disturbed=disturbed,
                people=frozenset({*finding.victims, *finding.recipients}),
                severity=finding.severity,
            )
