"""nbval: one lab for all notebooks, started before their kernels."""

from collections.abc import Iterator

import pytest

from netra_probe import session_lab


def pytest_configure(config: pytest.Config) -> None:
    session_lab.start(config, variable=session_lab.NOTEBOOK_LAB_VARIABLE)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Iterator[None]:
    # A notebook's kernel is started when its first cell is set up.
    with session_lab.for_notebooks():
        return (yield)


def pytest_unconfigure() -> None:
    session_lab.stop()
