"""Old runs go, evidence of failures stays, and nothing else is touched."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recordings import record_run

from netra_probe.cli.main import app
from netra_probe.errors import ParameterError
from netra_probe.results.prune import fates
from netra_probe.results.runs import held, runs_in

#: One verdict a day, the oldest first.
DAYS = ("pass", "fail", "inconclusive", "pass", "fail", "pass", "pass", "inconclusive")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETRA_PROBE_OUTPUTS", str(tmp_path))
    for day, verdict in enumerate(DAYS, start=1):
        record_run(tmp_path, {"C4.1": verdict}, name=f"2026110{day}T010000Z-aaaaaa")
    record_run(tmp_path, {"C4.1": "pass"}, name="20261101T010000Z-bbbbbb", environment="staging")
    return tmp_path


def days(outputs: Path) -> str:
    """The days of which there are runs of the lab."""
    return "".join(path.name[7] for path in sorted((outputs / "lab").iterdir()))


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({"keep": 1}, "2578"),  # 2 and 5 are failures, 7 the latest pass
        ({"keep": 3}, "25678"),
        ({"keep": 1, "failures": True}, "578"),
        ({"older_than": timedelta(days=3)}, "25678"),
        ({"older_than": timedelta(days=3), "keep": 4}, "25678"),
        ({"older_than": timedelta(days=6), "keep": 1}, "2345678"),
        ({"older_than": timedelta(days=99)}, "12345678"),
    ],
)
def test_what_stays(outputs: Path, rules: dict[str, object], left: str) -> None:
    decided = fates(runs_in(outputs / "lab"), now=datetime(2026, 11, 9, tzinfo=UTC), **rules)  # type: ignore[arg-type]
    assert "".join(sorted(fate.run.name[7] for fate in decided if fate.keeps)) == left


def test_prune_says_what_it_removes_and_why_the_rest_stays(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["prune", "--keep", "1", "--dry-run"], standalone_mode=False) == 0
    assert days(outputs) == "12345678"
    would = capsys.readouterr().out
    assert app.main(["prune", "--keep", "1"], standalone_mode=False) == 0
    assert days(outputs) == "2578"
    told = capsys.readouterr().out
    assert told == would.replace("would remove", "removed")
    assert f"removed  {outputs / 'lab' / '20261106T010000Z-aaaaaa'}\n" in told
    assert (
        "lab: 4 of 8 run(s) stay (1 one of the newest 1, 1 the latest pass, 1 the latest failure, 1 a failure)" in told
    )
    assert "staging: 1 of 1 run(s) stay" in told
    assert "20261106" not in (outputs / "index.html").read_text()


def test_what_is_no_run_is_never_touched(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    foreign = outputs / "lab" / "holiday pictures"
    foreign.mkdir()
    (foreign / "x.png").touch()
    by_hand = outputs / "lab" / "20261101T010000Z-C4-cccccc" / "history"
    by_hand.mkdir(parents=True)
    damaged = record_run(outputs, {"C4.1": "pass"}, name="20261101T020000Z-dddddd")
    (damaged / "run.json").write_text("{")
    elsewhere = record_run(tmp_path_factory.mktemp("elsewhere"), {"C4.1": "pass"}, name="20261101T030000Z-eeeeee")
    (outputs / "lab" / elsewhere.name).symlink_to(elsewhere)
    assert app.main(["prune", "--keep", "1"], standalone_mode=False) == 3
    assert (foreign / "x.png").exists() and by_hand.exists() and damaged.exists()
    assert (elsewhere / "run.json").exists() and (outputs / "lab" / elsewhere.name).is_symlink()


def test_what_is_going_on_is_never_touched(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    going_on = record_run(outputs, {"C4.1": "pass"}, name="20261101T040000Z-ffffff")
    (going_on / "results.json").unlink()
    busy = outputs / "lab" / "20261103T010000Z-aaaaaa"
    with held(busy):
        assert app.main(["prune", "--keep", "1"], standalone_mode=False) == 3
    assert going_on.exists()
    assert f"not removed  {busy}: a run is at work there" in capsys.readouterr().out
    assert busy.exists()
    long_ago = time.time() - 3 * 86400
    os.utime(going_on / "run.json", (long_ago, long_ago))
    assert app.main(["prune", "--keep", "1", "--env", "lab"], standalone_mode=False) == 0
    assert not going_on.exists() and not busy.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["prune"], "say what may go"), (["prune", "--keep", "1", "--env", "stagin"], 'did you mean "staging"')],
)
def test_wrong_use_is_said(outputs: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        app.main(arguments, standalone_mode=False)
    assert days(outputs) == "12345678"
