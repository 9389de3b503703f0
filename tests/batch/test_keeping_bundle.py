"""Evidence that travels: one file, the same for the same run, judged again where it arrives."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
from recordings import record_run

from netra_probe.cli.main import app
from netra_probe.errors import OutputError, ParameterError


def call(*arguments: str) -> int:
    return int(app.main(list(arguments), standalone_mode=False))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return record_run(tmp_path / "here", {"C4.1": "pass", "C4.2": "fail"})


def test_a_bundle_holds_everything_and_is_the_same_for_the_same_run(run: Path, tmp_path: Path) -> None:
    assert call("bundle", str(run), "-o", str(tmp_path / "a.zip")) == 0
    copy = tmp_path / "elsewhere" / run.name
    shutil.copytree(run, copy)
    for path in copy.rglob("*"):
        os.utime(path, (time.time() - 99999, time.time() - 99999))
    (copy / ".hidden").touch()
    (copy / "results.json.partial").touch()
    assert call("bundle", str(copy), "-o", str(tmp_path / "b.zip")) == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
    assert names == sorted(names)
    assert {name.partition("/")[2] for name in names} == {
        "history/C4.jsonl.gz",
        "junit.xml",
        "logs/C4.log",
        "notebooks/C4-multi-user-websocket-isolation.html",
        "notebooks/C4-multi-user-websocket-isolation.ipynb",
        "report.html",
        "reproduce/index.json",
        "results.json",
        "results.sarif",
        "run.json",
    }


def test_a_bundle_is_judged_again_elsewhere_to_the_byte(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "evidence.zip"
    call("bundle", str(run), "-o", str(packed))
    results = (run / "results.json").read_bytes()
    shutil.rmtree(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert call("recheck", str(packed)) == 1
    assert "confirmed, byte for byte" in capsys.readouterr().out
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "there")
    unpacked = tmp_path / "there" / run.name
    assert call("recheck", str(unpacked)) == 1
    assert "confirmed, byte for byte" in capsys.readouterr().out
    assert (unpacked / "results.json").read_bytes() == results
    assert call("report", str(unpacked)) == 0
    assert call("compare", str(unpacked), str(unpacked)) == 0


def test_a_run_with_a_secret_is_not_packed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "logs" / "C4.log").write_text("connect redis://:hunter2hunter2@cache:6379")
    assert call("bundle", str(run), "-o", str(tmp_path / "a.zip")) == 1
    assert not (tmp_path / "a.zip").exists()
    told = capsys.readouterr().out
    assert "C4.log, line 1: looks like a connection" in told
    assert "hunter2" not in told


def test_what_is_no_bundle_or_cannot_be_written_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\)"):
        call("bundle", str(run), "-o", str(tmp_path / "nowhere" / "a.zip"))
    (tmp_path / "no.zip").write_bytes(b"PK")
    with pytest.raises(ParameterError, match="cannot be unpacked"):
        call("recheck", str(tmp_path / "no.zip"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("../../run.json", "{}")
    with pytest.raises(ParameterError, match="no run in it"):
        call("recheck", str(tmp_path / "other.zip"))
    with pytest.raises(ParameterError, match=r"no run\.json in it"):
        call("bundle", str(tmp_path))
