"""The command line as a person meets it: exit status, one clear sentence, nothing half-written."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from html import unescape
from itertools import islice
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from deployments import called, in_process

from netra_probe.catalogue.folders import OUTPUT_VARIABLE, folder
from netra_probe.display.evidence import LeakMatrix
from netra_probe.display.timeline import Timeline
from netra_probe.display.views import VERDICT_MIME
from netra_probe.history.store import History
from netra_probe.lab import running_labs
from netra_probe.results.prune import unpacked, write_bundle
from netra_probe.results.results import compute


def netra_probe(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "netra_probe.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    run = tmp_path_factory.mktemp("run") / "healthy"
    return run, netra_probe("run", "C4", "--output", str(run), "-p", "rounds", "1")


def test_a_healthy_run_ends_with_a_table_its_paths_and_status_0(
    healthy: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, ended = healthy
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    for line in ("C4.2  Everyone asks at once", "clean-up: pass", str(run / "results.json")):
        assert line in ended.stdout
    results = json.loads((run / "results.json").read_text())
    assert (results["schema"], results["environment"], results["verdict"]) == (1, "lab", "pass")
    assert [case["verdict"] for case in results["scenarios"][0]["cases"]] == ["pass"] * 5
    assert results["cleanup"] == {"verdict": "pass", "left": []}
    assert 0 < results["confidence"]["upper_bound"] < 1
    left = ["history", "junit.xml", "logs", "notebooks", "report.html", "results.json"]
    left += ["results.sarif", "run.json"]
    assert sorted(path.name for path in run.iterdir()) == left


def test_the_executed_notebook_carries_its_verdict_as_data(
    healthy: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = healthy
    notebook = nbformat.read(next((run / "notebooks").glob("C4*.ipynb")), as_version=4)  # type: ignore[no-untyped-call]
    records = [
        output.data[VERDICT_MIME]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if VERDICT_MIME in output.get("data", {})
    ]
    assert [record["verdict"] for record in records] == ["pass"]
    assert [case["id"] for case in records[0]["cases"]] == [f"C4.{number}" for number in range(1, 6)]


def test_recheck_confirms_the_results_to_the_byte_without_any_lab(
    healthy: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = healthy
    before = (run / "results.json").read_bytes()
    ended = called("recheck", str(run), NETRA_PROBE_LAB="/nowhere")
    assert ended.returncode == 0, ended.stderr
    assert "confirmed, byte for byte" in ended.stdout
    assert (run / "results.json").read_bytes() == before


def test_recheck_of_a_doctored_result_says_so_and_keeps_both(
    healthy: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run, _ = healthy
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(run), str(copy)], check=True)
    (copy / "results.json").write_text((copy / "results.json").read_text().replace('"pass"', '"fail"'))
    ended = called("recheck", str(copy))
    assert ended.returncode == 1 and "is NOT confirmed: fail → pass" in ended.stdout
    assert json.loads((copy / "results.recheck.json").read_text())["verdict"] == "pass"
    assert '"fail"' in (copy / "results.json").read_text()


def test_a_run_whose_history_was_cut_is_inconclusive(
    healthy: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    import gzip

    run, _ = healthy
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(run), str(copy)], check=True)
    packed = copy / "history" / "C4.jsonl.gz"
    lines = gzip.decompress(packed.read_bytes()).splitlines(keepends=True)
    packed.unlink()
    (copy / "history" / "C4.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    results = compute(copy)
    assert results["verdict"] == "inconclusive"
    assert len(results["scenarios"][0]["cases"]) == 5
    assert results["scenarios"][0]["cases"][-1]["reason"] == "not run"


def test_the_same_notebook_over_a_recording_that_came_in_a_bundle_says_the_same(
    healthy: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run, _ = healthy
    parameters = tmp_path / "replay.yaml"
    again = tmp_path / "again"
    with unpacked(write_bundle(run, tmp_path / "evidence.zip")) as there:
        history = there / "history" / "C4.jsonl.gz"
        parameters.write_text(f"environment: lab\nrounds: 1\ntarget: {{replay: {history}}}\n")
        ended = netra_probe(
            "run", "C4", "--parameters", str(parameters), "--output", str(again), NETRA_PROBE_LAB="/nowhere"
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert shown(again) == shown(run)
    replayed, live = (json.loads((path / "results.json").read_text()) for path in (again, run))
    assert replayed["scenarios"] == live["scenarios"]


def shown(run: Path) -> list[object]:
    """The text of every output of the executed notebook, but for the opening cell and papermill's own."""
    notebook = nbformat.read(next((run / "notebooks").glob("C4*.ipynb")), as_version=4)  # type: ignore[no-untyped-call]
    return [
        (cell.source, [output.get("data", {}).get("text/plain", output.get("text")) for output in cell.outputs])
        for cell in notebook.cells
        if cell.cell_type == "code" and not {"injected-parameters", "nbval-ignore-output"} & set(cell.metadata.tags)
    ]


