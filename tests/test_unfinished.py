"""Unfinished is never a pass: cells that were left out, interrupted or raised; and a notebook run by hand is a run."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from msgspec import structs
from nbclient import NotebookClient

from netra_probe.batch.notebooks import all_notebooks
from netra_probe.catalogue.folders import PROJECT
from netra_probe.checkers.judging import NOTHING_DONE, ScenarioResult, judge_history
from netra_probe.checkers.verdict import Verdict, heading
from netra_probe.cli.main import app
from netra_probe.cli.summary import summary
from netra_probe.display.standing import standing
from netra_probe.display.views import VERDICT_MIME, ScenarioView, Summary, shown_path
from netra_probe.history import actions
from netra_probe.history.operation import Operation
from netra_probe.history.store import History
from netra_probe.report.own_run import executed_file
from netra_probe.results.results import NOTHING_DECIDED

RECORDED = Path(__file__).parent / "history" / "recordings" / "C4-healthy.jsonl.gz"
NOTEBOOKS = {notebook.id: notebook.path for notebook in all_notebooks()}


@cache
def healthy() -> tuple[Operation, ...]:
    return tuple(History.open(RECORDED))


def checked(case: str) -> int:
    """Where a case was checked in the healthy recording."""
    return next(op.index for op in healthy() if op.action == actions.CHECK and op.detail["case"] == case)


def ending() -> list[Operation]:
    begin = next(op.index for op in healthy() if op.action == actions.CLEANUP)
    return list(healthy()[begin:])


def raised(at: int) -> Operation:
    """A cell that raised, in the place of another operation."""
    return Operation(index=at, time=healthy()[at].time, type="ok", action="raised", detail={"error": "TypeError"})


def test_a_healthy_recording_that_is_whole_passes() -> None:
    result = judge_history(healthy())
    assert (result.verdict, result.undone) == (Verdict.PASS, "")
    assert "reason" not in result.as_record()
    assert standing(result)[:2] == ("PASS", "5 of 5 cases pass · no leak · clean-up: pass")


def test_cases_that_were_left_out_are_named_wherever_the_verdict_is() -> None:
    result = judge_history([*healthy()[: checked("C4.2") + 1], *ending()])
    told = "2 of 5 cases run; not run: C4.3, C4.4, C4.5"
    assert (result.verdict, result.undone) == (Verdict.INCONCLUSIVE, told)
    assert [case.reason for case in result.cases if not case.was_run] == ["not run"] * 3
    view = ScenarioView(result)
    assert f"INCONCLUSIVE · {told}" in view.text().splitlines()[0]
    assert (view.record()["verdict"], view.record()["reason"]) == ("inconclusive", told)
    assert standing(result)[:2] == ("INCONCLUSIVE", f"{told} · clean-up: pass")


def test_a_scenario_that_is_running_is_nothing_yet() -> None:
    result = judge_history(healthy()[: checked("C4.2") + 1])
    assert standing(result, running=True) == ("RUNNING", "2 of 5 · no leak so far", Verdict.NOT_APPLICABLE)
    assert "the clean-up was not done" in result.undone


def test_without_a_clean_up_nothing_passes() -> None:
    result = judge_history([op for op in healthy() if op.action != actions.CLEANUP])
    assert (result.verdict, result.undone) == (Verdict.INCONCLUSIVE, "the clean-up was not done")


@pytest.mark.parametrize("case", ["C4.1", "C4.2", "C4.3", "C4.4", "C4.5"])
def test_a_case_in_which_nothing_was_done_or_a_cell_raised_is_not_decided(case: str) -> None:
    at = checked(case)
    history = list(healthy())
    history[at] = structs.replace(history[at], detail={**history[at].detail, "start": at})
    result = judge_history(history)
    assert {one.id: one.reason for one in result.cases if one.verdict is not Verdict.PASS} == {case: NOTHING_DONE}
    history = list(healthy())
    history[at - 1] = raised(at - 1)
    result = judge_history(history)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert [one.reason for one in result.cases if one.id == case] == ["a cell raised TypeError before this check"]


def test_a_cell_that_raised_before_a_case_that_was_never_checked_is_named() -> None:
    at = checked("C4.2")
    result = judge_history([*healthy()[: at + 1], raised(at + 1)])
    assert "not run: C4.3, C4.4, C4.5; a cell raised TypeError" in result.undone
    assert standing(result, running=True)[0] == "INCONCLUSIVE"


def test_a_run_in_which_nothing_applies_ends_in_3_and_says_so() -> None:
    opening = structs.replace(healthy()[0], detail={**healthy()[0].detail, "cases": {"C4.1": "a claim"}})
    skip = Operation(
        index=1, time=1, type="ok", action="skip", detail={"case": "C4.1", "claim": "a claim", "reason": "observe"}
    )
    result = judge_history([opening, skip, *ending()])
    assert (result.verdict, result.verdict.exit_status) == (Verdict.NOT_APPLICABLE, 3)
    told = {
        "environment": "lab",
        "run": "x",
        "verdict": str(result.verdict),
        "scenarios": [result.as_record()],
        "cleanup": {"verdict": "pass", "left": []},
        "confidence": result.confidence.as_dict(),
    }
    assert NOTHING_DECIDED in summary(told)


def test_a_case_is_called_by_what_was_violated_and_never_by_a_claim_that_findings_contradict() -> None:
    assert heading("users stay apart", []) == "users stay apart"
    assert heading("users stay apart", [("foreign canary", "isolation")] * 2) == "violated: foreign canary"
    told = heading("logging in withstands guessing", [(kind, "hygiene") for kind in ("a", "b", "c", "d")])
    assert told == "hygiene issues: a, b, c and 1 more"


def test_what_was_injected_stands_in_the_banner_the_table_and_the_summary(tmp_path: Path) -> None:
    told = "W1 (broadcast instead of send-to-user)"
    faulty = structs.replace(healthy()[0], detail={**healthy()[0].detail, "faults": [told]})
    result = judge_history([faulty, *healthy()[1:]])
    assert f"with injected fault {told}" in ScenarioView(result).text().splitlines()[0]
    last = Summary(result, evidence=tmp_path).text()
    assert f"with injected fault {told}" in last
    assert last.splitlines()[-1].startswith("PASS  C4 ")
    assert "netra-probe" in last
    assert shown_path(tmp_path) in last


# Notebooks with a cell less, in real kernels on the lab


def is_needed(cell: Any) -> bool:
    """Whether a cell opens, acts, checks or closes, rather than explain or only show."""
    if cell.cell_type != "code" or cell.source.strip() == "probe.summary()":
        return False
    shows = "compare_signatures(" in cell.source
    return ("await" in cell.source and not shows) or "probe.check(" in cell.source


def needed(id: str) -> list[int]:
    cells = nbformat.read(NOTEBOOKS[id], as_version=4).cells  # type: ignore[no-untyped-call]
    return [number for number, cell in enumerate(cells) if is_needed(cell)]


def executed(notebook: Any, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Path]]:
    """The notebook after each of its cells was executed, whatever became of those before; and its runs."""
    monkeypatch.setenv("NETRA_PROBE_OUTPUTS", str(outputs))
    monkeypatch.delenv("NETRA_PROBE_RUN", raising=False)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(PROJECT / "notebooks")}},
    )
    client.execute()
    return notebook, sorted((outputs / "lab").glob("*-*-*"))


def records(notebook: Any) -> Iterator[dict[str, Any]]:
    """The verdicts that a notebook carries."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if VERDICT_MIME in output.get("data", {}):
                yield output["data"][VERDICT_MIME]


