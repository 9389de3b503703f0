"""Several environments in one call: each gets a run of its own, and none is in another's way."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from projects import Ended

from netra_probe.cli.main import app
from netra_probe.cli.run import worst


@pytest.fixture(scope="module")
def called(ended: Ended, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A1 on a deployment that is not there, and on a recording of one, in this order."""
    place = tmp_path_factory.mktemp("environments")
    shutil.copytree(ended.folder, place / "workbook")
    parameters = place / "workbook" / "parameters"
    dead = "auth_url: http://127.0.0.1:9, backend_urls: ['http://127.0.0.1:9']"
    parameters.joinpath("dead.yaml").write_text(f"environment: dead\ntarget: {{{dead}}}\nusers: 2\nrounds: 1\n")
    recording = ended.directory / "history" / "A1.jsonl.gz"
    parameters.joinpath("recorded.yaml").write_text(
        f"environment: recorded\ntarget: {{replay: {recording}}}\nusers: 2\nrounds: 1\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place / "workbook")
        arguments = ["run", "A1", "--env", "dead", "--env", "recorded", "--output", str(place / "runs")]
        return CliRunner().invoke(app, arguments, standalone_mode=False), place / "runs"


def test_each_environment_has_a_run_directory(called: tuple[Result, Path]) -> None:
    ended, runs = called
    assert sorted(path.name for path in runs.iterdir()) == ["dead", "recorded"], ended.output
    for name in ("dead", "recorded"):
        assert json.loads((runs / name / "results.json").read_text())["environment"] == name


def test_one_that_cannot_be_reached_does_not_stop_the_next(called: tuple[Result, Path]) -> None:
    ended, runs = called
    verdicts = {
        name: json.loads((runs / name / "results.json").read_text())["verdict"] for name in ("dead", "recorded")
    }
    assert verdicts == {"dead": "inconclusive", "recorded": "pass"}, ended.output
    assert "did not register alice" in ended.output


def test_the_worst_decides_the_exit_status(called: tuple[Result, Path]) -> None:
    assert called[0].return_value == 3
    assert [worst(statuses) for statuses in ([0, 0], [0, 3], [3, 1, 0], [3, 2], [])] == [0, 3, 1, 2, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "lab", "--env", "labb"], 'did you mean "lab"?'),
        (["--env", "lab", "--parameters", "parameters/lab.yaml"], 'environment "lab" is given twice'),
    ],
)
def test_wrong_environments_are_named_before_anything_runs(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(ended.folder)
    refused = CliRunner().invoke(
        app, ["run", "A1", *arguments, "--output", str(tmp_path / "runs")], standalone_mode=False
    )
    assert message in str(refused.exception)
    assert not (tmp_path / "runs").exists()
