"""Where a run is at work, and where what it leaves will be found."""

from __future__ import annotations

import re
from pathlib import Path

from netra_probe.batch.progress import Watcher

_URL = re.compile(r"[a-z][a-z0-9+.:-]*://", re.IGNORECASE)


def is_url(place: str) -> bool:
    """Whether an output is somewhere that fsspec has to reach: ``s3://bucket/run``, ``memory://run``."""
    return _URL.match(place) is not None


class Place:
    """A directory of this machine.

    Arguments:
        directory: ``None`` for one that the run chooses.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    def watched(self, watcher: Watcher) -> Watcher:
        """The watcher that a run there should have."""
        return watcher

    def shown(self, path: Path) -> str:
        """The path as one would type it here."""
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return str(path)
