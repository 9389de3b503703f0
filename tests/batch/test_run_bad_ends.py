"""What ends a notebook badly costs that scenario its verdict, is named, and keeps no other from going on."""

import json

import pytest
from projects import CELL_SECONDS, Ended

from netra_probe.batch.execution import explained
from netra_probe.results.results import RESULTS, compute


@pytest.mark.parametrize(
    ("id", "status", "reason"),
    [
        ("A2", "died", "its kernel was killed (SIGKILL"),
        ("A3", "timed out", f"a cell took longer than {CELL_SECONDS} s"),
        ("A4", "failed", "raised MemoryError"),
        ("A5", "died", "its kernel ended by itself (status 7)"),
        ("B1", "failed", "raised NameError: name 'broken' is not defined"),
        ("B2", "failed", "raised OSError: [Errno 27] File too large"),
        ("B3", "died", "its worker process died"),
    ],
)
def test_each_bad_end_is_inconclusive_with_its_reason(ended: Ended, id: str, status: str, reason: str) -> None:
    entry = next(one for one in json.loads((ended.directory / "run.json").read_text())["scenarios"] if one["id"] == id)
    assert (entry["status"], reason in entry["reason"]) == (status, True), entry
    scenario = ended.scenario(id)
    assert scenario["verdict"] == "inconclusive"
    assert reason in scenario["cases"][-1]["reason"]


def test_a_case_that_was_judged_before_the_end_keeps_its_verdict(ended: Ended) -> None:
    for id in ("A2", "A3", "B1", "B2"):
        verdicts = {case["id"]: case["verdict"] for case in ended.scenario(id)["cases"]}
        assert verdicts[f"{id}.1"] == "pass"
        assert set(verdicts.values()) == {"pass", "inconclusive"}


def test_the_others_go_on_and_the_whole_is_inconclusive(ended: Ended) -> None:
    assert ended.scenario("A1")["verdict"] == "pass"
    assert ended.results["verdict"] == "inconclusive"
    assert sorted(ended.watcher.ended_ids) == ["A1", "A2", "A3", "A4", "A5", "B1", "B2", "B3"]
    assert ended.watcher.is_over


def test_accounts_of_dead_kernels_are_removed_once_the_last_one_has_ended(ended: Ended) -> None:
    after = json.loads((ended.directory / "run.json").read_text())["after"]
    assert after["removed"] >= 2
    assert after["left"] == []


def test_what_was_judged_while_the_run_went_on_is_what_recheck_says(ended: Ended) -> None:
    assert json.loads((ended.directory / RESULTS).read_text()) == ended.results == compute(ended.directory)


def test_each_notebook_says_what_it_took(ended: Ended) -> None:
    (entry, *_) = json.loads((ended.directory / "run.json").read_text())["scenarios"]
    assert 0 < entry["cpu_seconds"] < 60
    assert entry["seconds"] > 0
    assert entry["memory_mb"] > 20


def test_the_current_case_can_be_read_from_outside(ended: Ended) -> None:
    seen = ended.watcher.cases["A3"]
    assert seen[0] == "starting"
    assert seen[-1] == "A3.2 Case 2"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (None, "its kernel died"),
        (0, "its kernel ended by itself (status 0)"),
        (-11, "its kernel was ended by SIGSEGV"),
        (-99, "its kernel was ended by signal 99"),
    ],
)
def test_how_a_process_ended_is_put_into_words(code: int | None, told: str) -> None:
    assert explained(code) == told
