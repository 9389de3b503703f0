"""nbval: one lab for all notebooks, started before their kernels."""

import pytest

from netra_probe import session_lab


def pytest_configure(config: pytest.Config) -> None:
    session_lab.start(config)


def pytest_unconfigure() -> None:
    session_lab.stop()