def without(id: str, number: int) -> Any:
    """A notebook without one cell, small."""
    notebook = nbformat.read(NOTEBOOKS[id], as_version=4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source = 'environment, users, rounds, seed, target = "lab", 3, 1, 7, {}\ndeadline, budget = 10.0, 60'
    del notebook.cells[number]
    return notebook


def assert_never_passes(id: str, number: int, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook, runs = executed(without(id, number), outputs, monkeypatch)
    assert [record["verdict"] for record in records(notebook) if record["verdict"] == "pass"] == []
    for run in runs:
        judged: list[ScenarioResult] = [judge_history(History.open(path)) for path in (run / "history").iterdir()]
        assert [one.verdict for one in judged if one.verdict is Verdict.PASS] == []
        if (run / "results.json").exists():
            assert json.loads((run / "results.json").read_text())["verdict"] != "pass"


NEEDED = needed("C4")
#: What acts in its second case; the others are left out at night.
BY_DAY = NEEDED[3:4]


@pytest.mark.parametrize(
    "number", [pytest.param(one, marks=() if one in BY_DAY else pytest.mark.nightly) for one in NEEDED]
)
def test_c4_without_a_cell_that_it_needs_never_passes(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_never_passes("C4", number, tmp_path, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("id", sorted(set(NOTEBOOKS) - {"C4"}))
def test_no_notebook_without_a_cell_that_it_needs_passes(
    id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in needed(id):
        assert_never_passes(id, number, tmp_path / str(number), monkeypatch)


INTERRUPTED = """
import asyncio, os, signal
async with probe.sockets():
    run = await alice.ask("Where do I overspend?")
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.Event().wait()
"""


def test_a_cell_that_was_interrupted_decides_nothing_and_what_is_left_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(NOTEBOOKS["C4"], as_version=4)  # type: ignore[no-untyped-call]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert ast.parse(INTERRUPTED)
    code[2].source = INTERRUPTED
    notebook.cells = [*code[:4], *code[-2:]]
    mine = tmp_path / "mine.ipynb"
    nbformat.write(notebook, mine)  # type: ignore[no-untyped-call]
    monkeypatch.setenv("JPY_SESSION_NAME", str(mine))  # as JupyterLab's server tells its kernels
    notebook, (run,) = executed(notebook, tmp_path, monkeypatch)
    (record,) = records(notebook)
    assert record["verdict"] == "inconclusive"
    assert record["cases"][0]["reason"] == "a cell raised KeyboardInterrupt before this check"
    assert record["reason"] == "1 of 5 cases run; not run: C4.2, C4.3, C4.4, C4.5"
    banner = notebook.cells[1].outputs[0]["data"]["text/plain"]
    assert banner.startswith("INCONCLUSIVE 1 of 5 cases run; not run: C4.2")
    last = notebook.cells[-1].outputs[0]["data"]["text/plain"]
    assert "UTC" in last
    assert last.splitlines()[-1].startswith("INCONCLUSIVE  C4 ")
    assert {"run.json", "results.json", "report.html"} <= {path.name for path in run.iterdir()}
    assert "1 of 5 cases run" in (run / "report.html").read_text()
    called = CliRunner().invoke(app, ["recheck", str(run)], standalone_mode=False)
    assert "confirmed, byte for byte" in called.output
    assert called.return_value == 3
    listed = CliRunner().invoke(app, ["scenarios", "--json"], standalone_mode=False).output
    assert next(one for one in json.loads(listed) if one["id"] == "C4")["last"] == {"lab": "inconclusive"}
    packed = tmp_path / "evidence.zip"
    assert CliRunner().invoke(app, ["bundle", str(run), "-o", str(packed)], standalone_mode=False).return_value in (
        0,
        None,
    )
    copy = run / "notebooks" / NOTEBOOKS["C4"].name
    assert copy.read_bytes() == mine.read_bytes()
    assert f"{run.name}/notebooks/{copy.name}" in zipfile.ZipFile(packed).namelist()


@pytest.mark.parametrize("session", ["", "nowhere.ipynb", "a folder.ipynb", "notes.txt", "of D3.ipynb", "junk.ipynb"])
def test_where_a_notebook_cannot_be_found_nothing_is_copied_and_nothing_breaks(
    session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a folder.ipynb").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "junk.ipynb").write_bytes(b"[" * 1000)
    (tmp_path / "of D3.ipynb").write_bytes(NOTEBOOKS["D3"].read_bytes())
    (tmp_path / "of C4.ipynb").write_bytes(NOTEBOOKS["C4"].read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", session)
    assert executed_file("C4") is None
    monkeypatch.setenv("JPY_SESSION_NAME", "Kernels/of C4.ipynb")  # relative to what only the server knows
    assert executed_file("C4") == tmp_path / "of C4.ipynb"
