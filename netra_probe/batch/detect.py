"""Running the detection matrix: one warm lab per fault, the scenarios on it, several labs at a time."""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netra_probe import lab
from netra_probe.batch.detection import HEALTHY, Seen, Trial
from netra_probe.batch.notebooks import Notebook
from netra_probe.batch.results import find_history
from netra_probe.batch.run import Plan, end_with_parent, run
from netra_probe.errors import ProbeError
from netra_probe.history import actions
from netra_probe.history.store import History
from netra_probe.judging import ScenarioResult, judge_history
from netra_probe.lab_target import LAB_VARIABLE
from netra_probe.parameters import Parameters
from netra_probe.verdict import Verdict

#: Healthy labs that must give no finding: what is asked of them beyond the plain run.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "other seed": {"seed": 4711},
    "ten times the users": {"users": 30, "rounds": 2},
}


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
) -> list[TrialOrder]:
    """All trials: each fault and each healthy variant, ``repeat`` times, every time with another seed."""
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
            changed = seeded.model_copy(update=VARIANTS[variant])
            name = f"{HEALTHY}-{variant.replace(' ', '-')}-{number}"
            made.append(replace(template, variant=variant, parameters=changed, output=output / name))
        made += [replace(template, fault=fault, rate=rate, output=output / f"{fault}-{number}") for fault in faults]
    return made


def run_trials(
    waiting: Sequence[TrialOrder], *, jobs: int, tell: Callable[[Trial], None] = lambda trial: None
) -> Iterator[Trial]:
    """Run trials side by side; a trial that cannot be finished says why and stops no other."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        max_workers=max(1, min(jobs, len(waiting))), mp_context=context, initializer=end_with_parent
    ) as pool:
        running = {pool.submit(trial_of, order): order for order in waiting}
        for future in as_completed(running):
            order = running[future]
            try:
                trial = future.result()
            except (BrokenProcessPool, ProbeError, lab.LabError, OSError) as error:
                trial = Trial(
                    fault=order.fault,
                    variant=order.variant,
                    number=order.number,
                    trouble=f"{type(error).__name__}: {error}",
                )
            tell(trial)
            yield trial


def trial_of(order: TrialOrder) -> Trial:
    """One trial, start to end, in this process."""
    begin = time.monotonic()
    chosen = () if order.fault == HEALTHY else (f"{order.fault}:{order.rate:g}",)
    with lab.start_lab(faults=chosen, fault_modules=order.modules) as running:
        plan = Plan(
            notebooks=order.notebooks,
            parameters=order.parameters,
            jobs=1,
            output=order.output,
            variables={LAB_VARIABLE: str(running.state_file)},
        )
        directory, results = run(plan)
        counted = running.status()["faults"].get(order.fault, {"reached": 0, "triggered": 0})
    seen: list[Seen] = []
    groups: tuple[tuple[str, ...], ...] = ()
    elapsed = 0.0
    for scenario in results["scenarios"]:
        history = find_history(directory, scenario["id"])
        if history is not None:
            result = judge_history(history)
            here = list(_seen(result, history, elapsed))
            if here and not seen:
                groups = _groups(result)
            seen += here
            elapsed += result.seconds
    return Trial(
        fault=order.fault,
        variant=order.variant,
        number=order.number,
        reached=counted["reached"],
        triggered=counted["triggered"],
        seen=tuple(sorted(seen, key=lambda one: one.seconds)),
        groups=groups,
        inconclusive=tuple(
            case["id"]
            for scenario in results["scenarios"]
            for case in scenario["cases"]
            if case["verdict"] == Verdict.INCONCLUSIVE
        ),
        seconds=round(time.monotonic() - begin, 1),
    )


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
            if finding.severity == "isolation":
                yield Seen(
                    case=case.id,
                    checker=finding.checker,
                    seconds=elapsed + max(times.get(index, 0) for index in finding.witness) / 1e9,
                    disturbed=disturbed,
                    people=frozenset({*finding.victims, *finding.recipients}),
                )


def _groups(result: ScenarioResult) -> tuple[tuple[str, ...], ...]:
    """The attributions of all red cases put together: each case votes for its groups, the first counting most."""
    votes: dict[tuple[str, ...], float] = defaultdict(float)
    for case in result.cases:
        for position, group in enumerate(case.looks_like, start=1):
            votes[tuple(group.partition(":")[0].split(" or "))] += 1 / position
    return tuple(group for group, _ in sorted(votes.items(), key=lambda item: -item[1]))
