"""One run for all tests of this folder: what goes well in it, and what goes wrong."""

import contextlib

import pytest
from projects import ASK, CLOSE, OPEN, PASSES, Ended, Notes, plan_in, workbook

from netra_probe.batch.run import run

#: id → code cells of the notebooks of the run.
NOTEBOOKS = {
    "A1": PASSES,
    "A2": (OPEN, ASK, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    "A3": (OPEN, ASK, "import time; time.sleep(60)"),
    "A4": ("import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); much = bytearray(2**32)",),
    "A5": ("import os; os._exit(7)",),
    "B1": (OPEN, ASK, "broken", CLOSE),
}


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run of six notebooks: one passes, the others meet five kinds of bad ends."""
    place = tmp_path_factory.mktemp("batch")
    folder = workbook(place / "workbook", NOTEBOOKS)
    plan = plan_in(folder, output=place / "run", cell_seconds=6, jobs=3)
    watcher = Notes()
    with contextlib.chdir(folder):
        directory, results = run(plan, watcher=watcher)
    return Ended(folder=folder, directory=directory, results=results, watcher=watcher)
