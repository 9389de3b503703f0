"""One lab for a whole pytest session, shared by all workers and by the kernels of all notebooks.

Fixtures do not reach notebook cells, so the lab is started before collection and handed on in the environment. Used by
``tests/conftest.py`` and ``notebooks/conftest.py``; with both loaded there is still one lab.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from netra_probe import lab
from netra_probe.lab_target import LAB_VARIABLE
from netra_probe.parameters import OUTPUT_VARIABLE

if TYPE_CHECKING:
    import pytest

_running: lab.Lab | None = None
_outputs: tempfile.TemporaryDirectory[str] | None = None


def start(config: pytest.Config) -> None:
    """Start the lab, unless this is an xdist worker or one is named already; call from ``pytest_configure``."""
    global _running, _outputs
    if hasattr(config, "workerinput") or config.option.collectonly or LAB_VARIABLE in os.environ:
        return
    _running = lab.start_lab()
    _outputs = tempfile.TemporaryDirectory(prefix="netra-probe-outputs-")
    os.environ[LAB_VARIABLE] = str(_running.state_file)
    os.environ[OUTPUT_VARIABLE] = _outputs.name


def stop() -> None:
    """Stop the lab that ``start`` started; call from ``pytest_unconfigure``."""
    global _running, _outputs
    if _running is not None and _outputs is not None:
        del os.environ[LAB_VARIABLE], os.environ[OUTPUT_VARIABLE]
        _running.stop()
        _outputs.cleanup()
        _running = _outputs = None
