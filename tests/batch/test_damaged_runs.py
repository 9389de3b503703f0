"""A run that somebody had in hand: whatever is damaged in it is a sentence and a status, and hides nothing."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
from click.testing import CliRunner
from recordings import record_run

from netra_probe.cli.main import app
from netra_probe.errors import ProbeError
from netra_probe.history import limits
from netra_probe.results.prune import write_bundle

NAME = "20261101T010000Z-aaaaaa"
#: What is found where something else should be.
STRANGE: list[Any] = [
    None, True, -1, 7, 10**400, 1e308, "", "\x00", "../../../etc", "pass", [], [[]], {}, {"id": "C4"}, ["C4"],
    [{"id": "C4"}], {"target": {"replay": 3}},
]  # fmt: skip
JUNK = [
    b"", b"\x00", b"{", b"[]", b"null", b"NaN", b'"\\ud800"', b"\xff\xfe", b"[" * 200_000, b'{"schema": 1}',
    b'{"schema": 1' + b"0" * 5000 + b"}", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, bytes(range(256)) * 8,
]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workbook with one run, in which C4.2 failed, and an empty folder of notebooks: nothing can be executed."""
    place = tmp_path_factory.mktemp("workbook")
    for name in ("notebooks", "parameters"):
        (place / name).mkdir()
    (place / "pyproject.toml").touch()
    record_run(place / "outputs", {"A1.1": "pass", "C4.1": "pass", "C4.2": "fail"}, name=NAME)
    record_run(place / "outputs", {"A1.1": "pass", "C4.2": "fail"}, name="20261102T010000Z-bbbbbb")
    return place


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(original, tmp_path / "workbook")
    with contextlib.chdir(tmp_path / "workbook"):
        yield tmp_path / "workbook" / "outputs" / "lab" / NAME


def call(*arguments: str) -> tuple[int, str]:
    """Status and words of a command; an exception that is no sentence is one here, too."""
    result = CliRunner().invoke(app, list(arguments), standalone_mode=False)
    error = result.exception
    if isinstance(error, ProbeError):
        return error.exit_status, str(error)
    if isinstance(error, click.ClickException):
        return error.exit_code, error.message
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return int(result.return_value or 0), result.output


def damage(run: Path, random: Random) -> str:
    """Damage one file of a run; returns which, and how."""
    path = random.choice([run / "run.json", run / "results.json", *sorted((run / "history").iterdir())])
    packed = path.suffix == ".gz"
    how = random.choice(["junk", "bytes", "cut", "directory", "gone", *([] if packed else ["value"] * 8)])
    if how == "value":
        value = json.loads(path.read_text())
        place, key = random.choice(list(_places(value)))
        if random.random() < 0.3:
            del place[key]
        else:
            place[key] = random.choice(STRANGE)
        path.write_text(json.dumps(value))
    elif how in ("directory", "gone"):
        path.unlink()
        if how == "directory":
            path.mkdir()
    else:
        data = bytearray(path.read_bytes())
        if how == "junk":
            data[:] = random.choice(JUNK)
        elif how == "cut":
            del data[random.randrange(len(data)) :]
        for _ in range(3 if how == "bytes" else 0):
            data[random.randrange(len(data))] = random.randrange(256)
        path.write_bytes(data)
    return f"{path.name}: {how}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


@pytest.mark.parametrize("number", [12, pytest.param(400, marks=pytest.mark.nightly)], ids=["some", "many"])
def test_every_command_gets_over_a_damaged_run(number: int, original: Path, run: Path) -> None:
    other = "20261102T010000Z-bbbbbb"
    for turn in range(number):
        shutil.rmtree(run)
        shutil.copytree(original / "outputs" / "lab" / NAME, run)
        what = damage(run, Random(number + turn))
        said = {
            words: call(*words.split())
            for words in (
                f"recheck outputs/lab/{NAME}",
                f"report outputs/lab/{NAME}",
                f"compare outputs/lab/{NAME} outputs/lab/{other}",
                "compare lab@1 lab",
                f"bundle outputs/lab/{NAME} -o {run.parent.parent}/x.zip",
                "scenarios",
                "prune --keep 1 --dry-run",
                f"scan outputs/lab/{NAME}",
                f"run --resume outputs/lab/{NAME} --yes",
            )
        }
        status, words = said[f"recheck outputs/lab/{NAME}"]
        assert status in (1, 2, 3), (what, words)
        assert "Traceback" not in words


def test_one_damaged_history_among_others_is_inconclusive_and_the_others_are_judged(run: Path) -> None:
    (run / "history" / "A1.jsonl.gz").write_bytes(b"junk")
    status, words = call("recheck", str(run))
    assert status == 1
    assert "A1.jsonl.gz: not a compressed history" in words
    assert "NOT confirmed" in words
    scenarios = json.loads((run / "results.recheck.json").read_text())["scenarios"]
    assert {one["id"]: one["verdict"] for one in scenarios} == {"A1": "inconclusive", "C4": "fail"}
    cases = {case["id"]: case["verdict"] for case in kept(run / "results.recheck.json")}
    assert (cases["C4.1"], cases["C4.2"]) == ("pass", "fail")


def kept(path: Path) -> list[dict[str, Any]]:
    return [case for scenario in json.loads(path.read_text())["scenarios"] for case in scenario["cases"]]


