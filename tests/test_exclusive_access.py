"""Who measures has the target alone, the others wait for it, and no event loop stands still meanwhile."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netra_probe import Investigation, investigate
from netra_probe.checkers import canary
from netra_probe.investigation.exclusive_access import LOOK_AGAIN, TURNS_VARIABLE, TargetLock

#: Holds a lock until it is told to let go; by itself after so many seconds, so that nothing waits for ever.
HOLDER = """
import fcntl, select, sys
with open(sys.argv[1], "ab") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    print("told" if select.select([sys.stdin], [], [], 20)[0] else "gave up", flush=True)
"""


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.stdin.close()
        assert holder.stdout.readline() == "told\n", "the loop stood still until the holder gave up"


@pytest.fixture
async def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Investigation]:
    monkeypatch.setenv(TURNS_VARIABLE, str(tmp_path))
    opened = await investigate("C4", users=2)
    yield opened
    await opened.close()


async def test_a_check_blocks_no_loop_while_another_process_measures_and_what_follows_waits(
    probe: Investigation, tmp_path: Path
) -> None:
    alice, _ = probe.users
    # While we work on the target nobody has it alone; the holder comes in with the check.
    probe.turn.release()
    with held_by_another_process(tmp_path / ".target.turn"):
        other = asyncio.ensure_future(asyncio.sleep(0, "ran"))
        probe.check("C4.1", canary())
        asked = asyncio.ensure_future(alice.rest.threads())
        assert await other == "ran"
        assert not (await asyncio.wait({asked}, timeout=5 * LOOK_AGAIN))[0]
    assert await asked


async def test_one_has_the_target_alone_once_the_others_step_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TURNS_VARIABLE, str(tmp_path))
    one, other = TargetLock(patience=30.0), TargetLock(patience=0.05)
    await one.join()
    await other.join()
    assert await other.alone() is False, "one does not step aside in time"
    measuring = asyncio.ensure_future(one.alone())
    await asyncio.sleep(0)
    other.release()
    assert await measuring
    coming_back = asyncio.ensure_future(other.join())
    assert not (await asyncio.wait({coming_back}, timeout=5 * LOOK_AGAIN))[0]
    await one.measured()
    await coming_back
    assert not one.is_alone
    one.leave()
    other.leave()
    await other.join()
    assert await other.alone() is False, "who has left has no turn"
