"""``detect``: how much the workbook is worth, shown on labs with known defects."""

from __future__ import annotations

import html
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from netra_probe import lab
from netra_probe.batch.notebooks import Notebook
from netra_probe.batch.selection import select
from netra_probe.catalogue.folders import folder
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.cli.group import modules_option
from netra_probe.cli.plans import check_faults
from netra_probe.detection.healthy_variants import VARIANTS
from netra_probe.detection.matrix import HEALTHY, Report, Trial, rows
from netra_probe.display.tables import Table
from netra_probe.errors import ParameterError
from netra_probe.lab.shared.faults import Kind
from netra_probe.results.results import write_json
from netra_probe.target.parameters import environment_file, read_parameters

HEADINGS = ("fault", "reached", "triggered", "detected", "by", "case", "after", "k of n", "rank: attribution")


@click.command()
@click.argument("faults", metavar="[FAULT]...", nargs=-1)
@click.option("--scenarios", default="S1", show_default=True, help="notebooks to run on each lab")
@click.option("--rate", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="probability that a fault fires")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="trials of each fault")
@modules_option
@click.option("--healthy/--no-healthy", default=True, help="also run the healthy variants")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(list(VARIANTS)),
    help="healthy variants to run, instead of all (repeatable)",
)
@click.option("--by-case", is_flag=True, help="show which faults turn each case red")
@click.option("--claimed", is_flag=True, help="check that each case still catches the faults that its notebook lists")
@click.option("--jobs", type=click.IntRange(min=1), default=min(2, os.cpu_count() or 1), help="labs at a time")
@click.option("--output", type=click.Path(path_type=Path), help="where to keep the trials and detection.json")
def detect(
    faults: tuple[str, ...],
    scenarios: str,
    rate: float,
    repeat: int,
    modules: tuple[Path, ...],
    healthy: bool,
    variants: tuple[str, ...],
    by_case: bool,
    claimed: bool,
    jobs: int,
    output: Path | None,
) -> int:
    """Run scenarios on labs with faults and report what they detect.

    All published faults when none is named. `detect healthy` runs healthy labs alone.
    """
    from netra_probe.detection.trials import orders, run_trials

    chosen = _chosen(faults, modules, kinds=("defect", "component") if claimed else ("defect",))
    notebooks = select([id for id in scenarios.split(",") if id])
    claims = claims_of(notebooks)
    if claimed:
        chosen = [fault for fault in chosen if any(fault in said for said in claims.values())]
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    directory = (output or folder("outputs") / "lab" / f"detect-{stamp}").resolve()
    if (directory / "detection.json").exists():
        raise ParameterError(f"{directory} holds a detection run already; give another --output.")
    directory.mkdir(parents=True, exist_ok=True)
    waiting = orders(
        faults=chosen,
        notebooks=notebooks,
        claims=claims if claimed else None,
        parameters=read_parameters(environment_file("lab")),
        output=directory,
        rate=rate,
        repeat=repeat,
        modules=[module.resolve() for module in modules],
        variants=(list(variants) or list(VARIANTS)) if healthy else [],
    )
    click.echo(f"{len(waiting)} trials of {', '.join(notebook.id for notebook in notebooks)}, {jobs} labs at a time …")
    trials = sorted(run_trials(waiting, jobs=jobs, tell=_tell), key=lambda trial: (trial.number, trial.variant))
    order = {fault: position for position, fault in enumerate(chosen)}
    report = Report(trials=tuple(sorted(trials, key=lambda trial: order.get(trial.fault, -1))))
    record = report.as_record()
    write_json(directory / "detection.json", record)
    tables = [matrix(record), *([cases(record)] if by_case else [])]
    page = "".join(f"<section>{table.html()}</section>" for table in tables)
    (directory / "detection.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Detection</title>{page}'
        f"<p>{html.escape(summary(record))}</p></html>\n",
        encoding="utf-8",
    )
    click.echo("\n\n".join(["", *(table.text() for table in tables), summary(record)]))
    click.echo(f"\ndetection {directory / 'detection.json'}")
    if claimed and (unseen := _unseen(claims, chosen, record["by_case"])):
        click.echo(f"claimed in the metadata of the notebooks, but not seen: {', '.join(unseen)}")
        return 1
    complete = record["detection_rate"]["hits"] == record["detection_rate"]["of"]
    if not complete or record["false_findings"]:
        return 1
    return 3 if any(one["trouble"] for one in record["healthy"]) else 0


def claims_of(notebooks: Sequence[Notebook]) -> dict[str, tuple[str, ...]]:
    """Case → faults that its notebook says have turned it red."""
    return {case.id: case.faults for one in notebooks for case in SCENARIOS[one.id].declared}


def _chosen(faults: tuple[str, ...], modules: tuple[Path, ...], *, kinds: Sequence[Kind]) -> list[str]:
    """The faults to run, of these kinds where none is named. Raises ParameterError for one that does not exist."""
    check_faults((), modules)
    named = [id for id in faults if id != HEALTHY]
    known = lab.known_faults([str(module.resolve()) for module in modules], kinds=kinds)
    if conditions := [id for id in named if id in lab.known_faults(kinds=("condition",))]:
        raise ParameterError(f"{conditions[0]} is no fault but a condition of healthy labs; leave it out.")
    chosen = list(dict.fromkeys(named if faults else known))
    check_faults(tuple(chosen), modules)
    return chosen


def _unseen(claims: dict[str, tuple[str, ...]], chosen: list[str], by_case: dict[str, list[str]]) -> list[str]:
    """Cases with the faults that are said to turn them red and did not."""
    return [
        f"{case} by {fault}"
        for case, said in claims.items()
        for fault in said
        if fault in chosen and fault not in by_case.get(case, [])
    ]


def matrix(record: dict[str, Any]) -> Table:
    """The detection matrix as a table."""
    return Table(caption="Faults", headings=HEADINGS, rows=list(rows(record)), numeric=frozenset({1, 2, 6}))


def cases(record: dict[str, Any]) -> Table:
    """Case → faults that turn it red."""
    return Table(
        caption="Cases, and the faults that turn them red",
        headings=("case", "faults"),
        rows=[(case, " ".join(faults)) for case, faults in record["by_case"].items()],
    )


def summary(record: dict[str, Any]) -> str:
    """The figures in words."""
    found, false, top = record["detection_rate"], record["false_finding_rate"], record["top_group"]
    healthy = ", ".join(
        f"{one['variant']}: {one['findings']} in {one['runs']}"
        + (f" with {one['disturbances']} disturbances" if one["disturbances"] else "")
        for one in record["healthy"]
    )
    trouble = [f"{one['variant']} not finished: {one['trouble']}" for one in record["healthy"] if one["trouble"]]
    lines = [
        f"detected {found['hits']} of {found['of']} faults (95 %: {found['low']:.0%} to {found['high']:.0%})",
        f"named in the first group: {top['hits']} of {top['of']}",
        f"false findings: {record['false_findings']} ({healthy or 'no healthy run'}; "
        f"95 %: {false['low']:.0%} to {false['high']:.0%} of runs)",
        *trouble,
        *(f"lost {how}: {' '.join(lost) or 'none'}" for how, lost in record["lost"].items()),
    ]
    return "\n".join(lines)


def _tell(trial: Trial) -> None:
    what = ", ".join(filter(None, ("found" if trial.detected else "nothing found", trial.trouble)))
    click.echo(f"  {trial.fault:<8} {trial.variant:<20} {what}, {trial.seconds:.0f} s")
