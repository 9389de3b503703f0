"""``recheck``: judge a run again."""

from __future__ import annotations

from pathlib import Path

import click

from netra_probe.batch.places import Place
from netra_probe.batch.results import RESULTS, compute, write_json
from netra_probe.commands.opened import opened
from netra_probe.commands.summary import summary
from netra_probe.verdict import Verdict


@click.command()
@click.argument("run", metavar="RUN")
def recheck(run: str) -> int:
    """Judge a run again from its stored histories alone; needs neither the target nor the lab.

    RUN is a run directory, its URL (s3://bucket/run), or an evidence bundle (run.zip).
    """
    with opened(run) as place:
        return _recheck(place.directory or Path(), place)


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
