"""Plans are carried out on the session's healthy lab, and on labs with faults."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from netra_probe import Investigation, investigate


@pytest.fixture
async def probe() -> AsyncIterator[Investigation]:
    """Three users on the session's lab; nothing is left of them afterwards."""
    probe = await investigate("C4", users=3)
    yield probe
    cleaned = await probe.close()
    assert cleaned.left == ()
