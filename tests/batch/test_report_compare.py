"""What differs between two runs, as ``compare`` tells it and as its exit status sums it up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import record_run

from netra_probe.checkers.verdict import Verdict
from netra_probe.cli.main import app
from netra_probe.errors import ParameterError
from netra_probe.results.compare import Kind, compare, since_last_decided
from netra_probe.results.runs import earlier, find_run, read_run

VERDICTS = [str(verdict) for verdict in Verdict]


def case(verdict: str, *found: str, reason: str = "", severity: str = "isolation") -> dict[str, object]:
    """A case of ``results.json`` with these kinds of findings."""
    findings = [{"checker": "C1", "kind": kind, "surface": "", "severity": severity} for kind in found]
    return {"id": "C4.1", "title": "", "verdict": verdict, "reason": reason, "findings": findings}


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETRA_PROBE_OUTPUTS", str(tmp_path))
    record_run(tmp_path, {"C4.1": "pass", "C4.2": "fail", "A1.1": "pass"}, name="20261101T010000Z-aaaaaa")
    record_run(tmp_path, {"C4.1": "fail", "C4.2": "pass"}, name="20261102T010000Z-bbbbbb")
    record_run(tmp_path, {"C4.1": "pass", "C4.2": "pass"}, name="20261102T040000Z-cccccc")
    record_run(tmp_path, {"C4.1": "pass"}, name="20261103T010000Z-dddddd", environment="staging")
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "kind", "worse"),
    [
        (case("pass"), case("fail", "leak"), Kind.NEW_FAILURE, True),
        (case("not applicable"), case("fail", "leak"), Kind.NEW_FAILURE, True),
        (case("fail", "leak"), case("pass"), Kind.RECOVERED, False),
        (case("fail", "leak"), case("inconclusive"), Kind.UNDECIDED, True),
        (case("pass"), case("not applicable"), Kind.UNDECIDED, True),
        (case("inconclusive"), case("pass"), Kind.DECIDED, False),
        (case("inconclusive"), case("not applicable"), Kind.NUMBERS, False),
        (case("fail", "leak"), case("fail", "leak", "loss"), Kind.MORE, True),
        (case("fail", "leak", "loss"), case("fail", "leak"), Kind.FEWER, False),
        (case("fail", "leak"), case("fail", "loss"), Kind.OTHER, True),
        (case("pass"), case("pass", "header", severity="hygiene"), Kind.NUMBERS, False),
        (case("pass", reason="runs 1"), case("pass", reason="runs 2"), Kind.NUMBERS, False),
    ],
)
def test_each_way_in_which_a_case_changes_has_its_name(
    before: dict[str, object], after: dict[str, object], kind: Kind, worse: bool
) -> None:
    (change,) = compare({"C4.1": before}, {"C4.1": after})
    assert (change.kind, change.is_worse) == (kind, worse)


@given(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS))
def test_no_way_there_and_back_is_for_the_worse_twice_unless_a_decision_was_lost(one: str, other: str) -> None:
    there, back = compare({"x": case(one)}, {"x": case(other)}), compare({"x": case(other)}, {"x": case(one)})
    assert bool(there) == bool(back) == (one != other)
    if there and there[0].is_worse and back[0].is_worse:
        assert Kind.UNDECIDED in (there[0].kind, back[0].kind)


def test_a_comparison_tells_what_changed_with_the_evidence(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = outputs / "lab" / "20261101T010000Z-aaaaaa", outputs / "lab" / "20261102T010000Z-bbbbbb"
    assert app.main(["compare", str(before), str(after)], standalone_mode=False) == 1
    told = capsys.readouterr().out
    assert "3 case(s) differ, 1 of them for the worse; 0 are the same" in told
    assert "C4.1  pass    fail   new failure  + canary · foreign canary (websocket)" in told
    assert "C4.2  fail    pass   recovered    − canary · foreign canary (websocket)" in told
    assert "A1.1  pass    –      not here" in told
    assert "before: 6 frames and responses · owners saw their own secrets 2× (control)" in told
    assert "after:  alice's data reached bob: 1 frame or response, 1 secret" in told
    assert "    + canary · foreign canary (websocket): alice's data reached bob over websocket through thread" in told
    assert "bob/ws-1 ←" in told


def test_environments_and_dates_stand_for_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["compare", "lab", "staging"], standalone_mode=False) == 0
    assert "1 case(s) differ, 0 of them for the worse; 1 are the same" in capsys.readouterr().out
    assert app.main(["compare", "lab@1", "lab", "--json"], standalone_mode=False) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["case"], change["kind"], change["worse"]) == ("C4.1", "recovered", False)
    for words, name in {
        "lab": "cccccc",
        "lab@0": "cccccc",
        "lab@2": "aaaaaa",
        "lab@2026-11-02": "cccccc",
        "lab@2026-11-02T01": "bbbbbb",
    }.items():
        assert find_run(outputs, words).name.endswith(name), words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nowhere", '"nowhere": neither a directory nor an environment that has been run'),
        ("lab@3", "lab has only 3 run(s), @0 to @2"),
        ("lab@2025-01-01", "no run of lab began then; there are some of 2026-11-01, 2026-11-02"),
        ("./", r"run.json"),
        ("../lab", r"run.json"),
    ],
)
def test_a_run_that_is_not_there_is_an_error_that_says_which_there_are(outputs: Path, words: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message.replace("(", r"\(").replace(")", r"\)")):
        find_run(outputs, words)


def test_news_are_told_against_the_last_run_that_decided_the_case(tmp_path: Path) -> None:
    record_run(tmp_path, {"C4.1": "fail", "C4.2": "pass", "A1.1": "pass"}, name="20261101T010000Z-aaaaaa")
    record_run(tmp_path, {"C4.1": "inconclusive", "C4.2": "inconclusive"}, name="20261102T010000Z-bbbbbb")
    record_run(tmp_path, {"C4.1": "pass"}, name="20261102T020000Z-dddddd", environment="staging")
    run = read_run(record_run(tmp_path, {"C4.1": "pass", "C4.2": "fail"}, name="20261103T010000Z-cccccc"))
    news = since_last_decided(run, earlier(run))
    assert [(change.case, change.kind, change.since[-6:]) for change in news] == [
        ("C4.1", Kind.RECOVERED, "aaaaaa"),
        ("C4.2", Kind.NEW_FAILURE, "aaaaaa"),
    ]


def test_what_is_as_it_was_is_no_news(tmp_path: Path) -> None:
    for number in (1, 2):
        run = read_run(record_run(tmp_path, {"C4.1": "fail", "C4.2": "pass"}, name=f"2026110{number}T010000Z-aaaaaa"))
    assert since_last_decided(run, earlier(run)) == []


def test_a_run_is_dated_by_what_it_says_else_by_its_name_else_by_its_file(tmp_path: Path) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"}, name="20261101T010000Z-aaaaaa")
    plan = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**plan, "started": "2026-10-01T02:00:00Z"}))
    assert read_run(run).started.isoformat() == "2026-10-01T02:00:00+00:00"
    (run / "run.json").write_text(json.dumps({**plan, "started": "yesterday"}))
    assert read_run(run).started.isoformat() == "2026-11-01T01:00:00+00:00"
    odd = run.rename(run.with_name("20269999T999999Z-aaaaaa"))
    assert read_run(odd).started.timestamp() == pytest.approx((odd / "run.json").stat().st_mtime)
