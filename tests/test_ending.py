"""However a run ends, nothing of it stays: processes, temporary files, accounts; and what it leaves is valid."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from waiting import wait_until

#: Seconds after which nothing of a killed run is left (what is here waits longer: machines are busy).
GONE_SECONDS = 10.0
BUSY = 4.0


class World:
    """Everything that a run could leave: its processes name the folder in their environment, its files are in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.temporary = folder / "tmp"
        for path in (folder, self.temporary):
            path.mkdir(exist_ok=True)
            path.chmod(0o711)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("NETRA_PROBE_")},
            "TMPDIR": str(self.temporary),
            "NETRA_PROBE_STATE": str(folder / "state"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "netra_probe.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def processes(self) -> dict[int, str]:
        """Every process that has the folder in its environment, its command, or as its working directory."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                command = f"{process.name()}: {' '.join(process.cmdline())}"
                known = [command, process.cwd(), *process.environ().values()]
                if process.status() != psutil.STATUS_ZOMBIE and any(str(self.folder) in one for one in known):
                    found[process.pid] = command
        return found

    def runs(self, part: str) -> Callable[[], bool]:
        """Whether a process with this in its command is there."""
        return lambda: any(part in command for command in self.processes().values())

    def files(self) -> list[str]:
        """What there is among the temporary files, but for the empty folder of this user's labs."""
        return sorted(str(path.relative_to(self.temporary)) for path in self.temporary.glob("*/*"))

    def is_quiet(self) -> bool:
        return not self.processes()


@pytest.fixture
def world() -> Iterator[World]:
    # As root, PostgreSQL runs as somebody who must be able to walk down to its data: pytest's own folders are closed.
    with tempfile.TemporaryDirectory(prefix="npt-") as folder:
        yield World(Path(folder))


#: Name → when the signal comes, in terms of what is there.
MOMENTS: dict[str, Callable[[World], Callable[[], bool]]] = {
    "the lab is being started": lambda world: world.runs("netra_probe.lab.supervisor"),
    "services are being started": lambda world: world.runs("lab auth:"),
    "workers are being started": lambda world: world.runs("multiprocessing.spawn"),
    "users ask": lambda world: lambda: _has(world.run / "history" / "C4.jsonl", b'"action":"ask"'),
}


def _has(path: Path, part: bytes) -> bool:
    return path.exists() and part in path.read_bytes()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("the lab is being started", marks=pytest.mark.nightly),
        pytest.param("services are being started", marks=pytest.mark.nightly),
        pytest.param("workers are being started", marks=pytest.mark.nightly),
        "users ask",
    ],
)
@pytest.mark.nightly
def test_nothing_of_a_killed_run_stays(world: World, moment: str) -> None:
    with world.start("run", "C4", "--output", str(world.run)) as process:
        wait_until(MOMENTS[moment](world), what=moment, seconds=150)
        process.kill()
        process.communicate(timeout=60)
    wait_until(world.is_quiet, what=f"no process left: {world.processes()}", seconds=GONE_SECONDS * BUSY)
    again = world.start("lab", "status")
    output, complaint = again.communicate(timeout=120)
    assert again.returncode == 0, complaint
    assert "no lab is running" in output
    assert world.files() == []


# By day, test_cli has a run that gets a SIGTERM, and test_safety those that get a SIGINT.
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.nightly),
        pytest.param(signal.SIGTERM, marks=pytest.mark.nightly),
        signal.SIGHUP,
    ],
)
def test_an_interrupted_run_is_valid_and_inconclusive_and_nothing_of_it_stays(world: World, number: int) -> None:
    with world.start("run", "C4", "--output", str(world.run)) as process:
        wait_until(MOMENTS["users ask"](world), what="users ask", seconds=150)
        process.send_signal(number)
        output, complaint = process.communicate(timeout=120)
    assert process.returncode == 3, complaint
    assert "Traceback" not in output + complaint
    results = json.loads((world.run / "results.json").read_text())
    assert results["verdict"] == "inconclusive"
    assert results["scenarios"][0]["cases"][-1]["reason"] == "not run: the run was interrupted"
    assert json.loads((world.run / "run.json").read_text())["after"]["left"] == []
    wait_until(world.is_quiet, what=f"no process left: {world.processes()}", seconds=GONE_SECONDS * BUSY)
    assert world.files() == []


@pytest.mark.nightly
def test_sixty_kills_at_random_moments_leave_nothing(world: World) -> None:
    chosen = random.Random(7)
    left: dict[str, object] = {}
    for attempt in range(60):
        number = chosen.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
        after = chosen.uniform(0.1, 12.0)
        process = world.start("run", "C4", "--output", str(world.folder / f"run-{attempt}"))
        with process, contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        if process.poll() is None:
            process.send_signal(number)
        process.communicate(timeout=120)
        deadline = time.monotonic() + GONE_SECONDS
        while (running := world.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        world.start("lab", "status").communicate(timeout=120)
        if running or world.files():
            left[f"{attempt}: {number} after {after:.2f} s"] = (running, world.files())
    assert left == {}
