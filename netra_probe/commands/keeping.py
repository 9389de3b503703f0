"""``scan``: what may be kept and shown."""

from __future__ import annotations

from pathlib import Path

import click

from netra_probe.errors import ParameterError
from netra_probe.parameters import folder


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
def scan(paths: tuple[Path, ...]) -> int:
    """Find secrets in notebooks, histories, reports, logs and archives; without PATH in all that the workbook has.

    Whatever has the form of a token, of credentials or of a key, and the values that the parameter files refer to. What
    is found is addressed by file, and cell or line, and never shown. Exit status: 1 where something was found, else 0.
    """
    from netra_probe.batch.scan import all_parameters, known_secrets, scan_path

    places = list(paths) or [folder("notebooks"), folder("outputs"), folder("parameters")]
    for place in places:
        if not place.exists():
            raise ParameterError(f"{place}: no such file or folder; give what should be scanned.")
    known = known_secrets(*all_parameters(folder("parameters")))
    found = [hit for place in places for hit in scan_path(place, known)]
    for hit in found:
        click.echo(str(hit))
    click.echo(f"{len(found)} secret(s) found")
    return 1 if found else 0
