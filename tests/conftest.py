"""Library tests talk to real labs: one for the session, shared by all workers, and one for each worker to recompose."""

from collections.abc import Iterator

import pytest
from composing import Composed

from netra_probe import testing


def pytest_configure(config: pytest.Config) -> None:
    testing.start(config)


def pytest_unconfigure() -> None:
    testing.stop()


@pytest.fixture(scope="session")
def compose() -> Iterator[Composed]:
    """A lab with whatever faults and in whatever variant a test asks for; another test may ask for another."""
    composed = Composed()
    yield composed
    composed.stop()
