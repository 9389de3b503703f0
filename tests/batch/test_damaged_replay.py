"""The notebook over a recording that was cut or damaged: inconclusive, with the reason, and no false alarm."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from projects import notebook

from netra_probe import investigate
from netra_probe.checkers import automaton, canary, delivery, envelope
from netra_probe.checkers.verdict import Verdict
from netra_probe.cli.main import app
from netra_probe.errors import ParameterError, TargetError

RECORDINGS = Path(__file__).parents[1] / "history" / "recordings"
CELLS = (
    "from netra_probe import workloads, investigate\nfrom netra_probe.checkers import canary\n"
    'probe = await investigate("C4", users=users, target=target)',
    'probe.check("C4.1", canary())',
    'probe.check("C4.2", canary())',
    "await probe.close()",
    "probe.verdict()",
)


def lines() -> list[bytes]:
    return gzip.decompress((RECORDINGS / "C4-healthy.jsonl.gz").read_bytes()).splitlines(keepends=True)


def cut(path: Path) -> None:
    path.write_bytes(b"".join(lines()[:120]))


def cut_archive(path: Path) -> None:
    path.write_bytes((RECORDINGS / "C4-healthy.jsonl.gz").read_bytes()[:12_000])


def edited(path: Path) -> None:
    kept = lines()
    del kept[100]
    path.write_bytes(b"".join(kept))


@pytest.mark.parametrize(
    ("name", "spoil", "first", "reason"),
    [
        ("cut.jsonl", cut, Verdict.PASS, "the recording was cut before C4.2 was judged"),
        ("cut.jsonl.gz", cut_archive, Verdict.PASS, "the recording was cut before C4.2 was judged"),
        ("edited.jsonl", edited, Verdict.INCONCLUSIVE, "the recording is damaged: line 101 has the number 101"),
    ],
)
async def test_a_spoilt_recording_is_replayed_as_far_as_it_goes(
    tmp_path: Path, name: str, spoil: Callable[[Path], None], first: Verdict, reason: str
) -> None:
    spoil(tmp_path / name)
    probe = await investigate("C4", users=2, target={"replay": str(tmp_path / name)})
    checkers = (canary(), envelope(), delivery(), automaton())
    seen = [probe.check(case, *checkers) for case in ("C4.1", "C4.2")]
    await probe.close()
    assert [case.verdict for case in seen] == [first, Verdict.INCONCLUSIVE]
    assert reason in seen[1].result.reason
    assert probe.result().verdict is Verdict.INCONCLUSIVE


async def test_a_case_that_a_whole_recording_lacks_is_wrong_use() -> None:
    probe = await investigate("C4", users=2, target={"replay": str(RECORDINGS / "C4-healthy.jsonl.gz")})
    with pytest.raises(ParameterError, match=r"does not hold C4\.7; it judged C4\.1, "):
        probe.check("C4.7", canary())


async def test_a_recording_that_was_cut_before_its_users_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines()[:8]))
    with pytest.raises(TargetError, match="was cut, or damaged, before alice was registered"):
        await investigate("C4", users=2, target={"replay": str(tmp_path / "x.jsonl")})


def test_a_run_over_a_cut_recording_ends_in_3_and_finds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "parameters").mkdir()
    notebook(tmp_path / "notebooks" / "C4-small.ipynb", CELLS, id="C4")
    cut_archive(tmp_path / "cut.jsonl.gz")
    given = tmp_path / "replay.yaml"
    given.write_text(f"environment: lab\ntarget: {{replay: {tmp_path / 'cut.jsonl.gz'}}}\nusers: 2\nrounds: 1\n")
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    arguments = ["run", "C4", "--parameters", str(given), "--output", str(run)]
    ended = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert (ended.exception, ended.return_value) == (None, 3), ended.output
    assert "SECRET" not in ended.output
    assert "cannot be looked through (damaged)" in ended.output
    results = json.loads((run / "results.json").read_text())
    cases = {case["id"]: (case["verdict"], case["reason"]) for case in results["scenarios"][0]["cases"]}
    assert results["verdict"] == "inconclusive"
    assert {id for id, (verdict, _) in cases.items() if verdict == "pass"} == {"C4.1"}
