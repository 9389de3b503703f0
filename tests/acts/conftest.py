"""Acts run against the session's healthy lab, and against labs with several faults that do not disturb each other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from acting import Acting, acting_on
from composing import Composed

from netra_probe import investigate
from netra_probe.lab import Lab


@pytest.fixture
async def healthy() -> AsyncIterator[Acting]:
    """The session's lab; what was done is done again over the recording of it."""
    probe = await investigate("C4", users=2)
    acting = Acting(probe)
    yield acting
    cleaned = await probe.close()
    assert cleaned.left == ()
    await acting.play_back()


@pytest.fixture
def broken_door(compose: Composed) -> Lab:
    """Types ignored, refresh reusable, logins unbound, claims believed, a bypass, sockets for ever, a common cache."""
    return compose(("A4", "A7", "A8", "A9", "F1", "K1", "W11"))


@pytest.fixture
def broken_data(compose: Composed) -> Lab:
    """Read, written and looked up by id or pattern alone, spent twice, remembered for the wrong one."""
    return compose(("D1", "D2", "D5", "G3", "G5", "G6", "K2", "X3", "X4"))


@pytest.fixture
async def at_broken_door(broken_door: Lab) -> AsyncIterator[Acting]:
    async for acting in acting_on(broken_door):
        yield acting


@pytest.fixture
async def on_broken_data(broken_data: Lab) -> AsyncIterator[Acting]:
    async for acting in acting_on(broken_data):
        yield acting