def test_nothing_secret_is_in_what_a_run_leaves(healthy: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = healthy
    with contextlib.chdir(folder("notebooks").parent):
        ended = called("scan", str(run), "notebooks", "parameters")
    assert (ended.returncode, ended.stdout) == (0, "0 secret(s) found\n")


@pytest.mark.parametrize("fault", ["W1", pytest.param("X1", marks=pytest.mark.nightly)])
def test_a_fault_is_found_with_its_victims_recipients_and_witness(fault: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    alert = ("--alert-command", f"tee {tmp_path / 'alert.json'}")
    given = ("-p", "rounds", "1", "-p", "deadline", "3")
    ended = netra_probe("run", "C4", "--fault", fault, "--output", str(run), *given, *alert)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "did nothing" not in ended.stdout
    results = json.loads((run / "results.json").read_text())
    findings = [finding for case in results["scenarios"][0]["cases"] for finding in case["findings"]]
    leaks = [finding for finding in findings if finding["checker"] == "C1"]
    assert leaks
    for leak in leaks:
        assert leak["victims"]
        assert leak["recipients"]
        assert 1 <= len(leak["witness"]) <= 6
        assert any("CANARY" in step["text"] for step in leak["witness"])
        assert "contradiction" in leak["explanation"]
    assert "C4.2" in {case["case"] for case in json.loads((tmp_path / "alert.json").read_text())["new_failures"]}
    report = (run / "report.html").read_text()
    assert f"it looks like fault {fault} (" in report and "Suspect: " in report
    assert "Who saw whose secrets" in report
    assert json.loads((run / "results.json").read_text()) == compute(run)
    assert_one_unit_of_counting(run, results)


@pytest.mark.nightly
def test_a_fault_that_nothing_triggers_is_said_to_have_done_nothing(tmp_path: Path) -> None:
    ended = netra_probe("run", "F8", "--fault", "G1", "--output", str(tmp_path / "run"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "fault G1 did nothing" in ended.stdout
    assert json.loads((tmp_path / "run" / "run.json").read_text())["untriggered"] == ["G1"]


def assert_one_unit_of_counting(run: Path, results: dict[str, Any]) -> None:
    """Of each case: matrix = timeline = heading = sum over the pairs in results.json, in frames and responses."""
    (scenario,) = results["scenarios"]
    history = History.open(run / "history" / f"{scenario['id']}.jsonl.gz")
    windows = {one.detail["case"]: (one.detail["start"], one.index) for one in history if one.action == "check"}
    leaking = 0
    for case in scenario["cases"]:
        seen = [found for found in case["findings"] if found["checker"] == "C1"]
        pairs: Counter[tuple[str, str]] = Counter()
        for found in seen:
            for place in found["operations"]:
                for pair in place["pairs"]:
                    pairs[pair["owner"], pair["recipient"]] += pair["count"]
        if not any(judged["id"] == "C1" for judged in checks_of(history, case["id"])):
            continue
        start, end = windows[case["id"]]
        matrix = LeakMatrix.of(islice(history, end), start=start)
        assert {who: count for who, count in matrix.counts.items() if who[0] != who[1]} == pairs
        marked = [mark for mark in Timeline.of(islice(history, end), start=start).marks if mark.foreign]
        frames = sum(found["count"] for found in seen if found["surface"] == "websocket")
        assert sum(len(mark.foreign.split(", ")) for mark in marked) == frames
        if total := sum(pairs.values()):
            leaking += 1
            assert ("1 frame or response" if total == 1 else f"{total} frames and responses") in case["reason"]
    assert leaking


def checks_of(history: History, case: str) -> list[dict[str, Any]]:
    """The checkers of a case, as its marker says."""
    return next(one.detail["checkers"] for one in history if one.action == "check" and one.detail["case"] == case)


@pytest.mark.nightly
@pytest.mark.parametrize("fault", ["D1", "G5"])
def test_each_broken_route_is_named_wherever_one_reads(fault: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = netra_probe("run", "D3", "--fault", fault, "--output", str(run), "-p", "rounds", "1", "-p", "deadline", "3")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    results = json.loads((run / "results.json").read_text())
    findings = [found for case in results["scenarios"][0]["cases"] for found in case["findings"]]
    assert_one_unit_of_counting(run, results)
    if fault == "D1":
        broken = {"GET /api/threads/{thread_id}", "GET /api/chat/messages/{message_id}"}
        named = {place["operation"] for found in findings if found["checker"] == "C5" for place in found["operations"]}
        assert broken <= named
        (executed,) = (run / "notebooks").glob("D3*.ipynb")
        shown = " ".join(
            output.get("data", {}).get("text/plain", "")
            for cell in nbformat.read(executed, as_version=4).cells  # type: ignore[no-untyped-call]
            for output in cell.get("outputs", ())
        )
        for text in (" ".join(shown.split()), ended.stdout, unescape((run / "report.html").read_text())):
            assert all(route in text for route in broken)
            assert "more like it" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "C44"], 'unknown scenario "C44"; did you mean "C4"?'),
        (["run", "--env", "stagin"], 'did you mean "staging"?'),
        (["run", "-p", "round", "3"], 'unknown parameter "round" (-p); did you mean "rounds"?'),
        (["run", "-p", "users", "many"], '"users" input should be a valid integer'),
        (["run", "-p", "users", "[1"], "-p users: the value is not YAML"),
        (["run", "--parameters", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["run", "--fault-module", "nowhere.py"], "nowhere.py: no such file"),
        (["run", "--env", "test", "--fault", "W1"], "--fault: test is a real deployment"),
        (["run", "--fault", "W99"], "W99"),
        (["run", "--jobs", "0"], "--jobs"),
        (["recheck", "nowhere"], "no run.json in it"),
        (["scan", "nowhere"], "nowhere: no such file or folder"),
        (["frobnicate"], "No such command"),
        (["lab", "up", "--ports", "odd"], "odd"),
    ],
)
def test_wrong_use_is_one_clear_sentence_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OUTPUT_VARIABLE, str(tmp_path))
    status, complaint = in_process(*arguments)
    assert message in complaint
    assert status == 2
    assert list(tmp_path.rglob("*.*")) == []


def test_wrong_use_in_a_process_is_that_sentence_and_no_traceback() -> None:
    ended = netra_probe("run", "C44")
    assert ended.stderr.startswith('netra-probe: unknown scenario "C44"; did you mean "C4"?')
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 2


def test_an_unreachable_target_is_inconclusive_with_the_reason(tmp_path: Path) -> None:
    parameters = tmp_path / "dead.yaml"
    parameters.write_text(
        "environment: dead\ntarget:\n  auth_url: http://127.0.0.1:9\n  backend_urls: ['http://127.0.0.1:9']\n"
    )
    ended = called("run", "C4", "--parameters", str(parameters), "--output", str(tmp_path / "run"))
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "did not register alice" in ended.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {case["verdict"] for case in results["scenarios"][0]["cases"]} == {"inconclusive"}


def test_a_port_in_use_is_named_and_nothing_is_left_running() -> None:
    before = {running.id for running in running_labs() if running.state["detached"]}
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 8081))
            taken.listen()
        except OSError:
            pass  # somebody holds it already, which is all that is needed
        ended = called("lab", "up")
    assert ended.returncode in (2, 3)
    assert "8081" in ended.stderr
    assert {running.id for running in running_labs() if running.state["detached"]} == before


