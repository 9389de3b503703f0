"""What goes on around a healthy lab while a scenario runs on it, and that the scenario is not told of.

    with disturbed("restarts", running, output):
        run(plan)

Nothing of this is in the scenario's history: its checkers have to be right about what they see.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from netra_probe.clients.rate_limit import RUN_VARIABLE
from netra_probe.report.interactive import investigate
from netra_probe.target.environment import in_environment
from netra_probe.target.lab import as_target

if TYPE_CHECKING:
    from netra_probe.lab import Lab

#: The backend that is restarted, each time in the middle of runs that it works on.
RESTARTED = "backend-2"
#: Seconds between two looks at whether runs are under way, and from one restart to the next at least.
LOOK_SECONDS = 0.03
BETWEEN_SECONDS = 6.0
#: The neighbours' seed: none of their secrets is one of the scenario's.
SEED = 90_001


@dataclass(kw_only=True)
class Surroundings:
    """What was done around a scenario: how often, and what went wrong with it, if anything."""

    done: dict[str, int] = field(default_factory=dict)
    trouble: str = ""

    def count(self, what: str) -> None:
        """Once more."""
        self.done[what] = self.done.get(what, 0) + 1


def _restart(running: Lab, output: Path, over: threading.Event, told: Surroundings) -> None:
    """Restart a backend in the middle of runs that it works on, again and again until it is over."""
    operator = running.state["operator"]
    with httpx.Client(headers={"X-Lab-Operator": operator["token"]}, trust_env=False) as client:
        while not over.wait(LOOK_SECONDS):
            state = client.get(f"{operator['urls'][RESTARTED]}/lab/state").raise_for_status().json()
            if state["agents"]["runs"]:
                running.restart_service(RESTARTED)
                told.count("restart")
                over.wait(BETWEEN_SECONDS)


def _misbehave(running: Lab, output: Path, over: threading.Event, told: Surroundings) -> None:
    """Be neighbours on the same lab who die, read slowly, hang up and send large bodies, until it is over."""
    asyncio.run(_neighbours(running, output / "neighbours", over, told))


async def _neighbours(running: Lab, output: Path, over: threading.Event, told: Surroundings) -> None:
    from netra_probe import workloads

    with in_environment({RUN_VARIABLE: str(output)}):
        probe = await investigate("C4", users=2, seed=SEED, target=as_target(running))
    try:
        backends = cycle(range(len(probe.target.backend_urls)))
        deeds = cycle((workloads.killed_peer, workloads.cancel_then_read, workloads.slow_reader, None))
        while not over.is_set():
            deed, backend = next(deeds), next(backends)
            if deed is None:
                outcome = await workloads.share_a_line(probe, backend=backend)
            else:
                outcome = await deed(probe, probe.users[0], backend=backend)
            told.count(outcome.title)
    finally:
        await probe.close()


AROUND: Mapping[str, Callable[[Lab, Path, threading.Event, Surroundings], None]] = {
    "restarts": _restart,
    "neighbours": _misbehave,
}


@contextmanager
def disturbed(what: str, running: Lab, output: Path) -> Iterator[Surroundings]:
    """Have something of ``AROUND`` go on in the background for a block; nothing where ``what`` is empty."""
    over, told = threading.Event(), Surroundings()

    def work() -> None:
        try:
            AROUND[what](running, output, over, told)
        except Exception as error:
            told.trouble = f"the disturbance failed: {type(error).__name__}: {error}"

    thread = threading.Thread(target=work, name=what, daemon=True)
    if what:
        thread.start()
    try:
        yield told
    finally:
        over.set()
        if what:
            thread.join()
            told.trouble = told.trouble or ("" if told.done else "the disturbance never came about")
