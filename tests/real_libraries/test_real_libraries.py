"""Real defects of real libraries, on which published faults are modelled, happen over the wire and are found there.

Nothing imitates a defect: the services import the library that has it, or run under the settings in which it shows, and
the fault only counts. Every night only: a library is installed for it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis_out_of_step import LIBRARIES
from uvicorn_context import SETTINGS

from netra_probe import Investigation, investigate, lab, workloads
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.canary import CanaryChecker
from netra_probe.checkers.verdict import Finding
from netra_probe.target.lab import as_target

pytestmark = pytest.mark.nightly
HERE = Path(__file__).parent


async def found(
    fault: str, module: str, act: Callable[[Investigation], Awaitable[object]], **settings: str
) -> tuple[list[Finding], dict[str, int]]:
    """What C1 finds of an act on a lab with a fault, and the fault's counters."""
    with lab.start_lab(faults=(fault,), fault_modules=(HERE / module,), settings=settings) as running:
        probe = await investigate("C4", users=3, target=as_target(running))
        try:
            await act(probe)
            (judgement,) = judge([CanaryChecker()], list(probe.history), Window())
        finally:
            await probe.close()
        return list(judgement.findings), running.status()["faults"][fault]


@pytest.fixture(scope="module")
def old_redis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with redis-py 4.5.1, for whoever has it on its path."""
    place = tmp_path_factory.mktemp("redis-py")
    wanted = place / "requirements.txt"
    wanted.write_text("\n".join(LIBRARIES) + "\n")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes")
    subprocess.run([*pip, f"--target={place}", f"--requirement={wanted}"], check=True, timeout=120)
    return place


async def test_redis_py_451_gives_the_answer_to_a_cancelled_command_to_somebody_else(
    old_redis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(old_redis))
    findings, counts = await found(
        "R1", "redis_out_of_step.py", lambda probe: workloads.cancel_then_read(probe, probe.users[0])
    )
    assert counts["reached"] > counts["triggered"] > 0
    assert {finding.kind for finding in findings} == {"foreign canary"}
    assert all(finding.surface == "rest" for finding in findings)


@pytest.mark.parametrize(
    ("act", "leaks"),
    [(workloads.share_a_line, True), (lambda probe: workloads.share_a_line(probe, size=10_000), False)],
    ids=["large body", "small body"],
)
async def test_uvicorn_on_the_plain_loop_answers_the_next_request_for_the_sender_of_a_large_body(
    act: Callable[[Investigation], Awaitable[object]], leaks: bool
) -> None:
    findings, counts = await found("R2", "uvicorn_context.py", act, **SETTINGS)
    assert counts["reached"] > counts["triggered"]
    assert bool(counts["triggered"]) is leaks
    assert {finding.kind for finding in findings} == ({"foreign canary"} if leaks else set())
    assert ("anonymous" in {name for finding in findings for name in finding.recipients}) is leaks
