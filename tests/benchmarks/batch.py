"""Measures a batch: `netra-probe run` beside stock papermill over the same notebooks, in sequence and in parallel.

    python tests/benchmarks/batch.py                      # every notebook, three ways: a quarter of an hour
    python tests/benchmarks/batch.py A1 C4 --jobs 2       # some of them
    python tests/benchmarks/batch.py --where RUN          # where the time of each notebook of a run went

Stock papermill is used as one would without netra-probe: one process for each notebook, which starts a lab where it
needs one; with ``--warm`` it finds a lab that is up already. These are figures to read, not tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from netra_probe import lab
from netra_probe.batch.notebooks import Notebook
from netra_probe.batch.selection import select
from netra_probe.catalogue.folders import OUTPUT_VARIABLE
from netra_probe.target.lab import LAB_VARIABLE
from netra_probe.target.parameters import environment_file

#: Seconds between two looks at the memory of everything that runs.
LOOK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one way of running the notebooks took."""

    name: str
    wall: float
    cpu: float
    memory_mb: float
    failed: int


def measured(name: str, act: Callable[[], int]) -> Cost:
    """Wall and CPU seconds of an act and of all it starts, and the most memory that all of it held at once."""
    most, over = 0.0, threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(LOOK_SECONDS):
            most = max(most, sum(map(_memory, psutil.Process().children(recursive=True))))

    watch = threading.Thread(target=look)
    watch.start()
    begin, before = time.monotonic(), _cpu()
    failed = act()
    wall, cpu = time.monotonic() - begin, _cpu() - before
    over.set()
    watch.join()
    return Cost(name=name, wall=wall, cpu=cpu, memory_mb=most / 2**20, failed=failed)


def _memory(process: psutil.Process) -> float:
    """Bytes that a process has to itself, with its part of what it shares."""
    with contextlib.suppress(psutil.Error):
        return float(process.memory_full_info().pss)
    return 0.0


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def netra_probe(notebooks: list[Notebook], place: Path, *, jobs: int) -> int:
    ids = [notebook.id for notebook in notebooks]
    command = [sys.executable, "-m", "netra_probe.cli.main", "run", *ids, "--jobs", str(jobs), "--output", str(place)]
    return int(subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0)


def papermill(notebooks: list[Notebook], place: Path, *, jobs: int, variables: dict[str, str]) -> int:
    place.mkdir()
    # Labs are found below the temporary directory: with one of its own nobody else's is taken.
    environment = {**os.environ, OUTPUT_VARIABLE: str(place / "outputs"), "TMPDIR": str(place), **variables}

    def one(notebook: Notebook) -> int:
        command = [sys.executable, "-m", "papermill", str(notebook.path), str(place / notebook.path.name)]
        command += ["-f", str(environment_file("lab")), "--no-progress-bar", "--cwd", str(notebook.path.parent)]
        command += ["--execution-timeout", "600"]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    with ThreadPoolExecutor(jobs) as pool:
        return sum(status != 0 for status in pool.map(one, notebooks))


@contextlib.contextmanager
def perhaps_warm(warm: bool) -> Iterator[dict[str, str]]:
    if not warm:
        yield {}
        return
    with lab.start_lab() as running:
        yield {LAB_VARIABLE: str(running.state_file)}


def compare(notebooks: list[Notebook], *, jobs: int, warm: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="netra-probe-bench-") as folder, perhaps_warm(warm) as variables:
        place = Path(folder)
        place.chmod(0o755)  # PostgreSQL may run as somebody who has to walk down to its data
        costs = [measured(f"netra-probe run --jobs {jobs}", lambda: netra_probe(notebooks, place / "run", jobs=jobs))]
        for number in (1, jobs):
            way = "in sequence" if number == 1 else f"{number} at a time"
            costs.append(
                measured(
                    f"papermill, {way}",
                    lambda number=number: papermill(  # type: ignore[misc]
                        notebooks, place / f"papermill-{number}", jobs=number, variables=variables
                    ),
                )
            )
        results = json.loads((place / "run" / "results.json").read_text(encoding="utf-8"))
        record = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
        scenarios = sum(scenario["seconds"] for scenario in results["scenarios"])
        kernels = sum(entry["cpu_seconds"] for entry in record["scenarios"]) / len(notebooks)
        print(f"{len(notebooks)} notebooks, {os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}\n")
        print(f"{'':28}{'wall s':>8}{'ratio':>7}{'CPU s':>8}{'per notebook':>14}{'peak MB':>9}{'failed':>8}")
        for cost in costs:
            print(
                f"{cost.name:28}{cost.wall:8.1f}{cost.wall / costs[0].wall:7.2f}{cost.cpu:8.1f}"
                f"{cost.cpu / len(notebooks):14.1f}{cost.memory_mb:9.0f}{cost.failed:8}"
            )
        print(f"\nsum of scenario seconds {scenarios:.1f}: the run took {costs[0].wall / scenarios:.2f} of it")
        print(f"CPU seconds of kernel and papermill, per notebook: {kernels:.1f}")
        where(place / "run")


def where(run: Path) -> None:
    """Where the seconds of each notebook of a run went, by what papermill has noted in it."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    print(f"\n{'':5}{'total':>8}{'to 1st cell':>13}{'open':>7}{'cases':>8}{'close':>7}{'rest':>7}{'MB':>6}")
    for entry in record["scenarios"]:
        cells = json.loads((run / "notebooks" / entry["notebook"]).read_text(encoding="utf-8"))
        noted = cells["metadata"]["papermill"]
        spans = [
            (cell["metadata"]["papermill"].get("duration") or 0.0, "".join(cell["source"]))
            for cell in cells["cells"]
            if cell["cell_type"] == "code" and "papermill" in cell["metadata"]
        ]
        first = next(
            cell["metadata"]["papermill"]["start_time"] for cell in cells["cells"] if cell["cell_type"] == "code"
        )
        start = (datetime.fromisoformat(first) - datetime.fromisoformat(noted["start_time"])).total_seconds()
        opening = sum(seconds for seconds, source in spans if "await investigate(" in source)
        closing = sum(seconds for seconds, source in spans if "probe.close()" in source)
        cases = sum(seconds for seconds, _ in spans) - opening - closing
        rest = entry["seconds"] - start - opening - closing - cases
        print(
            f"{entry['id']:5}{entry['seconds']:8.1f}{start:13.1f}{opening:7.1f}{cases:8.1f}{closing:7.1f}"
            f"{rest:7.1f}{entry['memory_mb']:6}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("selectors", nargs="*", help="as netra-probe run takes them")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--warm", action="store_true", help="papermill finds a lab that is up")
    parser.add_argument("--where", type=Path, metavar="RUN")
    given = parser.parse_args()
    if given.where:
        where(given.where)
    else:
        compare(select(given.selectors), jobs=given.jobs, warm=given.warm)
