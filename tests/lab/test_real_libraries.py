"""Real defects of real libraries happen over the wire, are found there, and are nobody's who did not ask for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from netra_probe import Investigation, acts, investigate, lab
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.canary import CanaryChecker
from netra_probe.cli import app
from netra_probe.lab.infrastructure import fault_needs
from netra_probe.lab.real_libraries.redis_out_of_step import RedisOutOfStep
from netra_probe.lab_target import as_target
from netra_probe.verdict import Finding

pytestmark = pytest.mark.nightly


async def found(fault: str, act: Callable[[Investigation], Awaitable[object]]) -> tuple[list[Finding], dict[str, int]]:
    """What C1 finds of an act on a lab with a fault, and the fault's counters."""
    with lab.start_lab(faults=(fault,)) as running:
        probe = await investigate("C4", users=3, target=as_target(running))
        try:
            await act(probe)
            (judgement,) = judge([CanaryChecker()], list(probe.history), Window())
        finally:
            await probe.close()
        return list(judgement.findings), running.status()["faults"][fault]


async def test_redis_py_451_gives_the_answer_to_a_cancelled_command_to_somebody_else() -> None:
    findings, counts = await found("R1", lambda probe: acts.cancel_and_volley(probe, probe.users[0]))
    assert counts["reached"] > counts["triggered"] > 0
    assert {finding.kind for finding in findings} == {"foreign canary"}
    assert all(finding.surface == "rest" for finding in findings)


async def test_uvicorn_on_the_plain_loop_answers_the_next_request_for_the_sender_of_a_large_body() -> None:
    findings, counts = await found("R2", acts.share_a_line)
    assert counts["reached"] > counts["triggered"] > 0
    assert {finding.kind for finding in findings} == {"foreign canary"}
    assert "anonymous" in {name for finding in findings for name in finding.recipients}


async def test_uvicorn_resets_nothing_after_a_small_body() -> None:
    findings, counts = await found("R2", lambda probe: acts.share_a_line(probe, size=10_000))
    assert counts["reached"] > 0 and counts["triggered"] == 0
    assert findings == []


def test_they_are_not_among_the_published_ones() -> None:
    assert len(lab.known_faults()) == 44
    assert {"R1", "R2"} == set(lab.known_faults(kinds=("real",)))
    assert {fault.like for fault in lab.known_faults(kinds=("real",)).values()} == {"P3", "X2"}
    listed = CliRunner().invoke(app, ["lab", "faults"]).output
    assert "44 faults" in listed and "R1" not in listed.split()


def test_only_the_backends_import_the_other_version() -> None:
    fault_needs.install_libraries([RedisOutOfStep])
    paths = {
        name: fault_needs.added_to({"PYTHONPATH": "/first"}, name, [RedisOutOfStep])["PYTHONPATH"].split(":")
        for name in ("auth", "llm", "oidc", "backend-1", "backend-2")
    }
    assert paths["auth"] == paths["llm"] == paths["oidc"] == ["/first"]
    assert paths["backend-1"] == paths["backend-2"]
    place, rest = paths["backend-1"]
    assert rest == "/first"
    assert (Path(place) / "redis-4.5.1.dist-info").is_dir()


def test_without_a_package_index_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    nowhere = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, "-m", "netra_probe.cli", "detect", "R1", "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **nowhere, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "netra-probe: --fault: R1 needs redis==4.5.1 and async-timeout==4.0.3 in a directory of its own"
    )
    assert f"`{Path(sys.executable).name} -m pip` reaches a package index" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("draft-*")) and not (tmp_path / "out").exists()
