"""nbval: one lab for all notebooks, started before their kernels, and kernels that nobody takes a port from."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator

import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager

from netra_probe import testing


class SocketFileKernelManager(KernelManager):
    """Talks to its kernel over files: of ports that are chosen first and taken later, somebody else takes some."""

    def __init__(self, **options: object) -> None:
        folder = tempfile.mkdtemp(prefix="nbval-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        super().__init__(transport="ipc", ip=f"{folder}/k", **options)


def pytest_configure(config: pytest.Config) -> None:
    nbval.kernel.KernelManager = SocketFileKernelManager
    testing.start(config, variable=testing.NOTEBOOK_LAB_VARIABLE)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Iterator[None]:
    # A notebook's kernel is started when its first cell is set up.
    with testing.for_notebooks():
        return (yield)


def pytest_unconfigure() -> None:
    testing.stop()