def test_a_run_is_never_written_over(healthy: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = healthy
    ended = called("run", "C4", "--output", str(run))
    assert ended.returncode == 2
    assert "holds a run already" in ended.stderr


def test_a_lab_by_hand_goes_up_is_described_and_goes_down() -> None:
    up = netra_probe("lab", "up", "--ports", "ephemeral", "--fault", "W1", "--json")
    assert up.returncode == 0, up.stderr
    described = json.loads(up.stdout)
    try:
        assert described["target"]["database_url"] == "env:NETRA_LAB_DATABASE_URL"
        assert described["faults"] == ["W1"]
        status = json.loads(called("lab", "status", "--json").stdout)
        (mine,) = [lab for lab in status["labs"] if lab["id"] == described["id"]]
        assert all(service["healthy"] for service in mine["services"].values())
        assert mine["faults"]["W1"] == {"reached": 0, "triggered": 0}
    finally:
        down = called("lab", "down", described["id"])
    assert f"lab {described['id']} is down" in down.stdout
    assert described["id"] not in {running.id for running in running_labs() if running.state["detached"]}


def test_jupyterlab_opens_copies_with_a_lab_that_has_the_fault(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder("notebooks").glob("*.ipynb")}
    environment = {**os.environ, OUTPUT_VARIABLE: str(tmp_path)}
    command = [sys.executable, "-m", "netra_probe.cli.main", "open", "--no-browser", "--fault", "W1"]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as opened:
        assert opened.stderr is not None
        try:
            assert any("/lab/tree/00-start-here.ipynb?token=" in line for line in opened.stderr)
            assert ["W1"] in [list(lab.faults) for lab in running_labs()]
            (copies,) = tmp_path.glob("open-*")
            assert {path.name: path.read_bytes() for path in copies.iterdir()} == {
                path.name: content for path, content in before.items()
            }
        finally:
            os.killpg(opened.pid, signal.SIGTERM)


def test_scenarios_lists_what_there_is() -> None:
    listed = {record["id"]: record for record in json.loads(called("scenarios", "--json").stdout)}
    assert listed["C4"]["notebook"] == "C4-multi-user-websocket-isolation.ipynb"
    assert "C4.3" in listed["C4"]["requirements"]


def test_scan_addresses_what_it_finds_without_repeating_it(tmp_path: Path) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJlc2lnbmF0dXJl"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell(f"t = '{token}'")]
    )  # type: ignore[no-untyped-call]
    nbformat.write(notebook, tmp_path / "leaky.ipynb")  # type: ignore[no-untyped-call]
    (tmp_path / "run.log").write_text("all fine\nconnect postgresql://netra:hunter2hunter2@db/netra\n")
    ended = called("scan", str(tmp_path))
    assert ended.returncode == 1
    assert "leaky.ipynb, cell 2, source: looks like a token" in ended.stdout
    assert "run.log, line 2: looks like a connection" in ended.stdout
    assert token not in ended.stdout
    assert "hunter2" not in ended.stdout


@pytest.mark.nightly
def test_a_run_that_is_asked_to_end_leaves_a_valid_result_and_nothing_running(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "netra_probe.cli.main", "run", "C4", "--output", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        history = run / "history" / "C4.jsonl"
        deadline = time.monotonic() + 60
        while not (history.exists() and b'"action":"ask"' in history.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 3, complaint
    results = json.loads((run / "results.json").read_text())
    assert results["verdict"] == "inconclusive"
    assert results["scenarios"][0]["cases"][-1]["reason"] == "not run: the run was interrupted"
    # Kernels end with their workers, and workers with the run; give the kernels the moment that they poll for.
    deadline = time.monotonic() + 10
    while (left := _still_running(run)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def _still_running(run: Path) -> list[str]:
    """Processes that were started for this run: they carry its directory in their environment or command."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if str(run) in " ".join([*(process.info["cmdline"] or []), *process.environ().values()]):
                found.append(" ".join(process.info["cmdline"]))
    return found
