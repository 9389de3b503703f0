"""Where notebooks, parameter files and outputs are: in the project one works in, or as the installation has them."""

from __future__ import annotations

import os
from pathlib import Path

from netra_probe.errors import ParameterError

PROJECT = Path(__file__).resolve().parent.parent.parent
#: The notebooks and parameters that travel with a wheel; not there in a clone.
PACKAGED = Path(__file__).resolve().parent.parent / "workbook"
#: Where runs are kept instead of ``outputs/``; the test session points it to a temporary folder.
OUTPUT_VARIABLE = "NETRA_PROBE_OUTPUTS"


def folder(name: str) -> Path:
    """A top-level folder of the project: that of the current directory if it is one, else that of the installation.

    Installed as a wheel, the notebooks and parameters are those that came with it, and outputs go where one works.
    """
    if name == "outputs" and os.environ.get(OUTPUT_VARIABLE):
        return Path(os.environ[OUTPUT_VARIABLE])
    here = Path.cwd()
    for root in (here, *here.parents, PROJECT, PACKAGED):
        if root == PROJECT and PACKAGED.is_dir():
            continue  # what lies beside an installed package belongs to others
        if (root / "notebooks").is_dir() and (root / "parameters").is_dir():
            return here / name if root == PACKAGED and name == "outputs" else root / name
    return PROJECT / name


def packaged(name: str) -> Path:
    """A top-level folder as it came with the installation."""
    return (PACKAGED if PACKAGED.is_dir() else PROJECT) / name


def own_folder(name: str) -> Path:
    """The same, for what changes files in it. Raises ParameterError where they belong to the installed package."""
    path = folder(name)
    if path.is_relative_to(PACKAGED):
        raise ParameterError(f"{Path.cwd()}: no workbook here; `netra-probe init` lays one out.")
    return path
