"""Taking turns: who measures what a target holds on to has that target to themselves meanwhile.

Connections, tasks and clients are counted for the whole target. What another investigation does between two readings
would be taken for something that is not given back. The notebooks of one run, or of one test session, therefore
share their target, and step aside between two cases for one that measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from netra_probe.clients.account_ledger import Ledger
from netra_probe.target.environment import LOOK_AGAIN, lock_file, unlock_file
from netra_probe.target.lab import LAB_VARIABLE

#: The folder whose notebooks take turns; without it nobody is waited for.
TURNS_VARIABLE = "NETRA_PROBE_TURNS"


class TargetLock:
    """One investigation's place among those on the same target; the operating system frees it however it ends.

    The target is a lock that all share and one may have alone. Who wants it alone shuts a gate first, so that those who
    step aside do not come in again before. Nothing here blocks the event loop: locks are tried, and tried again.

    Arguments:
        patience: seconds to wait for the others; then it is measured beside them.
    """

    def __init__(self, *, patience: float) -> None:
        self._folder = os.environ.get(TURNS_VARIABLE, "")
        self._patience = patience
        self._files: tuple[IO[bytes], IO[bytes]] | None = None
        self._changing = asyncio.Lock()
        self._is_in = False
        self.is_alone = False

    async def join(self) -> None:
        """Work on the target beside others, unless one does already; waits while somebody measures."""
        if self._is_in or not self._folder:
            return
        async with self._changing:
            await self._enter()

    async def alone(self) -> bool:
        """Have the target to oneself until ``measured`` or the next case; whether it came to that in time."""
        if not self._folder or self.is_alone:
            return self.is_alone
        async with self._changing:
            self.release()
            if (files := self._open()) is None:
                return False
            gate, target = files
            try:
                async with asyncio.timeout(self._patience):
                    await _take(gate)
                    await _take(target)
                self._is_in = self.is_alone = True
            except TimeoutError:
                pass
            finally:
                unlock_file(gate)
            await self._enter()
        return self.is_alone

    async def measured(self) -> None:
        """The last reading of an act is done: the others may go on; waits while another one measures."""
        if self.is_alone:
            self.release()
            await self.join()

    def release(self) -> None:
        """Between two cases: let somebody measure who has been waiting for it; what is done next joins again."""
        if self._files is not None:
            unlock_file(self._files[1])
        self._is_in = self.is_alone = False

    def leave(self) -> None:
        """The work on the target is over."""
        for file in self._files or ():
            file.close()
        self._files, self._folder = None, ""

    async def _enter(self) -> None:
        if self._is_in or (files := self._open()) is None:
            return
        gate, target = files
        await _take(gate, shared=True)
        try:
            await _take(target, shared=True)
            self._is_in = True
        finally:
            unlock_file(gate)

    def _open(self) -> tuple[IO[bytes], IO[bytes]] | None:
        if self._files is None and self._folder:
            with contextlib.suppress(OSError):
                self._files = _opened(self._folder, "gate"), _opened(self._folder, "target")
        return self._files


def _opened(folder: str, name: str) -> IO[bytes]:
    return open(Path(folder) / f".{name}.turn", "ab")


async def _take(file: IO[bytes], *, shared: bool = False) -> None:
    while True:
        with contextlib.suppress(BlockingIOError):
            lock_file(file, shared=shared, within=0.0)
            return
        await asyncio.sleep(LOOK_AGAIN)


def lock_variables(target: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """What kernels need in their environment to step aside for one that measures the target; nothing for a recording.

    Arguments:
        target: of the parameters; empty for a lab.
        variables: what kernels have in their environment already; for a lab, the path of its state file.
    """
    if "replay" in target:
        return {}
    if target:
        addresses = repr(sorted(map(str, target.get("backend_urls", []))))
        folder = Ledger().folder / "turns" / hashlib.sha256(addresses.encode()).hexdigest()[:16]
    elif not (lab := Path(variables.get(LAB_VARIABLE, ""))).is_file():
        return {}
    else:
        folder = lab.parent / "turns"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}  # nobody is waited for then; what is measured meanwhile says so itself
    return {TURNS_VARIABLE: str(folder)}
