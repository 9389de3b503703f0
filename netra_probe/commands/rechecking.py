"""``recheck``: judge a run again."""

from __future__ import annotations

from pathlib import Path

import click

from netra_probe.batch.places import Place, is_url
from netra_probe.batch.results import RESULTS, compute, write_json
from netra_probe.commands.summary import summary
from netra_probe.verdict import Verdict


@click.command()
@click.argument("run", metavar="RUN")
def recheck(run: str) -> int:
    """Judge a run again from its stored histories alone; needs neither the target nor the lab.

    RUN is a run directory, its URL (s3://bucket/run), or an evidence bundle (run.zip).
    """
    if run.endswith(".zip") and not is_url(run):
        from netra_probe.batch.bundle import unpacked

        with unpacked(Path(run)) as directory:
            return _recheck(directory, Place(directory))
    if not is_url(run):
        return _recheck(Path(run), Place(Path(run)))
    from netra_probe.batch.storing import staged

    with staged(run, existing=True) as staging:
        return _recheck(staging.directory, staging)


def _recheck(directory: Path, place: Place) -> int:
    results = compute(directory)
    click.echo(summary(results))
    stored, fresh = directory / RESULTS, directory / "results.recheck.json"
    write_json(fresh, results)
    if not stored.exists():
        fresh.replace(stored)
        click.echo(f"results   {place.shown(stored)} (written, it was missing)")
    elif stored.read_bytes() == fresh.read_bytes():
        fresh.unlink()
        click.echo(f"results   {place.shown(stored)} is confirmed, byte for byte")
    else:
        click.echo(f"results   {place.shown(stored)} says something else; the new judgement is in {fresh.name}")
    return Verdict(results["verdict"]).exit_status
