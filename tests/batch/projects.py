"""Small workbooks: real notebooks, short enough to be run by the dozen, on the session's lab."""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat

from netra_probe.batch.execution import Execution
from netra_probe.batch.plan import Plan
from netra_probe.batch.progress import Follower, Watcher
from netra_probe.batch.selection import select
from netra_probe.target.lab import LAB_VARIABLE
from netra_probe.target.parameters import environment_file, read_parameters

#: Seconds that a cell may take in the run of all tests: the first one imports all of us, which other work slows down.
CELL_SECONDS = 25
#: The seed of that run: neither that of its notebooks nor that of the parameters beside them.
SEED = 4711
PARAMETERS = 'environment, users, rounds, seed, target = "lab", 2, 1, 7, {}\ndeadline = 60.0'
OPEN = """
from netra_probe import investigate
from netra_probe.checkers import canary, delivery
probe = await investigate("{id}", environment=environment, users=users, seed=seed, target=target, deadline=deadline)
"""
ASK = """
async with probe.sockets():
    await probe.together(user.ask("Where do I overspend?") for user in probe.users)
probe.check("{id}.1", canary(), delivery())
"""
CLOSE = "await probe.close()\nprobe.verdict()"
#: A second case.
ASK_AGAIN = ASK.replace("{id}.1", "{id}.2")
#: One case, passed in a second.
PASSES = (OPEN, ASK, CLOSE)


def notebook(
    path: Path, cells: tuple[str, ...], *, id: str, components: str = "", parameters: str = PARAMETERS
) -> Path:
    """Write a notebook with these code cells after its parameters cell, which "" leaves out.

    Its metadata declares the cases that the cells check.
    """
    made = [nbformat.v4.new_markdown_cell(f"# {id} — Small")]  # type: ignore[no-untyped-call]
    if parameters:
        made.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))  # type: ignore[no-untyped-call]
    made += [nbformat.v4.new_code_cell(cell.replace("{id}", id)) for cell in cells]  # type: ignore[no-untyped-call]
    checked = dict.fromkeys(re.findall(r'check\("\{id\}\.(\d+)"', "".join(cells))) or {"1": None}
    cases = [{"id": f"{id}.{number}", "title": f"Case {number}", "claim": "stays isolated"} for number in checked]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "netra_probe": {
            "id": id,
            "title": "Small",
            "components": [components] if components else [],
            "difficulty": "easy",
            "cases": cases,
        },
    }
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=metadata), path)  # type: ignore[no-untyped-call]
    return path


def workbook(folder: Path, notebooks: Mapping[str, tuple[str, ...]]) -> Path:
    """A folder with these notebooks (id → code cells) and the parameters of a lab."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "parameters").mkdir()
    (folder / "parameters" / "lab.yaml").write_text("environment: lab\nusers: 2\nrounds: 1\ndeadline: 60.0\n")
    for id, cells in notebooks.items():
        notebook(folder / "notebooks" / f"{id}-small.ipynb", cells, id=id)
    return folder


def plan_in(folder: Path, *, output: Path, **changes: object) -> Plan:
    """All notebooks of a workbook, on the session's lab."""
    with contextlib.chdir(folder):
        plan = Plan(
            notebooks=select(),
            parameters=read_parameters(environment_file("lab")),
            output=output,
            variables={LAB_VARIABLE: os.environ[LAB_VARIABLE]},
        )
    return replace(plan, **changes)  # type: ignore[arg-type]


class Notes(Watcher):
    """Notes what a watcher is told."""

    def __init__(self) -> None:
        self.started_ids: list[str] = []
        self.ended_ids: list[str] = []
        self.cases: dict[str, list[str]] = {}
        self.is_over = False
        self._followers: dict[str, Follower] = {}
        self._directory: Path | None = None

    def begin(self, estimate: object, directory: Path | None) -> None:
        self._directory = directory

    def started(self, id: str) -> None:
        self.started_ids.append(id)
        self._followers[id] = Follower(self._directory, id)

    def look(self) -> None:
        for id in set(self.started_ids) - set(self.ended_ids):
            seen = self.cases.setdefault(id, [])
            if (case := self._followers[id].case()) not in seen:
                seen.append(case)

    def ended(self, execution: Execution, record: object) -> None:
        self.ended_ids.append(execution.id)

    def end(self) -> None:
        self.is_over = True
        self._followers.clear()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that is over."""

    folder: Path
    directory: Path
    results: dict[str, Any]
    watcher: Notes = field(default_factory=Notes)

    def scenario(self, id: str) -> dict[str, Any]:
        return next(one for one in self.results["scenarios"] if one["id"] == id)
