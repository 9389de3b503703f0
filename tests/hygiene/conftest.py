"""Labs with defects of hygiene, each looked at once with everything there is."""

from __future__ import annotations

import pytest
from composing import Composed
from looking import CARELESS, MODULES, OTHERWISE, everything, found, judged

from netra_probe.lab import Lab


@pytest.fixture(scope="session")
def careless(compose: Composed) -> dict[str, str]:
    """What is found on a lab with most defects at once, whose access tokens live for a month under a known key."""
    settings = {"ACCESS_TOKEN_SECONDS": str(30 * 24 * 3600), "JWT_SECRET_KEY": "a-string-secret-at-least-256-bits-long"}
    return found(judged(compose(CARELESS, MODULES, settings=settings), everything))


@pytest.fixture
def otherwise(compose: Composed) -> Lab:
    """A lab with the defects that would hide the others."""
    return compose(OTHERWISE, MODULES)
