"""Outputs at a URL: what is there after a run, going on from there, and what happens when nothing can be put there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner, Result
from fsspec.implementations.memory import MemoryFileSystem
from projects import Ended

from netra_probe.batch.progress import is_url
from netra_probe.batch.remote_store import Store, fetch_past, staged
from netra_probe.cli.main import app
from netra_probe.errors import OutputError, ParameterError
from netra_probe.results.runs import runs_in

URL = "memory://runs/nightly"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), standalone_mode=False)


def objects(url: str = URL) -> dict[str, bytes]:
    files, root = fsspec.core.url_to_fs(url)
    return {path.removeprefix(root).lstrip("/"): files.cat_file(path) for path in files.find(root)}


@pytest.fixture(scope="module")
def parameters(ended: Ended, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a target that is a recording: nothing needs to be started for it."""
    path = tmp_path_factory.mktemp("parameters") / "recorded.yaml"
    recording = ended.directory / "history" / "A1.jsonl.gz"
    path.write_text(f"environment: recorded\ntarget: {{replay: {recording}}}\nusers: 2\nrounds: 1\n")
    return str(path)


@pytest.fixture(scope="module")
def stored(ended: Ended, parameters: str) -> Iterator[Result]:
    """A run of A1 whose outputs are in the in-memory store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ended.folder)
        yield call("run", "A1", "--parameters", parameters, "--output", URL)
    MemoryFileSystem.store.clear()


def test_a_run_is_at_its_url_and_nothing_is_left_here(stored: Result) -> None:
    assert stored.return_value == 0, stored.output
    there = objects()
    for name in ("run.json", "results.json", "report.html", "notebooks/A1-small.ipynb", "history/A1.jsonl.gz"):
        assert there[name]
        assert f"{URL}/{name}" in stored.output or name in ("run.json", "history/A1.jsonl.gz")
    assert "netra-probe-run-" not in stored.output
    assert b'"run": "nightly"' in there["results.json"]


@pytest.mark.nightly
def test_recheck_and_resume_take_a_url(stored: Result, ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ended.folder)
    before = objects()
    again = call("recheck", URL)
    assert f"{URL}/results.json is confirmed, byte for byte" in again.output
    assert objects() == before
    MemoryFileSystem().rm_file("/runs/nightly/history/A1.jsonl.gz")
    MemoryFileSystem().rm_file("/runs/nightly/results.json")
    finished = call("run", "--resume", URL)
    assert finished.return_value == 0, finished.output
    after = objects()
    assert after["results.json"] == before["results.json"]
    assert after["earlier/1/notebooks/A1-small.ipynb"] == before["notebooks/A1-small.ipynb"]


def test_a_run_at_a_url_is_never_written_over(
    stored: Result, ended: Ended, parameters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ended.folder)
    before = objects()
    refused = call("run", "A1", "--parameters", parameters, "--output", URL)
    assert f"{URL} holds a run already" in str(refused.exception)
    assert objects() == before


def test_what_is_new_is_told_against_the_runs_beside_it(stored: Result, tmp_path: Path) -> None:
    assert fetch_past("memory://runs/tomorrow", tmp_path) == ""
    (before,) = runs_in(tmp_path)
    assert (before.path.name, before.environment, before.has_results) == ("nightly", "recorded", True)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///proc/nowhere/run", "file:///proc/nowhere/run: cannot be written ("),
        ("s4://bucket/run", "s4://bucket/run: cannot be reached (Protocol not known: s4"),
        ("ftp://user:hunter2@host/run", "ftp://…: the URL holds credentials"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_started(
    ended: Ended, parameters: str, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    monkeypatch.chdir(ended.folder)
    refused = call("run", "A1", "--parameters", parameters, "--output", url)
    assert isinstance(refused.exception, ParameterError)
    assert message in str(refused.exception)
    assert "hunter2" not in str(refused.exception)
    assert "A1" not in refused.output


@pytest.mark.parametrize("command", [["run", "--resume"], ["recheck"]])
def test_what_is_no_run_is_named(command: list[str]) -> None:
    assert "memory://nothing/here: no run.json in it" in str(call(*command, "memory://nothing/here").exception)


def test_when_a_store_fails_later_the_local_copy_is_kept_and_named(tmp_path: Path) -> None:
    place = tmp_path / "store" / "run"
    with pytest.raises(OutputError) as raised, staged(place.as_uri()) as staging:
        (staging.directory / "first").write_text("one")
        staging.store.mirror(staging.directory)
        (staging.directory / "second").write_text("two")
        shutil.rmtree(place)
        place.write_text("in the way")
    assert f"kept in {staging.directory}" in str(raised.value)
    assert (staging.directory / "second").read_text() == "two"
    shutil.rmtree(staging.directory.parent)


def test_a_mirror_copies_what_has_changed_and_removes_what_is_gone(tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "history").mkdir(parents=True)
    (here / "history" / "A1.jsonl").write_text("growing")
    (here / "run.json.partial").write_text("half")
    store = Store((tmp_path / "there").as_uri())
    store.check_writable()
    store.mirror(here)
    assert set(objects((tmp_path / "there").as_uri())) == {"history/A1.jsonl"}
    (here / "history" / "A1.jsonl").rename(here / "history" / "A1.jsonl.gz")
    store.mirror(here)
    assert set(objects((tmp_path / "there").as_uri())) == {"history/A1.jsonl.gz"}


@pytest.mark.parametrize("place", ["s3://bucket/x", "memory://x", "simplecache::s3://bucket/x"])
def test_a_url_is_told_from_a_path(place: str) -> None:
    assert is_url(place)


@pytest.mark.parametrize("place", ["outputs/x", "C:/x", "/a://b", ""])
def test_a_path_is_told_from_a_url(place: str) -> None:
    assert not is_url(place)
