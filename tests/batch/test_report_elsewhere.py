"""Runs that are kept at a URL are reported, compared and packed like those here, and know what came before them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import fsspec
import pytest
from recordings import record_run

from netra_probe.cli.main import app
from netra_probe.errors import ParameterError

URL = "memory://evidence/staging"


def call(*arguments: str) -> int:
    return int(app.main(list(arguments), standalone_mode=False))


@pytest.fixture
def store(tmp_path: Path) -> fsspec.AbstractFileSystem:
    """Two nights at a URL, and nothing of them here: C4.1 failed in both, C4.2 only in the second."""
    files = fsspec.filesystem("memory")
    for name, verdict in (("2026-11-01", "pass"), ("2026-11-02", "fail")):
        run = record_run(tmp_path, {"C4.1": "fail", "C4.2": verdict}, name=f"{name.replace('-', '')}T010000Z-aaaaaa")
        files.put(str(run), f"{URL}/{name}", recursive=True)
        shutil.rmtree(run)
    files.pipe_file(f"{URL}/notes.txt", b"of somebody")
    return files


def test_a_report_goes_to_the_url_and_tells_what_is_new_there(
    store: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "alert.json"
    program = f"import shutil, sys; shutil.copyfileobj(sys.stdin, open({str(kept)!r}, 'w'))"
    assert call("report", f"{URL}/2026-11-02", "--alert-command", f'{sys.executable} -c "{program}"') == 0
    assert f"report    {URL}/2026-11-02/report.html\n" in capsys.readouterr().out
    page = store.cat_file(f"{URL}/2026-11-02/report.html").decode()
    assert "1 case fails as before" in page
    alert = json.loads(kept.read_text())
    assert [case["case"] for case in alert["new_failures"]] == ["C4.2"]
    assert alert["report"] == f"{URL}/2026-11-02/report.html"
    assert not store.exists(f"{URL}/2026-11-02/2026-11-01")


def test_runs_at_urls_and_in_bundles_are_compared(
    store: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("bundle", f"{URL}/2026-11-01", "-o", str(tmp_path / "first.zip")) == 0
    assert call("compare", str(tmp_path / "first.zip"), f"{URL}/2026-11-02") == 1
    assert "1 case(s) differ, 1 of them for the worse; 1 are the same" in capsys.readouterr().out
    assert call("recheck", f"{URL}/2026-11-01") == 1


def test_a_bundle_stays_as_it_is(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    call("bundle", f"{URL}/2026-11-01", "-o", str(tmp_path / "first.zip"))
    with pytest.raises(ParameterError, match="a bundle stays as it is"):
        call("report", str(tmp_path / "first.zip"))
