"""Library tests talk to a real lab: one for the session, shared by all workers."""

import pytest

from netra_probe import session_lab


def pytest_configure(config: pytest.Config) -> None:
    session_lab.start(config)


def pytest_unconfigure() -> None:
    session_lab.stop()
