"""The committed notebooks: which there are, which scenario each is, what parameters it takes, and reading them soon."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.errors import ParameterError

if TYPE_CHECKING:
    import nbformat


#: Builds a grammar of international addresses when it is imported: of the 2.4 CPU seconds that importing nbformat takes
#: (5.11, with jsonschema 4.26), 2.1 are for this, and neither has a switch for it.
_GRAMMAR = "rfc3987_syntax"


def skip_rfc3987() -> None:
    """Import jsonschema without its check of international addresses, which no notebook asks for.

    jsonschema does without that check where the package is not installed; here it finds none. Call before the first
    import of nbformat or papermill; later it changes nothing.
    """
    if "jsonschema" in sys.modules or _GRAMMAR in sys.modules:
        return
    sys.modules[_GRAMMAR] = None  # type: ignore[assignment]  # the documented way to have an import fail
    try:
        importlib.import_module("jsonschema")
    except ImportError:
        pass  # nbformat will say what is missing
    finally:
        del sys.modules[_GRAMMAR]


_ASSIGNMENT = re.compile(r"^\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*=(?!=)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """One scenario notebook on disk."""

    id: str
    path: Path

    def read(self) -> nbformat.NotebookNode:
        """The notebook, validated. Raises ParameterError when it is not one."""
        return read_notebook(self.path)

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


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """A notebook as nbformat reads it. Raises ParameterError when it is not one."""
    skip_rfc3987()
    import nbformat

    try:
        node: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        return node
    except Exception as error:
        raise ParameterError(f"{path}: not a readable notebook ({type(error).__name__}); restore it.") from None


def markdown_of(path: Path) -> str:
    """The prose of a notebook. Raises ParameterError when it is not one."""
    return "\n\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown")


def all_notebooks() -> list[Notebook]:
    """Every scenario notebook, in order of id.

    Raises ParameterError when two claim the same id.
    """
    return [Notebook(id=id, path=path) for id, path in SCENARIOS.files().items()]
