"""Committed notebooks are what a fresh execution would write, and nothing of when or where they were executed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from projects import notebook

from netra_probe.batch.refresh import difference, dump, normalise, refresh_notebooks, verdict_of
from netra_probe.catalogue.folders import PROJECT
from netra_probe.cli.notebooks import refresh
from netra_probe.errors import TargetError
from netra_probe.target.lab import LAB_VARIABLE

IDS = "metadata, ids or form"
COMMITTED = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call, no-any-return]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_notebook_is_normalised_to_the_byte(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert dump(normalise(read(path))) == text
    assert difference(text, normalise(read(path))) == ""
    assert verdict_of(read(path)) in ("", "pass")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda made: made.cells[2].update(id="f3a1"), IDS),
        (lambda made: made.metadata.update(widgets={}), IDS),
        (lambda made: made.metadata.language_info.update(version="3.11.9"), IDS),
        (lambda made: made.cells[2].metadata.update(execution={"iopub.status.busy": "2026-11-20"}), IDS),
        (lambda made: made.cells[2].outputs[0].update(text="5\n"), "evidence"),
        (lambda made: made.cells[2].update(execution_count=9), "evidence"),
        (lambda made: made.cells[2].update(source="print(5)"), "evidence"),
        (lambda made: made.cells[3].outputs[0].update(text="6\n"), ""),
    ],
)
def test_what_counts_as_a_change(change: Callable[[Any], object], what: str) -> None:
    stored, fresh = small(), small()
    change(stored)
    found = difference(dump(stored), fresh)
    assert found == what


def small() -> nbformat.NotebookNode:
    """A normalised notebook: prose, parameters, a cell with evidence, and one whose output is volatile."""
    shown, volatile = ([nbformat.v4.new_output("stream", text="4\n")] for _ in range(2))  # type: ignore[no-untyped-call]
    cells = [
        nbformat.v4.new_markdown_cell("# A title"),  # type: ignore[no-untyped-call]
        nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}),  # type: ignore[no-untyped-call]
        nbformat.v4.new_code_cell("print(4)", outputs=shown),  # type: ignore[no-untyped-call]
        nbformat.v4.new_code_cell("print(t)", outputs=volatile, metadata={"tags": ["nbval-ignore-output"]}),  # type: ignore[no-untyped-call]
    ]
    return normalise(nbformat.v4.new_notebook(cells=cells))  # type: ignore[no-untyped-call]


def test_refresh_writes_what_a_check_then_finds_the_same(tmp_path: Path) -> None:
    path = notebook(tmp_path / "C4-small.ipynb", ("print(2 + 2)",), id="C4")
    lab = Path(os.environ[LAB_VARIABLE])
    before = path.read_text()
    assert refresh_notebooks([path], write=False, state_file=lab) == {path: "evidence"}
    assert path.read_text() == before
    assert refresh_notebooks([path], write=True, state_file=lab) == {path: "evidence"}
    assert refresh_notebooks([path], write=False, state_file=lab) == {}
    assert read(path).cells[2].outputs[0].text == "4\n"
    assert os.environ[LAB_VARIABLE] == str(lab)


def test_refresh_counts_what_each_case_made_and_tried(tmp_path: Path) -> None:
    begun = 'from netra_probe import investigate\nprobe = await investigate("C4", users=2)'
    asked = 'async with probe.sockets():\n    await probe.users[0].ask("Where?")'
    sources = (f"{begun}\n{asked}", 'probe.check("C4.1");', "await probe.close();")
    path = notebook(tmp_path / "C4-small.ipynb", sources, id="C4")
    assert refresh_notebooks([path], write=True, state_file=Path(os.environ[LAB_VARIABLE])) == {path: "evidence"}
    (case,) = read(path).metadata.netra_probe.cases
    assert case["amounts"].pop("requests") > 0
    assert case["amounts"] == {"accounts": 2, "sockets": 2, "messages": 1}


def test_what_does_not_pass_is_no_reference(tmp_path: Path) -> None:
    record = '{"application/vnd.netra-probe.verdict+json": {"verdict": "inconclusive"}}'
    path = notebook(tmp_path / "C4-small.ipynb", (f"display({record}, raw=True)",), id="C4")
    before = path.read_text()
    changed = refresh_notebooks([path], write=True, state_file=Path(os.environ[LAB_VARIABLE]))
    assert changed == {path: "not stored, this time it was inconclusive"} and path.read_text() == before


def test_a_cell_that_raises_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    path = notebook(tmp_path / "C4-small.ipynb", ("1 / 0",), id="C4")
    before = path.read_text()
    with pytest.raises(TargetError, match=r"C4-small\.ipynb does not run: ZeroDivisionError: division by zero$"):
        refresh_notebooks([path], write=True, state_file=Path(os.environ[LAB_VARIABLE]))
    assert path.read_text() == before


def test_the_start_notebook_can_be_refreshed_by_itself() -> None:
    result = CliRunner().invoke(refresh, ["00", "--check"])
    assert (result.exit_code, result.output) == (0, "00-start-here.ipynb  same\n"), result.output
