"""Small files that unpack to far more than a recording are refused by name, at once and in little memory."""

from __future__ import annotations

import gzip
import resource
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from recordings import record_run

from netra_probe.cli.main import app
from netra_probe.history import limits
from netra_probe.history.limits import TooLargeError
from netra_probe.results.prune import write_bundle

BLOCK = bytes(1 << 24)
#: Bytes that the process of the tests may grow by, and seconds that a command may take on a busy machine.
MEMORY, SECONDS = 700 << 20, 30.0


def refused(*arguments: str) -> str:
    """What a command says that refuses a file for its size."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = CliRunner().invoke(app, list(arguments), standalone_mode=False).exception
    assert time.monotonic() - began < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY
    assert isinstance(error, TooLargeError), error
    assert error.exit_status == 2
    return str(error)


@pytest.mark.parametrize("command", ["recheck", "report", "scan", "bundle"])
def test_a_history_that_unpacks_to_a_gigabyte_is_named(command: str, tmp_path: Path) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"})
    history = run / "history" / "C4.jsonl.gz"
    history.write_bytes(gzip.compress(BLOCK) * 64)
    assert history.stat().st_size < 1_100_000
    (run / "report.html").touch()
    assert refused(command, str(run)).startswith(f"{history}: a line of more than 128 MiB")


def test_a_bundle_that_unpacks_to_hundreds_of_megabytes_is_named(tmp_path: Path) -> None:
    packed = write_bundle(record_run(tmp_path, {"C4.1": "pass"}), tmp_path / "evidence.zip")
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("x/run.log", "w") as entry:
        for _ in range(20):
            entry.write(BLOCK)
    for command in ("recheck", "scan"):
        assert refused(command, str(packed)).startswith(f"{packed}, x/run.log: unpacks to more than 336 MB out of")


def test_many_short_lines_are_bounded_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMALL", 1 << 16)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n" * 100_000))
    with gzip.open(path) as stream, pytest.raises(TooLargeError, match=r"x\.jsonl\.gz: unpacks to more"):
        for _ in limits.lines(stream, path, packed=path.stat().st_size):
            pass
    (run := tmp_path / "run.json").write_bytes(b" " * 2000)
    monkeypatch.setattr(limits, "MOST_AT_ONCE", 1000)
    with run.open("rb") as stream, pytest.raises(TooLargeError, match=r"run\.json: more than"):
        limits.whole(stream, run)
