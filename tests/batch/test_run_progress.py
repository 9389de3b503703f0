"""What somebody sees who waits for a run: what to expect, where it is, and each verdict as it comes."""

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from projects import Ended, plan_in
from rich.console import Console

from netra_probe.batch.execution import Execution
from netra_probe.batch.progress import Estimate, Follower, Patient, packed
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.cli.progress import Bars, Lines, expectation, spoken, verdict_line


def test_a_follower_reads_the_current_case_behind_the_kernel_that_writes(ended: Ended, tmp_path: Path) -> None:
    lines = gzip.decompress((ended.directory / "history" / "A1.jsonl.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "history").mkdir()
    follower = Follower(tmp_path, "A1")
    seen = [follower.case()]
    with open(tmp_path / "history" / "A1.jsonl", "wb", buffering=0) as history:
        for line in lines:
            half = len(line) // 2
            for part in (line[:half], line[half:]):
                history.write(part)
                if (case := follower.case()) != seen[-1]:
                    seen.append(case)
    titles = SCENARIOS["A1"].cases
    assert seen == ["starting", f"A1.1 {titles['A1.1']}", f"A1.2 {titles['A1.2']}"]


def test_an_estimate_is_the_median_of_runs_that_were_alike(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRA_PROBE_OUTPUTS", str(tmp_path))
    plan = replace(plan_in(ended.folder, output=tmp_path / "new"), jobs=2)
    assert Estimate.of(plan).known == frozenset()
    assert expectation(Estimate.of(plan)) == ""
    record = json.loads((ended.directory / "run.json").read_text())
    for number, seconds in enumerate((10.0, 30.0, 20.0)):
        record["scenarios"][0]["seconds"] = seconds
        keep(tmp_path, str(number), record)
    keep(tmp_path, "8-other", {**record, "faults": ["W1"], "scenarios": [{**record["scenarios"][0], "seconds": 500.0}]})
    keep(tmp_path, "9-damaged", {"schema": 1})
    estimate = Estimate.of(plan)
    assert estimate.known == {"A1"}
    assert set(estimate.seconds.values()) == {20.0}
    assert estimate.total == 80.0
    assert expectation(estimate) == "about 80 s, 2 at a time, as earlier runs went, 7 of them never run before"


def keep(outputs: Path, name: str, record: object) -> None:
    run = outputs / "lab" / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(record))


def test_longest_first_lets_jobs_end_together() -> None:
    estimate = Estimate(seconds={"A1": 2.0, "B1": 7.0, "C1": 4.0, "D1": 1.0}, jobs=2, known=frozenset({"A1"}))
    assert estimate.order(["A1", "B1", "C1", "D1"]) == ["B1", "C1", "A1", "D1"]
    assert estimate.total == 7.0
    assert packed([], [2.0, 1.0, 4.0, 7.0], jobs=2) == 9.0
    assert estimate.left({"B1": 5.0}, ["D1", "A1"]) == 3.0
    assert estimate.left({"B1": 50.0}, []) == 0.0


def test_where_nothing_is_known_whoever_has_most_cases_goes_first() -> None:
    ids = ["A1", "C4", "S1", "S2"]
    estimate = Estimate(seconds=dict.fromkeys(ids, 0.0), jobs=2)
    assert estimate.order(ids) == ["S1", "A1", "C4", "S2"]
    assert estimate.total == 0.0


@given(some.lists(some.floats(0.1, 100), max_size=12), some.integers(1, 5))
def test_packing_never_promises_less_than_the_work_or_more_than_one_after_the_other(
    seconds: list[float], jobs: int
) -> None:
    total = packed([], seconds, jobs=jobs)
    assert max([sum(seconds) / jobs, *seconds], default=0.0) <= total + 1e-6
    assert total <= sum(seconds) + 1e-6


@pytest.mark.parametrize(
    ("id", "line"),
    [
        ("A1", "A1  pass  1 case, 3 s"),
        ("A2", "A2  died: its kernel was killed (SIGKILL: by hand, or by the system when memory ran out), 3 s"),
        ("A3", "A3  timed out: a cell took longer than 25 s, 3 s"),
    ],
)
def test_a_verdict_line_says_how_it_ended_and_why(ended: Ended, id: str, line: str) -> None:
    entry = next(one for one in json.loads((ended.directory / "run.json").read_text())["scenarios"] if one["id"] == id)
    execution = Execution(id=id, status=entry["status"], reason=entry["reason"], seconds=3.0)
    assert verdict_line(execution, ended.scenario(id)) == line


def test_a_finding_is_told_with_its_case() -> None:
    case = {"id": "A1.2", "verdict": "fail", "reason": "bob received alice's secret"}
    record = {"id": "A1", "verdict": "fail", "cases": [{"id": "A1.1", "verdict": "pass"}, case]}
    told = verdict_line(Execution(id="A1", status="completed", seconds=170.0), record)
    assert told == "A1  FAIL  A1.2 bob received alice's secret, 3 min"
    dead = verdict_line(Execution(id="A1", status="died", reason="its kernel died"), record)
    assert dead == "A1  FAIL, died: its kernel died, 0 s"


def test_a_log_gets_a_line_for_each_notebook(ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Lines()
    watcher.begin(Estimate(seconds={"A1": 4.0}, jobs=2, known=frozenset({"A1"})), ended.directory)
    watcher.started("A1")
    watcher.look()
    watcher.ended(Execution(id="A1", status="completed", seconds=3.0), ended.scenario("A1"))
    watcher.end()
    assert capsys.readouterr().out == "about 4 s, 2 at a time, as earlier runs went\n  A1  pass  1 case, 3 s\n"


def test_a_terminal_shows_what_is_running_and_its_case(ended: Ended) -> None:
    screen = io.StringIO()
    watcher = Bars(Console(file=screen, force_terminal=True, width=120))
    watcher.begin(Estimate(seconds={"A2": 300.0, "A1": 300.0}, jobs=1, known=frozenset({"A1"})), ended.directory)
    watcher.started("A2")
    watcher.look()
    watcher.refresh()
    watcher.ended(Execution(id="A2", status="died", reason="its kernel died"), ended.scenario("A2"))
    watcher.end()
    shown = screen.getvalue()
    assert "0 of 2 done, about 10 min left" in shown
    assert f"A2 A2.2 {SCENARIOS['A2'].cases['A2.2']}" in shown
    assert "A2  died: its kernel died" in shown


def test_times_are_spoken_as_one_would() -> None:
    assert [spoken(seconds) for seconds in (0.4, 59.6, 170, 3600)] == ["0 s", "60 s", "3 min", "60 min"]


def test_a_pipe_that_was_closed_ends_no_run(ended: Ended) -> None:
    class Closed(Lines):
        def ended(self, execution: Execution, record: object) -> None:
            raise BrokenPipeError

    Patient(Closed()).ended(Execution(id="A1", status="completed"), ended.scenario("A1"))
