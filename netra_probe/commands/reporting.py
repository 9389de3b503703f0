"""``report``: what a run leaves for those who were not there."""

from __future__ import annotations

from pathlib import Path

import click

from netra_probe.batch.publishing import publish


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def report(directory: Path) -> int:
    """Write report.html, junit.xml and the notebooks as pages into a run directory, once more.

    Everything is computed from what the run has recorded; each run does this by itself when it ends.
    """
    published = publish(directory)
    for line in published.lines:
        click.echo(line)
    return 0
