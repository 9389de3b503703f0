"""The committed notebooks: which there are, which scenario each one is, what parameters it takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.parameters import folder

_NAME = re.compile(r"^(?P<id>[A-Z]\d+)-[\w-]+\.ipynb$")
_ASSIGNMENT = re.compile(r"^\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*=(?!=)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """One scenario notebook on disk."""

    id: str
    path: Path

    def read(self) -> nbformat.NotebookNode:
        """The notebook, validated. Raises ParameterError when it is not one."""
        try:
            node: nbformat.NotebookNode = nbformat.read(self.path, as_version=4)  # type: ignore[no-untyped-call]
            return node
        except Exception as error:
            raise ParameterError(
                f"{self.path}: not a readable notebook ({type(error).__name__}); restore it."
            ) from None

    @property
    def title(self) -> str:
        """The one ``#`` heading."""
        for cell in self.read().cells:
            if cell.cell_type == "markdown":
                for line in cell.source.splitlines():
                    if line.startswith("# "):
                        return str(line[2:]).strip()
        return self.id

    @property
    def parameters(self) -> frozenset[str]:
        """Names assigned in the cell tagged ``parameters``. Raises ParameterError without such a cell."""
        for cell in self.read().cells:
            if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
                names = [name for group in _ASSIGNMENT.findall(cell.source) for name in group.split(",")]
                return frozenset(name.strip() for name in names)
        raise ParameterError(
            f'{self.path}: no cell is tagged "parameters", so papermill cannot set any; tag the cell that assigns them.'
        )


def all_notebooks() -> list[Notebook]:
    """Every scenario notebook, in order of id.

    Raises ParameterError when two claim the same id.
    """
    found: dict[str, Notebook] = {}
    for path in sorted(folder("notebooks").glob("*.ipynb")):
        match = _NAME.match(path.name)
        if match is None:
            continue
        id = match["id"]
        if id in found:
            raise ParameterError(f"{found[id].path.name} and {path.name} both claim scenario {id}; rename one.")
        found[id] = Notebook(id=id, path=path)
    return list(found.values())


def select(ids: Sequence[str]) -> list[Notebook]:
    """The notebooks of these scenario ids, or all of them.

    Raises ParameterError naming the unknown id and the nearest known one.
    """
    everything = all_notebooks()
    if not everything:
        raise ParameterError(
            f"there are no notebooks in {folder('notebooks')}; run this in a checkout of the workbook."
        )
    if not ids:
        return everything
    known = {notebook.id: notebook for notebook in everything}
    chosen: dict[str, Notebook] = {}
    for id in ids:
        if id not in known:
            raise ParameterError(f'unknown scenario "{id}"; {did_you_mean(id, known)}')
        chosen[id] = known[id]
    return list(chosen.values())
