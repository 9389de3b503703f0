"""One run for all tests of this folder: what goes well in it, and what goes wrong."""

import contextlib
import fcntl
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from projects import ASK, ASK_AGAIN, CELL_SECONDS, CLOSE, OPEN, PASSES, SEED, Ended, Notes, plan_in, workbook

from netra_probe.batch.run import run

#: From now on this kernel can write no file further than the history is: the disk is full.
FULL = """
import resource, sys
sys.dont_write_bytecode = True  # it would be cut, too
resource.setrlimit(resource.RLIMIT_FSIZE, (probe.history.path.stat().st_size + 700,) * 2)
"""
#: id → code cells of the notebooks of the run. What ends after its first case declares a second one.
NOTEBOOKS = {
    "A1": PASSES,
    "A2": (OPEN, ASK, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ASK_AGAIN, CLOSE),
    "A3": (OPEN, ASK, "import time; time.sleep(600)", ASK_AGAIN, CLOSE),
    "A4": ("import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); much = bytearray(2**32)",),
    "A5": ("import os; os._exit(7)",),
    "B1": (OPEN, ASK, "broken", ASK_AGAIN, CLOSE),
    "B2": (OPEN, ASK, FULL, ASK_AGAIN, CLOSE),
    "B3": ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)",),
}


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run of eight notebooks: one passes, the others meet seven kinds of bad ends. All workers share one."""
    root = tmp_path_factory.getbasetemp()
    place = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "batch-run"
    place.mkdir(exist_ok=True)
    noted = place / "ended.pickle"
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not noted.exists():
            noted.write_bytes(pickle.dumps(_made(place)))
    made: Ended = pickle.loads(noted.read_bytes())
    return made


def _made(place: Path) -> Ended:
    folder = workbook(place / "workbook", NOTEBOOKS)
    plan = plan_in(folder, output=place / "run", cell_seconds=CELL_SECONDS, jobs=3)
    plan = replace(plan, parameters=plan.parameters.model_copy(update={"seed": SEED}), set=("seed",))
    watcher = Notes()
    with contextlib.chdir(folder):
        directory, results = run(plan, watcher=watcher)
    return Ended(folder=folder, directory=directory, results=results, watcher=watcher)
