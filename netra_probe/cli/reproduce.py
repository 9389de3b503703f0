"""``reproduce`` and ``ticket``: what to do with a finding, once it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from netra_probe import lab
from netra_probe.cli.doctor import target_in
from netra_probe.cli.group import modules_option
from netra_probe.cli.plans import check_faults
from netra_probe.cli.summary import ask_before, opened, yes_option
from netra_probe.errors import ParameterError, TargetError, did_you_mean
from netra_probe.results.runs import Run, cases_of, read_run
from netra_probe.target import lab as embedded_lab
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.parameters import environment_file, read_parameters, target_of

if TYPE_CHECKING:
    from netra_probe.report.reproducers.writing import Reproducer

    #: A finding, and the text of its script.
    Chosen: TypeAlias = tuple[Reproducer, str]


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("case", metavar="CASE")
@click.option("--env", default="", help="environment to reproduce on  [default: the one that the run was made on]")
@click.option("--parameters", type=click.Path(path_type=Path), help="a parameter file instead of --env")
@click.option("--fault", "faults", multiple=True, help="start a lab with this fault and reproduce there (repeatable)")
@modules_option
@click.option("--minimise", is_flag=True, help="leave steps out while the finding stays, and write the smaller script")
@yes_option
def reproduce(
    run: str,
    case: str,
    env: str,
    parameters: Path | None,
    faults: tuple[str, ...],
    modules: tuple[Path, ...],
    minimise: bool,
    yes: bool,
) -> int:
    """Run the reproducers of a red case: is the leak still there?

    RUN is a run directory, its URL, or an evidence bundle. CASE is a case (C4.2) or one of its findings (C4.2-1). For a
    run on the lab a healthy lab is used, the one that is up or one of its own; --fault starts a faulty one.

    Exit status: 1 still leaks, 0 fixed, 3 could not tell (unreachable, or no positive control), 2 wrong use.
    """
    from netra_probe.report.reproducers.running import FIXED, LEAKS

    check_faults(faults, modules)
    with opened(run) as place:
        read = read_run(place.directory or Path())
        chosen = _chosen(read, case)
        with _target(read, env, parameters, faults, modules) as (name, target):
            _allow(target, chosen, minimise, name=name, yes=yes)
            statuses = [*_carried_out(read, chosen, target, minimise)]
    return LEAKS if LEAKS in statuses else FIXED if statuses and set(statuses) == {FIXED} else 3


def _chosen(run: Run, words: str) -> list[Chosen]:
    """The findings that are meant, with their scripts. Raises ParameterError where there are none."""
    from netra_probe.report.reproducers.writing import written

    case, _, number = words.partition("-")
    known = cases_of(run.results)
    if case not in known:
        raise ParameterError(f'{run.path}: no case "{case}"; {did_you_mean(case, known)}')
    told = [(one, smaller or text) for one, text, smaller in written(run) if one.case == case]
    if not told:
        verdict = known[case]["verdict"]
        raise ParameterError(f"{case} has no isolation finding (its verdict: {verdict}); name a case that failed.")
    if number and not any(str(one.number) == number for one, _ in told):
        raise ParameterError(f'no finding "{words}"; {did_you_mean(words, [one.name for one, _ in told])}')
    return [(one, text) for one, text in told if number in ("", str(one.number))]


@contextmanager
def _target(
    run: Run, env: str, parameters: Path | None, faults: tuple[str, ...], modules: tuple[Path, ...]
) -> Iterator[tuple[str, Target]]:
    """Where to reproduce, with its name; a lab that is started for it ends with it."""
    if faults or modules:
        if parameters is not None or env not in ("", "lab"):
            raise ParameterError("--fault: faults go into the lab only; drop --env and --parameters.")
        try:
            with lab.start_lab(faults=faults, fault_modules=modules) as running:
                yield f"a lab with {', '.join(faults)}", embedded_lab.as_target(running)
        except lab.LabError as error:
            raise TargetError(str(error)) from None
        return
    given: Any = run.plan.get("parameters") or {}
    if parameters is None and not env and (values := given.get("target")):
        if "replay" in values:
            raise ParameterError("the run was made from a recording; say where to reproduce it, with --env.")
        yield run.environment, target_of(run.environment, values)
        return
    path = parameters or environment_file(env or run.environment)
    read = read_parameters(path, resolve=True)
    yield read.environment, target_in(read, path)


def _allow(target: Target, chosen: list[Chosen], minimise: bool, *, name: str, yes: bool) -> None:
    """Raise ParameterError where the target's mode does not permit what the scripts do, or nobody consents."""
    if target.mode is Mode.OBSERVE:
        raise ParameterError(f"{name}: mode observe; a reproducer registers users, which needs mode probe.")
    if target.mode is not Mode.ATTACK and not target.is_local:
        if minimise:
            raise ParameterError(
                f"{name}: mode {target.mode}; --minimise repeats a leak many times, it needs mode attack."
            )
        if tries := [one.name for one, _ in chosen if one.attacks]:
            raise ParameterError(
                f"{name}: mode {target.mode}; {', '.join(tries)} tries what must be refused: mode attack."
            )
    what = f"{len(chosen)} reproducer(s) would register users, show the leak once more, and remove what they made."
    ask_before(target, environment=name, what=what, yes=yes)


