"""Re-executing the committed notebooks and normalising what is stored in them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from netra_probe import lab
from netra_probe.batch.execution import plain
from netra_probe.catalogue.folders import OUTPUT_VARIABLE, folder
from netra_probe.display.views import VERDICT_MIME
from netra_probe.errors import TargetError
from netra_probe.history.store import History
from netra_probe.results.amounts import amounts_by_case
from netra_probe.target.environment import in_environment
from netra_probe.target.lab import LAB_VARIABLE

#: What is said of a notebook that stays as it is because its execution did not pass.
KEPT = "not stored"
#: Metadata of every notebook; what it says of its scenario stays as it is.
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def refresh_notebooks(paths: Sequence[Path], *, write: bool, state_file: Path | None = None) -> dict[Path, str]:
    """Execute each notebook on one lab and store its outputs; returns those that changed, and what did.

    With them goes what each case made and tried, as ``netra-probe doctor`` needs it; other figures are no change.

    Outputs of cells tagged ``nbval-ignore-output`` and pictures are volatile by nature and do not count as a change;
    those of the start notebook and of guides are stored all the same, because they list what notebooks declare. A
    notebook whose file is not as it would be written here, in metadata, ids or form, has changed whatever it shows.

    Arguments:
        write: store what changed, unless the healthy lab did not pass this time: that is nobody's reference.
        state_file: of a lab that is running; one is started for the purpose when left out.

    Raises TargetError when the lab cannot start or a cell raises.
    """
    changed = {}
    try:
        with contextlib.ExitStack() as stack:
            state_file = state_file or stack.enter_context(lab.start_lab()).state_file
            outputs = str(folder("outputs"))
            stack.enter_context(in_environment({LAB_VARIABLE: str(state_file), OUTPUT_VARIABLE: outputs}))
            for path in paths:
                old = path.read_text(encoding="utf-8")
                fresh = _execute(path)
                if what := difference(old, fresh):
                    verdict = verdict_of(fresh)
                    changed[path] = what if verdict in ("", "pass") else f"{KEPT}, this time it was {verdict}"
                    if write and verdict in ("", "pass"):
                        path.write_text(dump(fresh), encoding="utf-8")
                elif write and "netra_probe" not in fresh.metadata:
                    path.write_text(dump(fresh), encoding="utf-8")  # a page lists what others declare
    except lab.LabError as error:
        raise TargetError(str(error)) from None
    return changed


def difference(old: str, fresh: nbformat.NotebookNode) -> str:
    """What is other in a notebook's file than in a fresh and normalised execution of it; nothing where nothing is."""
    stored: nbformat.NotebookNode = nbformat.reads(old, as_version=4)  # type: ignore[no-untyped-call]
    if _comparable(stored) != _comparable(fresh):
        return "evidence"
    if any("amounts" in case for case in _cases(fresh)) and not all("amounts" in case for case in _cases(stored)):
        return "amounts"
    return "" if dump(normalise(stored)) == old else "metadata, ids or form"


def _execute(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    before = set(_recordings(path))
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    try:
        # What the kernel prints of itself is of no interest; what a cell prints is in the notebook.
        client.execute(stderr=subprocess.DEVNULL)
    except Exception as error:
        raise TargetError(f"{path.name} does not run: {plain(str(error).strip().splitlines()[-1])}") from None
    for recording in set(_recordings(path)) - before:
        counted = amounts_by_case(History.open(recording))
        for case in _cases(notebook):
            if case["id"] in counted:
                case["amounts"] = {name: value for name, value in asdict(counted[case["id"]]).items() if value}
    return normalise(notebook)


def verdict_of(notebook: nbformat.NotebookNode) -> str:
    """The verdict that an executed notebook ends with; "" for one without."""
    records = (
        output.get("data", {}).get(VERDICT_MIME) for cell in notebook.cells for output in cell.get("outputs", ())
    )
    return next((str(record["verdict"]) for record in records if record), "")


def _recordings(path: Path) -> Iterator[Path]:
    """Recordings of a notebook's scenario."""
    return folder("outputs").glob(f"*/*-{path.name.partition('-')[0]}-*/history/*.jsonl*")


def _cases(notebook: nbformat.NotebookNode) -> list[dict[str, Any]]:
    return list(notebook.metadata.get("netra_probe", {}).get("cases", []))


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop everything that depends on when and where a notebook was executed; number cells in order."""
    scenario = {name: value for name, value in notebook.metadata.items() if name == "netra_probe"}
    notebook.metadata = nbformat.from_dict(_METADATA | scenario)  # type: ignore[no-untyped-call]
    count = 0
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags" and value}
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
                output.pop("transient", None)
    return notebook


def dump(notebook: nbformat.NotebookNode) -> str:
    """The notebook as it is committed."""
    return str(nbformat.writes(notebook)) + "\n"  # type: ignore[no-untyped-call]


def _comparable(notebook: nbformat.NotebookNode) -> Any:
    cells = []
    for cell in notebook.cells:
        outputs: list[Any] = []
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", []):
            for output in cell.outputs:
                data = {kind: value for kind, value in output.get("data", {}).items() if kind != "image/png"}
                outputs.append((output.output_type, data, output.get("text"), output.get("ename")))
        cells.append((cell.cell_type, cell.source, cell.get("execution_count"), outputs))
    return cells
