"""Measures the checkers over generated histories, as ratios to one ``json.loads`` pass over the same file.

    python tests/benchmarks/measure.py --frames 10000 100000 --users 10 100 1000

Each measurement runs in a process of its own, so that its peak memory is its own; the best of ``--repeat`` counts.
These are figures to read, not tests: nothing here fails because a machine is slow.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from generate import write

from netra_probe.checkers import REGISTRY, Window, judge
from netra_probe.history.store import History


def parse(path: Path) -> None:
    """The yardstick: one standard-library parse of every line."""
    with open(path, "rb") as lines:
        for line in lines:
            json.loads(line)


def read(path: Path) -> None:
    """Reading the operations, without any checker."""
    for _ in History(path):
        pass


def naive(path: Path) -> None:
    """A canary search as one would first write it: every token in every payload, raw only."""
    tokens: dict[str, str | None] = {}
    sightings = 0
    for operation in History(path):
        if operation.action == "mint":
            tokens[operation.detail["token"]] = operation.user
        else:
            for token in tokens:
                sightings += token in operation.payload


def checked(*ids: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        judgements = judge([REGISTRY[id]() for id in ids], History(path), Window())
        wrong = [finding.summary for judgement in judgements for finding in judgement.findings]
        if wrong:
            raise SystemExit(f"the generated history is not correct: {wrong[0]}")

    return run


NAIVE = "naive canary search"
WAYS: dict[str, Callable[[Path], None]] = {
    "json.loads": parse,
    "read": read,
    NAIVE: naive,
    **{id: checked(id) for id in REGISTRY},
    "all": checked(*REGISTRY),
}


#: The naive search is quadratic; beyond so many frames × users it is left out.
MOST_NAIVE = 100_000_000


def measure(way: str, path: Path) -> tuple[float, float]:
    """Seconds of processor time and peak memory in MiB of one way, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", way, str(path)], check=True, capture_output=True, text=True
    )
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def one(way: str, path: Path) -> None:
    began = time.process_time()
    WAYS[way](path)
    seconds = time.process_time() - began
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--frames", type=int, nargs="+", default=[10_000, 100_000])
    arguments.add_argument("--users", type=int, nargs="+", default=[10, 100, 1000])
    arguments.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), metavar="WAY")
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--directory", type=Path, help="where the histories go (default: a temporary folder)")
    arguments.add_argument("--one", nargs=2, metavar=("WAY", "PATH"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        one(given.one[0], Path(given.one[1]))
        return
    whole: dict[int, list[tuple[int, float]]] = {}
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        for users in given.users:
            for frames in given.frames:
                path = Path(folder) / "history.jsonl"
                count = write(path, frames, users)
                size = path.stat().st_size
                print(f"\n{frames:,} frames, {users:,} users: {count:,} operations, {size / 1e6:.0f} MB")
                print(f"{'':22}{'seconds':>9}{'operations/s':>14}{'÷ json.loads':>14}{'MiB':>8}")
                yardstick = 0.0
                for way in given.ways:
                    if way == NAIVE and frames * users > MOST_NAIVE:
                        print(f"{way:22}  left out: every token in every payload would take minutes")
                        continue
                    seconds, peak = min(measure(way, path) for _ in range(given.repeat))
                    yardstick = yardstick or seconds
                    ratio = seconds / yardstick
                    print(f"{way:22}{seconds:9.2f}{count / seconds:14,.0f}{ratio:14.2f}{peak:8.0f}", flush=True)
                    if way == "all":
                        whole.setdefault(users, []).append((count, seconds))
    for users, points in whole.items():
        if len(points) > 1:
            (n, first), (m, last) = points[0], points[-1]
            exponent = math.log(last / first) / math.log(m / n)
            print(f"\n{users:,} users: time of the whole pass grows with the {exponent:.3f}th power of the operations")


if __name__ == "__main__":
    main()
