"""``scan``, ``prune`` and ``bundle``: leaked secrets, retention, and a run as one file to share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from netra_probe.batch.progress import Place
from netra_probe.catalogue.folders import folder
from netra_probe.cli.summary import is_bundle, opened
from netra_probe.errors import ParameterError, did_you_mean


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
def scan(paths: tuple[Path, ...]) -> int:
    """Find secrets in notebooks, histories, reports, logs and archives.

    Without PATH, the whole workbook is scanned.

    Looks for anything in the form of a token, credentials or a key, and for the values that the parameter files refer
    to. Names the file and the cell or line, never the secret. Exit status: 1 if something was found, 3 if nothing was
    found but something could not be scanned, else 0.
    """
    from netra_probe.results.secret_scan import all_parameters, known_secrets, scan_path

    places = list(paths) or [
        place for name in ("notebooks", "outputs", "parameters") if (place := folder(name)).is_dir()
    ]
    for place in places:
        if not place.exists():
            raise ParameterError(f"{place}: no such file or folder; give what should be scanned.")
    known = known_secrets(*all_parameters(folder("parameters")))
    found = []
    for hit in (hit for place in places for hit in scan_path(place, known)):
        found.append(hit)
        click.echo(str(hit))
    secrets = sum(hit.is_secret for hit in found)
    click.echo(f"{secrets} secret(s) found")
    return 1 if secrets else 3 if found else 0


@click.command()
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="the newest N runs of each environment stay")
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="what is younger stays")
@click.option("--env", default="", help="only this environment [all]")
@click.option("--failures", is_flag=True, help="let failures go by the same rules, but for the latest")
@click.option("--dry-run", is_flag=True, help="only say what would be removed")
def prune(keep: int | None, older_than: float | None, env: str, failures: bool, dry_run: bool) -> int:
    """Delete old runs.

    A run is kept if either rule keeps it. Failures are kept, and so are the latest failure and the latest pass of each
    environment, runs in progress, and anything that is not a run. Exit status: 3 if something could not be deleted,
    else 0.
    """
    from netra_probe.report.dashboard import write_dashboard
    from netra_probe.results.compare import all_runs
    from netra_probe.results.prune import fates, remove

    if keep is None and older_than is None:
        raise ParameterError("prune: say what may go, with --keep N, --older-than DAYS, or both.")
    outputs = folder("outputs")
    environments = all_runs(outputs)
    if env and env not in environments:
        raise ParameterError(f'--env "{env}": nothing has been run there; {did_you_mean(env, environments)}')
    age = None if older_than is None else timedelta(days=older_than)
    removed = stuck = 0
    for name, runs in environments.items():
        if env and name != env:
            continue
        decided = fates(runs, keep=keep, older_than=age, failures=failures)
        for fate in decided:
            problem = "" if fate.keeps or dry_run else remove(fate.run)
            stuck += bool(problem)
            removed += not (fate.keeps or problem)
            if not fate.keeps:
                verb = "not removed" if problem else "would remove" if dry_run else "removed"
                click.echo(f"{verb}  {Place(None).shown(fate.run.path)}{f': {problem}' if problem else ''}")
        kept: dict[str, int] = {}
        for fate in decided:
            if fate.keeps:
                kept[fate.keeps] = kept.get(fate.keeps, 0) + 1
        reasons = ", ".join(f"{count} {reason}" for reason, count in kept.items())
        click.echo(f"{name}: {sum(kept.values())} of {len(runs)} run(s) stay{f' ({reasons})' if reasons else ''}")
    if removed and not dry_run:
        write_dashboard(outputs)
    return 3 if stuck else 0


@click.command()
@click.argument("run", metavar="RUN")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="[<run>.zip in this folder]")
def bundle(run: str, output: Path | None) -> int:
    """Pack a run into one file for a ticket.

    The bundle holds everything needed to read the run, judge it again and replay it.

    RUN is a run directory or its URL. It is scanned for secrets first. With any in it, it is not packed: exit status 1,
    or 3 if something cannot be scanned. The same run always gives the same file. `netra-probe recheck FILE.zip` judges
    it again; unpacked, it is a run directory like any other.
    """
    from netra_probe.report.publish import publish
    from netra_probe.results.prune import write_bundle
    from netra_probe.results.runs import REPORT, read_run
    from netra_probe.results.secret_scan import all_parameters, known_secrets, scan_path

    if is_bundle(run):
        raise ParameterError(f"{run}: a bundle already.")
    with opened(run) as place:
        directory = place.directory or Path()
        plan = read_run(directory).plan
        if not (directory / REPORT).exists():
            publish(place)
        found = list(scan_path(directory, known_secrets(plan, *all_parameters(folder("parameters")))))
        for hit in found:
            click.echo(f"{'SECRET   ' if hit.is_secret else 'warning  '} {hit}")
        if found:
            secrets = sum(hit.is_secret for hit in found)
            click.echo(f"{secrets} secret(s) found; nothing was packed.")
            return 1 if secrets else 3
        path = write_bundle(directory, output or Path(f"{directory.resolve().name}.zip"))
    click.echo(f"bundle    {Place(None).shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
