"""Finishing a run that has ended early: what is missing is executed, what is complete stays as it is."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from projects import PASSES, SEED, Ended, Notes, notebook

from netra_probe.batch.manifest import Record, completed
from netra_probe.batch.plan import Plan, planned
from netra_probe.batch.run import run
from netra_probe.batch.selection import select
from netra_probe.cli.main import app
from netra_probe.errors import ParameterError
from netra_probe.results.results import compute
from netra_probe.results.runs import held
from netra_probe.target.lab import LAB_VARIABLE
from netra_probe.target.parameters import read_parameters


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def rewrite(directory: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = directory / "run.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.fixture(scope="module")
def resumed(ended: Ended, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Path, Notes]:
    """A run of A1, which passed, and A2, whose kernel was killed, finished with an A2 that does not do that."""
    place = tmp_path_factory.mktemp("resumed")
    folder = place / "workbook"
    shutil.copytree(ended.folder, folder)
    directory = place / "run"
    shutil.copytree(ended.directory, directory)

    def only_two(record: dict[str, object]) -> None:
        record["scenarios"] = [one for one in record["scenarios"] if one["id"] in ("A1", "A2")]  # type: ignore[attr-defined]

    rewrite(directory, only_two)
    for path in [*directory.glob("history/*"), *directory.glob("notebooks/*"), *directory.glob("logs/*")]:
        if not path.name.startswith(("A1", "A2")):
            path.unlink()
    before = files(directory)
    notebook(folder / "notebooks" / "A2-small.ipynb", PASSES, id="A2")
    watcher = Notes()
    with contextlib.chdir(folder):
        plan = replace(planned(directory), variables=session_lab())
        run(plan, resume=True, watcher=watcher)
    return before, directory, watcher


def session_lab() -> dict[str, str]:
    return {LAB_VARIABLE: os.environ[LAB_VARIABLE]}


def test_only_what_is_missing_is_executed(resumed: tuple[dict[str, bytes], Path, Notes]) -> None:
    _, directory, watcher = resumed
    assert watcher.ended_ids == ["A2"]
    record = json.loads((directory / "run.json").read_text())
    assert [(one["id"], one["status"]) for one in record["scenarios"]] == [("A1", "completed"), ("A2", "completed")]


def test_what_was_complete_stays_byte_for_byte(resumed: tuple[dict[str, bytes], Path, Notes]) -> None:
    before, directory, _ = resumed
    after = files(directory)
    for name in ("history/A1.jsonl.gz", "notebooks/A1-small.ipynb", "logs/A1.log"):
        assert after[name] == before[name]


def test_the_attempt_that_failed_is_kept_apart(resumed: tuple[dict[str, bytes], Path, Notes]) -> None:
    before, directory, _ = resumed
    after = files(directory)
    for name in ("history/A2.jsonl", "notebooks/A2-small.ipynb", "logs/A2.log"):
        assert after[f"earlier/1/{name}"] == before[name]


def test_the_results_are_those_of_the_whole_run_with_its_own_parameters(
    resumed: tuple[dict[str, bytes], Path, Notes],
) -> None:
    _, directory, _ = resumed
    results = json.loads((directory / "results.json").read_text())
    assert results == compute(directory)
    assert [one["verdict"] for one in results["scenarios"]] == ["pass", "pass"]
    assert results["seed"] == SEED
    assert f"seed = {SEED}" in (directory / "notebooks" / "A2-small.ipynb").read_text()


def test_a_run_in_which_nothing_is_missing_is_judged_again_and_no_more(
    resumed: tuple[dict[str, bytes], Path, Notes], ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, directory, _ = resumed
    before = files(directory)
    monkeypatch.chdir(ended.folder)
    watcher = Notes()
    (directory / "results.json").unlink()
    run(planned(directory), resume=True, watcher=watcher)
    assert watcher.started_ids == []
    assert {name: content for name, content in files(directory).items() if name != "run.json"} == {
        name: content for name, content in before.items() if name != "run.json"
    }


@pytest.mark.parametrize(
    "harm",
    [
        lambda run: (run / "history" / "A1.jsonl.gz").unlink(),
        lambda run: (run / "notebooks" / "A1-small.ipynb").unlink(),
        lambda run: (run / "notebooks" / "A1-small.ipynb").write_text('{"cells": ['),
        lambda run: (run / "history" / "A1.jsonl.gz").write_bytes((run / "history" / "A1.jsonl.gz").read_bytes()[:-90]),
        lambda run: (run / "history" / "A1.jsonl.gz").write_bytes(
            (run / "history" / "A1.jsonl.gz").read_bytes()[:200] + bytes(200)
        ),
    ],
    ids=["no history", "no notebook", "half a notebook", "half a history", "damaged history"],
)
def test_a_notebook_whose_files_are_not_whole_is_missing(
    ended: Ended, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    directory = tmp_path / "run"
    shutil.copytree(ended.directory, directory)
    assert set(completed(directory)) == {"A1"}
    harm(directory)
    assert completed(directory) == {}
    assert compute(directory)["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "no run.json in it"),
        (lambda run: (run / "run.json").write_text('{"schema": 1, "run"'), "run.json: damaged"),
        (lambda run: (run / "run.json").write_text('{"schema": 1}'), "run.json: damaged"),
        (lambda run: rewrite(run, lambda record: record.update(schema=99)), "another schema than 1"),
        (lambda run: rewrite(run, lambda record: record.pop("parameters")), 'does not say "parameters"'),
        (lambda run: rewrite(run, lambda record: record.update(parameters={"users": "many"})), "run.json: damaged"),
        (lambda run: rewrite(run, lambda record: record["scenarios"][0].update(notebook="A9.ipynb")), "A9.ipynb is"),
    ],
)  # fmt: skip
def test_half_a_run_is_refused_with_a_reason_and_left_as_it_is(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], object], message: str
) -> None:
    directory = tmp_path / "run"
    shutil.copytree(ended.directory, directory)
    harm(directory)
    before = files(directory)
    monkeypatch.chdir(ended.folder)
    refused = CliRunner().invoke(app, ["run", "--resume", str(directory)], standalone_mode=False)
    assert isinstance(refused.exception, ParameterError)
    assert message in str(refused.exception)
    assert files(directory) == before


def test_resume_takes_everything_from_the_run_itself(ended: Ended) -> None:
    wrong = ["run", "C4", "--resume", str(ended.directory), "--env", "staging", "-p", "users", "3"]
    refused = CliRunner().invoke(app, wrong, standalone_mode=False)
    assert "drop --env, -p, a SELECTOR" in str(refused.exception)


def test_two_do_not_finish_one_run_at_once(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ended.folder)
    with held(ended.directory), pytest.raises(ParameterError, match="a run is at work there"):
        run(planned(ended.directory), resume=True)


def test_a_plan_is_noted_with_references_and_taken_up_again_as_it_was(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_DATABASE_URL", "postgresql://netra:hunter2hunter2@db/netra")
    monkeypatch.chdir(ended.folder)
    parameters = tmp_path / "mine.yaml"
    addresses = "auth_url: https://auth.example.org, backend_urls: [https://api.example.org]"
    parameters.write_text(f"environment: mine\ntarget: {{{addresses}, database_url: env:SOME_DATABASE_URL}}\n")
    (tmp_path / "run").mkdir()
    plan = Plan(
        notebooks=select(["A1", "B1"]),
        parameters=read_parameters(parameters, {"users": 5, "deadline": 2.5}, resolve=True),
        extra={"cycles": 3},
        set=("users", "deadline"),
        jobs=1,
        cell_seconds=77,
        output=tmp_path / "run",
    )
    Record(directory=tmp_path / "run", plan=plan).write()
    text = (tmp_path / "run" / "run.json").read_text()
    assert "env:SOME_DATABASE_URL" in text
    assert "hunter2" not in text
    assert planned(tmp_path / "run", jobs=1) == plan
