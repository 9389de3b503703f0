"""Running the detection matrix: one warm lab per fault, the scenarios on it, several labs at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netra_probe import lab
from netra_probe.batch.interrupts import end_with_parent
from netra_probe.batch.notebooks import Notebook
from netra_probe.batch.plan import Plan
from netra_probe.batch.run import run
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.checkers.verdict import Verdict
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
    return any(fault in said and case.partition(".")[0] == notebook.id for case, said in claims.items())


def run_trials(
    waiting: Sequence[TrialOrder], *, jobs: int, tell: Callable[[Trial], None] = lambda trial: None
) -> Iterator[Trial]:
    """Run trials side by side, each in a process of its own; one that cannot be finished says why and stops no other.

    Ctrl-C, and whoever does not want any more of them, ends those that run.
    """
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as starters:
        running = {starters.submit(_in_own_process, order): order for order in waiting}
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


def _in_own_process(order: TrialOrder) -> Trial:
    """One trial; what kills its process, or goes wrong in it, is its trouble alone."""
    context = multiprocessing.get_context("spawn")
    # A pool breaks as a whole when one of its processes dies: each of these holds one.
    with ProcessPoolExecutor(
        max_workers=1, mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)
    ) as pool:
        try:
            return pool.submit(trial_of, order).result()
        except BrokenProcessPool:
            trouble = "its process died"
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
    return Trial(fault=order.fault, variant=order.variant, number=order.number, trouble=trouble)


def trial_of(order: TrialOrder) -> Trial:
    """One trial, start to end, in this process."""
    begin = time.monotonic()
    variant = VARIANTS[order.variant]
    chosen = variant.conditions if order.fault == HEALTHY else (f"{order.fault}:{order.rate:g}",)
    judged: dict[str, ScenarioResult] = {}
    with lab.start_lab(faults=chosen, fault_modules=order.modules) as running:
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
