"""Trials of a detection run: what goes wrong with one is said, counts as no pass, and stops no other."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import httpx
import pytest

from netra_probe.cli.detect import summary
from netra_probe.clients.account_ledger import Ledger
from netra_probe.detection.matrix import Report, rows
from netra_probe.detection.trials import TrialOrder, WarmLab, orders, run_trials
from netra_probe.target.parameters import environment_file, read_parameters

#: A fault that ends the process of its trial, which is the parent of the lab's supervisor, the first to look it up.
DEADLY = '''
import os, pathlib, signal
from netra_probe.lab.shared.faults import Fault, register

@register
class Deadly(Fault):
    """Z9: nothing."""

    id = "Z9"

    def install(self, parts):
        pass

if b"multiprocessing.spawn" in pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_bytes():
    os.kill(os.getppid(), signal.SIGKILL)
'''


def waiting(
    folder: Path, *faults: str, variants: tuple[str, ...] = (), modules: tuple[Path, ...] = ()
) -> list[TrialOrder]:
    """Trials without a single notebook."""
    return orders(
        faults=faults,
        notebooks=(),
        parameters=read_parameters(environment_file("lab")),
        output=folder,
        rate=1.0,
        repeat=1,
        modules=modules,
        variants=variants,
    )


@pytest.mark.nightly
def test_a_trial_whose_process_dies_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    module = tmp_path / "deadly.py"
    module.write_text(DEADLY)
    ended = list(run_trials([*waiting(tmp_path, "Z9", modules=(module,)), *waiting(tmp_path, "W1")], jobs=1))
    assert [(trial.fault, trial.trouble) for trial in ended] == [("Z9", "its process died"), ("W1", "")]
    record = Report(trials=tuple(ended)).as_record()
    assert [row[3] for row in rows(record)] == ["NO its process died", "NO"]


def test_a_trial_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    module = tmp_path / "broken.py"
    module.write_text("raise RuntimeError('not today')")
    (trial,) = run_trials(waiting(tmp_path, "W1", modules=(module,)), jobs=1)
    assert "RuntimeError: not today" in trial.trouble


@pytest.mark.nightly
def test_trials_share_a_lab_in_which_nothing_is_left_of_the_one_before() -> None:
    person = {"email": f"probe+{uuid.uuid4().hex}@netra-probe.example", "password": uuid.uuid4().hex, "name": "Alice"}
    with WarmLab() as warm:
        first = warm(("D1",), ())
        id, auth_url = first.id, first.parameters["auth_url"]
        assert httpx.post(f"{auth_url}/auth/register", json=person).status_code == 200
        Ledger().add([person["email"]], auth_url=auth_url, backend_urls=[])
        second = warm(("W1:0.5",), ())
        assert (second.id, second.faults) == (id, ("W1:0.5",))
        assert httpx.post(f"{auth_url}/auth/login", json=person).status_code == 401
        assert person["email"] not in {entry.email for entry in Ledger().entries()}
        os.kill(second.pid, signal.SIGKILL)
        third = warm(("D1",), ())
        assert third.id != id and third.status()["faults"] == {"D1": {"reached": 0, "triggered": 0}}
    assert not third.is_running()


@pytest.mark.nightly
def test_a_healthy_lab_that_was_not_disturbed_as_it_should_be_is_no_pass(tmp_path: Path) -> None:
    variants = ("plain", "restarted backend", "legal reorderings")
    ended = list(run_trials(waiting(tmp_path, variants=variants), jobs=1))
    assert [trial.trouble for trial in ended] == ["", "the disturbance never came about", "JITTER never came about"]
    record = Report(trials=tuple(ended)).as_record()
    assert [(one["variant"], one["runs"], one["findings"]) for one in record["healthy"]] == [
        ("plain", 1, 0),
        ("restarted backend", 0, 0),
        ("legal reorderings", 0, 0),
    ]
    assert record["false_finding_rate"]["of"] == 1
    assert "restarted backend not finished: the disturbance never came about" in summary(record)