def test_results_that_were_edited_are_not_confirmed(run: Path) -> None:
    path = run / "results.json"
    path.write_text(path.read_text().replace('"fail"', '"pass"'))
    status, words = call("recheck", str(run))
    assert status == 1
    assert "NOT confirmed: pass → fail, C4.2 pass → fail; the new judgement is in" in words.replace("\n", " ")
    assert (run / "results.recheck.json").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda plan: plan.update(seed=8), "its seed is 7, not 8"),
        (lambda plan: plan.update(environment="staging"), "it was made in the environment lab, not staging"),
        (lambda plan: plan["scenarios"].pop(0), "run.json does not list it"),
        (lambda plan: plan["scenarios"][0].update(reason="a kernel died"), "a kernel died"),
    ],
    ids=["another seed", "another environment", "a scenario less", "another end"],
)
def test_a_plan_that_contradicts_its_recordings_confirms_nothing(run: Path, change: Any, told: str) -> None:
    plan = json.loads((run / "run.json").read_text())
    change(plan)
    (run / "run.json").write_text(json.dumps(plan))
    status, words = call("recheck", str(run))
    assert (status, told in " ".join(words.split())) == (1, True), words
    verdicts = {case["id"]: case["verdict"] for case in kept(run / "results.recheck.json")}
    assert verdicts["C4.2"] == "fail"
    scenarios = json.loads((run / "results.recheck.json").read_text())["scenarios"]
    assert "inconclusive" in {*verdicts.values(), *(scenario["verdict"] for scenario in scenarios)}


def test_a_recording_of_another_scenario_is_not_taken_for_it(run: Path) -> None:
    shutil.copy(run / "history" / "A1.jsonl.gz", run / "history" / "C4.jsonl.gz")
    status, words = call("recheck", str(run))
    assert status == 1  # as was stored
    assert "it is one of A1" in words
    assert not any(case["verdict"] == "pass" for case in kept(run / "results.recheck.json") if case["id"][:2] == "C4")


def test_a_case_without_a_checker_that_its_notebook_asks_for_is_inconclusive(run: Path) -> None:
    notebook = next((run / "notebooks").glob("C4*.ipynb"))
    cells = json.loads(notebook.read_text())
    cells["cells"][1]["source"] = 'probe.check("C4.1", *acts.applicable_checkers(probe, canary(), store()), delivery())'
    notebook.write_text(json.dumps(cells))
    status, words = call("recheck", str(run))
    assert status == 1
    assert "C4.1 was judged without C3, and its notebook asks for it" in " ".join(words.split())


def test_what_a_bundle_says_otherwise_is_kept_beside_it(run: Path, tmp_path: Path) -> None:
    (run / "report.html").touch()
    path = run / "results.json"
    path.write_text(path.read_text().replace('"fail"', '"pass"'))
    packed = write_bundle(run, tmp_path / "evidence.zip")
    status, words = call("recheck", str(packed))
    assert status == 1
    assert str(tmp_path / "evidence.results.recheck.json") in words.replace("\n", "")
    assert {case["verdict"] for case in kept(tmp_path / "evidence.results.recheck.json")} == {"pass", "fail"}


def test_a_bundle_that_cannot_be_unpacked_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = write_bundle(run, tmp_path / "evidence.zip")
    data = packed.read_bytes()

    def said_of(changed: bytes) -> str:
        (tmp_path / "x.zip").write_bytes(changed)
        status, words = call("recheck", str(tmp_path / "x.zip"))
        assert status == 2
        return words

    header, directory = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    encrypted, unknown = bytearray(data), bytearray(data)
    encrypted[header + 6] |= 1
    encrypted[directory + 8] |= 1
    unknown[header + 8] = unknown[directory + 10] = 99
    assert "encrypted, or compressed in an unknown way; unpack it" in said_of(bytes(encrypted))
    assert "encrypted, or compressed in an unknown way; unpack it" in said_of(bytes(unknown))
    assert "cannot be unpacked" in said_of(data[: len(data) // 2])
    flipped = bytearray(data)
    flipped[header + 60] ^= 255
    assert "cannot be unpacked" in said_of(bytes(flipped))
    with zipfile.ZipFile(tmp_path / "long.zip", "w") as archive:
        archive.writestr("x" * 5000, b"")
    assert "cannot be unpacked" in said_of((tmp_path / "long.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/run.json", b"0" * 100_000)
    monkeypatch.setattr(limits, "MOST_BYTES", 50_000)
    assert "more than a bundle may have" in said_of((tmp_path / "bomb.zip").read_bytes())


def test_digests_that_were_taken_out_are_missed_by_the_stored_results(run: Path) -> None:
    """Somebody who removes every trace of the leak and of the digests still contradicts what was stored."""
    path = run / "history" / "C4.jsonl.gz"
    kept_lines = []
    for line in gzip.decompress(path.read_bytes()).splitlines(keepends=True):
        record = json.loads(line)
        record.get("detail", {}).pop("chain", None)
        if record.get("user") == "bob" and "CANARY" in record.get("payload", ""):
            record["payload"] = '{"type": "pong"}'
        kept_lines.append(json.dumps(record).encode() + b"\n")
    path.write_bytes(gzip.compress(b"".join(kept_lines)))
    status, words = call("recheck", str(run))
    assert status == 1
    assert "NOT confirmed" in words
