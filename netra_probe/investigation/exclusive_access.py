"""Taking turns: who measures what a target holds on to has that target to themselves meanwhile.

Connections, tasks and clients are counted for the whole target. What another investigation does between two readings
would be taken for something that is not given back. The notebooks of one run, or of one test session, therefore
share their target, and step aside between two cases for one that measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import IO

from netra_probe.target.environment import lock_file, unlock_file

#: The folder whose notebooks take turns; without it nobody is waited for.
TURNS_VARIABLE = "NETRA_PROBE_TURNS"
#: Seconds between two looks at whether the others have stepped aside: locks of files send no word.
LOOK_AGAIN = 0.02


class TargetLock:
    """One investigation's place among those on the same target; the operating system frees it however it ends.

    The target is a lock that all share and one may have alone. Who wants it alone shuts a gate first, so that those who
    step aside do not come in again before.

    Arguments:
        patience: seconds to wait for the others; then it is measured beside them.
    """

    def __init__(self, *, patience: float) -> None:
        self._folder = os.environ.get(TURNS_VARIABLE, "")
        self._patience = patience
        self._files: tuple[IO[bytes], IO[bytes]] | None = None
        self.is_alone = False

    def join(self) -> None:
        """Begin to work on the target beside others; waits while somebody measures."""
        if self._files is None and self._folder:
            with contextlib.suppress(OSError):
                self._files = self._open("gate"), self._open("target")
        if self._files is not None:
            gate, target = self._files
            lock_file(gate, shared=True)
            lock_file(target, shared=True)
            unlock_file(gate)
        self.is_alone = False

    def _open(self, name: str) -> IO[bytes]:
        return open(Path(self._folder) / f".{name}.turn", "ab")

    async def alone(self) -> bool:
        """Have the target to oneself until ``measured`` or the next case; whether it came to that in time."""
        if self._files is None or self.is_alone:
            return self.is_alone
        gate, target = self._files
        unlock_file(target)
        try:
            async with asyncio.timeout(self._patience):
                await _take(gate)
                await _take(target)
            self.is_alone = True
            unlock_file(gate)
        except TimeoutError:
            unlock_file(gate)
            await asyncio.to_thread(self.join)
        return self.is_alone

    async def measured(self) -> None:
        """The last reading of an act is done: the others may go on; waits while another one measures."""
        if self.is_alone:
            await asyncio.to_thread(self.release)

    def release(self) -> None:
        """Between two cases: let somebody measure who has been waiting for it."""
        if self._files is not None:
            unlock_file(self._files[1])
            self.join()

    def leave(self) -> None:
        """The work on the target is over."""
        for file in self._files or ():
            file.close()
        self._files = None


async def _take(file: IO[bytes]) -> None:
    while True:
        with contextlib.suppress(BlockingIOError):
            lock_file(file, wait=False)
            return
        await asyncio.sleep(LOOK_AGAIN)
