"""The run that somebody means by a directory, a URL or an evidence bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netra_probe.batch.locations import Place, is_url


@contextmanager
def opened(run: str, *, past: bool = False) -> Iterator[Place]:
    """A run directory for the block; what the block changes at a URL is there afterwards.

    A bundle is only for reading: what the block changes in it is lost. ``past`` also has the runs at hand that lie
    beside it.
    """
    if is_url(run):
        from netra_probe.batch.remote_baseline import fetch_past
        from netra_probe.batch.remote_store import staged

        with staged(run, existing=True) as staging:
            if past:
                fetch_past(run, staging.directory.parent)
            yield staging
    elif is_bundle(run):
        from netra_probe.results.bundle import unpacked

        with unpacked(Path(run)) as directory:
            yield Place(directory)
    else:
        yield Place(Path(run))


def is_bundle(run: str) -> bool:
    """Whether it is the name of an evidence bundle."""
    return run.endswith(".zip") and not is_url(run)
