"""A disk that is full, a place that cannot be written, a target that goes away, and two runs that meet."""

import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from projects import ASK, CLOSE, OPEN, Ended, plan_in, workbook

from netra_probe import lab
from netra_probe.batch.run import run
from netra_probe.errors import ParameterError
from netra_probe.results.results import compute
from netra_probe.target.lab import LAB_VARIABLE

MEASURES = """
from netra_probe.checkers import resources
for cycle in range(3):
    async with probe.sockets():
        await probe.together(user.ask("Where do I overspend?") for user in probe.users)
    await probe.gauge(cycle)
probe.check("{id}.4", canary(), delivery(), resources())
"""


@pytest.mark.parametrize(
    ("bytes_at_most", "complaint", "left"),
    [
        (300, "run.json: cannot be written (File too large)", []),
        pytest.param(
            6000,
            "A1  failed: OSError: [Errno 27] File too large",
            ["history", "logs", "notebooks", "results.json", "run.json"],
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_full_disk_is_named_and_what_was_written_before_is_kept(
    ended: Ended, tmp_path: Path, bytes_at_most: int, complaint: str, left: list[str]
) -> None:
    parameters = tmp_path / "recorded.yaml"
    recording = ended.directory / "history" / "A1.jsonl.gz"
    parameters.write_text(f"environment: recorded\ntarget: {{replay: {recording}}}\nusers: 2\nrounds: 1\n")
    command = [sys.executable, "-m", "netra_probe.cli.main", "run", "A1", "--parameters", str(parameters)]
    called = subprocess.run(
        [*command, "--output", str(tmp_path / "run")],
        cwd=ended.folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # 3.11 would leave cut files of it, for everybody to load
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most)),
    )
    assert called.returncode == 3, called.stdout + called.stderr
    assert "Traceback" not in called.stderr
    assert complaint in called.stdout + called.stderr
    assert sorted(path.name for path in tmp_path.glob("run/*") if path.name in LASTING) == left


LASTING = ("history", "logs", "notebooks", "results.json", "run.json")


def test_a_place_that_cannot_be_written_is_named_before_anything_is_started(ended: Ended, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file" / "run", Path("/proc/nowhere")):
        with contextlib.chdir(ended.folder), pytest.raises(ParameterError) as raised:
            run(plan_in(ended.folder, output=output))
        assert f"{output}: cannot be made (" in str(raised.value)


@pytest.mark.nightly
def test_a_target_that_vanishes_makes_the_scenario_inconclusive_and_the_next_is_tried(tmp_path: Path) -> None:
    leaves = "import os, signal; os.kill(int(open('relay.pid').read()), signal.SIGTERM)"
    again = ASK.replace("{id}.1", "{id}.2")
    folder = workbook(tmp_path / "workbook", {"A1": (OPEN, ASK, leaves, again, CLOSE), "A2": (OPEN,)})
    known = lab.attach(Path(os.environ[LAB_VARIABLE])).parameters
    targets = [known["auth_url"], known["backend_urls"][0]]
    with relay([urlsplit(url).port or 0 for url in targets]) as (process, ports):
        (folder / "notebooks" / "relay.pid").write_text(str(process.pid))
        auth, backend = (f"http://127.0.0.1:{port}" for port in ports)
        plan = plan_in(folder, output=tmp_path / "run", jobs=1)
        changed = plan.parameters.model_copy(update={"target": {"auth_url": auth, "backend_urls": [backend]}})
        with contextlib.chdir(folder):
            directory, results = run(replace(plan, parameters=changed))
    first, second = results["scenarios"]
    assert (first["verdict"], second["verdict"], results["verdict"]) == ("inconclusive",) * 3
    assert first["cases"][0]["verdict"] == "pass"
    assert "did not register alice" in second["cases"][0]["reason"]
    assert results["cleanup"]["left"], "accounts that could not be removed are named"
    assert compute(directory) == results


@contextlib.contextmanager
def relay(targets: list[int]):  # type: ignore[no-untyped-def]
    """A process that passes on what comes to its ports; when it ends, the target behind it is gone."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in targets]
    ports = [one.getsockname()[1] for one in sockets]
    descriptors = [one.fileno() for one in sockets]
    pairs = list(zip(descriptors, targets, strict=True))
    with subprocess.Popen([sys.executable, __file__, json.dumps(pairs)], pass_fds=descriptors) as process:
        for one in sockets:
            one.close()
        try:
            yield process, ports
        finally:
            process.terminate()


async def pass_on(pairs: list[tuple[int, int]]) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
        sink.close()

    def serve(port: int):  # type: ignore[no-untyped-def]
        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, back), pump(there, writer))

        return serve_one

    for descriptor, port in pairs:
        await asyncio.start_server(serve(port), sock=socket.socket(fileno=descriptor))
    await asyncio.Event().wait()


@pytest.mark.nightly
def test_two_runs_at_once_on_one_lab_do_not_disturb_each_other(tmp_path: Path) -> None:
    folder = workbook(tmp_path / "workbook", {"A1": (OPEN, ASK, MEASURES, CLOSE)})
    plans = [plan_in(folder, output=tmp_path / name) for name in ("first", "second")]
    both = threading.Barrier(2)

    def go(number: int) -> dict[str, object]:
        both.wait()
        return run(plans[number])[1]

    with contextlib.chdir(folder), ThreadPoolExecutor(2) as threads:
        results = list(threads.map(go, range(2)))
    for one in results:
        assert one["verdict"] == "pass", one
        assert one["cleanup"] == {"verdict": "pass", "left": []}


if __name__ == "__main__":
    asyncio.run(pass_on([(descriptor, port) for descriptor, port in json.loads(sys.argv[1])]))
