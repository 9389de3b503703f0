"""``recheck``: judge a run again."""

from __future__ import annotations

from pathlib import Path

import click

from netra_probe.batch.results import RESULTS, compute, write_json
from netra_probe.commands.summary import short, summary
from netra_probe.verdict import Verdict


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def recheck(directory: Path) -> int:
    """Judge a run again from its stored histories alone; needs neither the target nor the lab."""
    results = compute(directory)
    click.echo(summary(results))
    stored, fresh = directory / RESULTS, directory / "results.recheck.json"
    write_json(fresh, results)
    if not stored.exists():
        fresh.replace(stored)
        click.echo(f"results   {short(stored)} (written, it was missing)")
    elif stored.read_bytes() == fresh.read_bytes():
        fresh.unlink()
        click.echo(f"results   {short(stored)} is confirmed, byte for byte")
    else:
        click.echo(f"results   {short(stored)} says something else; the new judgement is in {fresh.name}")
    return Verdict(results["verdict"]).exit_status
