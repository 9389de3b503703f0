"""Feeds frame reader and checkers with what no sane target sends; stops at the first input that breaks one.

python tests/benchmarks/fuzz.py --frames 1000000 --operations 1000000
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from checkers.model_fuzz import operations, text

from netra_probe.checkers import REGISTRY, Window, judge
from netra_probe.history.frames import Frame, read_frame

#: Operations of one history: long enough for states to build up, short enough to find the one that broke it.
LENGTH = 200


def frames(count: int, seed: int) -> None:
    random = Random(seed)
    for _ in range(count):
        given = text(random)
        frame = read_frame(given if random.random() < 0.8 else given.encode("utf-8", "surrogatepass"))
        if not isinstance(frame, Frame) or not isinstance(frame.name, str) or not isinstance(frame.body, dict):
            raise SystemExit(f"read badly: {given!r}")
        if not all(isinstance(id, str) for id in (*frame.ids.values(), frame.event_id, frame.tool, frame.status)):
            raise SystemExit(f"ids that are no text: {given!r}")


def histories(count: int, seed: int) -> None:
    for number in range(count // LENGTH):
        history = list(operations(Random(f"{seed}/{number}"), LENGTH))
        for judgement in judge([checker() for checker in REGISTRY.values()], history, Window(start=number % 20)):
            if any(" broke: " in doubt for doubt in judgement.doubts):
                raise SystemExit(f"history {seed}/{number}: {judgement.doubts}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--frames", type=int, default=100_000)
    arguments.add_argument("--operations", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    frames(given.frames, given.seed)
    print(f"{given.frames:,} frames read, none raised")
    histories(given.operations, given.seed)
    print(f"{given.operations // LENGTH * LENGTH:,} operations judged by {len(REGISTRY)} checkers, none broke")
