"""Two labs for a whole pytest session, shared by all workers: one for the tests, one for the kernels of notebooks.

Fixtures do not reach notebook cells, so labs are started before collection and handed on in the environment. Notebooks
have one to themselves because some measure what the target holds on to: they take turns, which tests know nothing of.
Used by ``tests/conftest.py`` and ``notebooks/conftest.py``; a plugin of pytest, so that it is imported before nbval.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from netra_probe import lab
from netra_probe.batch.notebooks import skip_rfc3987
from netra_probe.catalogue.folders import OUTPUT_VARIABLE
from netra_probe.investigation.exclusive_access import TURNS_VARIABLE
from netra_probe.target.environment import in_environment
from netra_probe.target.lab import LAB_VARIABLE

if TYPE_CHECKING:
    import pytest

skip_rfc3987()  # nbval imports nbformat in every process of pytest: 0.3 CPU seconds instead of 2.4

#: Where the kernels of notebooks find theirs; ``LAB_VARIABLE`` is what tests see.
NOTEBOOK_LAB_VARIABLE = "NETRA_PROBE_NOTEBOOK_LAB"

_running: dict[str, lab.Lab] = {}
_outputs: tempfile.TemporaryDirectory[str] | None = None


def start(config: pytest.Config, *, variable: str = LAB_VARIABLE) -> None:
    """Start the lab, unless this is an xdist worker or one is named already; call from ``pytest_configure``."""
    global _outputs
    if hasattr(config, "workerinput") or config.option.collectonly or variable in os.environ:
        return
    _running[variable] = lab.start_lab()
    os.environ[variable] = str(_running[variable].state_file)
    if _outputs is None:
        _outputs = tempfile.TemporaryDirectory(prefix="netra-probe-outputs-")
        os.environ[OUTPUT_VARIABLE] = _outputs.name


@contextlib.contextmanager
def for_notebooks() -> Iterator[None]:
    """Kernels that are started in this block find the lab of the notebooks, and take turns on it."""
    with in_environment({LAB_VARIABLE: os.environ[NOTEBOOK_LAB_VARIABLE], TURNS_VARIABLE: os.environ[OUTPUT_VARIABLE]}):
        yield


def stop() -> None:
    """Stop all labs that ``start`` started; call from ``pytest_unconfigure``."""
    global _outputs
    while _running:
        variable, running = _running.popitem()
        del os.environ[variable]
        running.stop()
    if _outputs is not None:
        del os.environ[OUTPUT_VARIABLE]
        _outputs.cleanup()
        _outputs = None
