"""Labs with defects of hygiene, each looked at once with everything there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from looking import CARELESS, MODULES, OTHERWISE, everything, found, judged

from netra_probe.lab import Lab, start_lab


@pytest.fixture(scope="session")
def careless() -> Iterator[dict[str, str]]:
    """What is found on a lab with most defects at once, whose access tokens live for a month."""
    settings = {"ACCESS_TOKEN_SECONDS": str(30 * 24 * 3600)}
    with start_lab(faults=CARELESS, fault_modules=MODULES, settings=settings) as lab:
        yield found(judged(lab, everything))


@pytest.fixture(scope="session")
def otherwise() -> Iterator[Lab]:
    """A lab with the defects that would hide the others."""
    with start_lab(faults=OTHERWISE, fault_modules=MODULES) as lab:
        yield lab