def _carried_out(run: Run, chosen: list[Chosen], target: Target, minimise: bool) -> Iterator[int]:
    """The exit status of each script, told as it comes."""
    from netra_probe.report.reproducers.running import CANNOT_TELL, carry_out, environment_of

    variables = environment_of(target)
    faults = ", ".join(embedded_lab.faults_of(target))
    click.echo(f"target    {target.auth_url}{f' with injected fault {faults}' if faults else ''}")
    for one, text in chosen:
        if not text:
            click.echo(f"{one.name}  could not tell: {one.reason}")
            yield CANNOT_TELL
        elif minimise:
            yield _minimised(run, one, target)
        else:
            outcome = carry_out(text, variables)
            click.echo(f"{one.name}  {outcome.words}{f': {outcome.said}' if outcome.said else ''}")
            yield outcome.status


def _minimised(run: Run, one: Reproducer, target: Target) -> int:
    from dataclasses import replace

    from netra_probe.report.reproducers.running import CANNOT_TELL, LEAKS, environment_of, minimise
    from netra_probe.report.reproducers.writing import authors_of, keep, read_index, write_index

    for author in authors_of(run):
        for case, number, finding in author.findings():
            if (case, number) != (one.case, one.number):
                continue
            made = minimise(author, finding, case=case, variables=environment_of(target))
            if made is None:
                click.echo(f"{one.name}  could not be made smaller: the finding does not show here")
                return CANNOT_TELL
            smaller = replace(one, minimal=tuple(sorted(made.acts)))
            keep(run, smaller.best, author.smaller(smaller, finding))
            write_index(run, [smaller if other.name == one.name else other for other in read_index(run) or [one]])
            click.echo(f"{one.name}  still leaks with {made.steps} of {one.steps} steps: {run.path / smaller.best}")
            return LEAKS
    raise ParameterError(f"{run.path}: the recording shows no finding {one.name}; `netra-probe recheck` tells why.")


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("case", metavar="[CASE]", required=False, default="")
def ticket(run: str, case: str) -> int:
    """Write a ticket, in Markdown, for each red case of a run.

    Jira, GitHub and Slack take it as it is; it holds no secrets. RUN is a run directory, its URL, or an evidence
    bundle; with CASE (C4.2) only that case.

    Exit status: 0 written, 2 wrong use (no such case, or nothing failed in it).
    """
    from netra_probe.report.reproducers.writing import tickets_of

    with opened(run) as place:
        read = read_run(place.directory or Path())
        known = cases_of(read.results)
        if case and case not in known:
            raise ParameterError(f'{read.path}: no case "{case}"; {did_you_mean(case, known)}')
        told = tickets_of(read)
        if case and case not in told:
            raise ParameterError(f"{case} has not failed (its verdict: {known[case]['verdict']}): no ticket is needed.")
        chosen = [told[case]] if case else list(told.values())
    click.echo("\n".join(chosen) if chosen else "nothing failed in this run: no ticket is needed.", nl=not chosen)
    return 0
