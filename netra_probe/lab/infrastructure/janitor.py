"""The janitor: a small process that outlives the supervisor by a moment, to leave nothing behind even after SIGKILL.

It is forked before anything is started, hears of every process over a pipe, and sleeps until that pipe ends: because
the supervisor ended cleanly, crashed or was killed. Then it ends what still runs and removes the lab's directory.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

DOOMED = ".gone"
"""What the name of a directory ends in while it is being removed."""

GRACE_SECONDS = 2.0
"""How long processes get to end by themselves once the supervisor is gone (PostgreSQL frees its shared memory then)."""


class Janitor:
    """The supervisor's end: `announce` each process, `dismiss` at the end."""

    def __init__(self, directory: Path) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(writing)
                _live(reading, directory)
            finally:
                os._exit(0)
        os.close(reading)
        os.set_inheritable(writing, False)
        self._writing = writing

    def announce(self, pid: int) -> None:
        """Tell it about a process that was just started."""
        os.write(self._writing, f"{pid}\n".encode())

    def dismiss(self) -> None:
        """Let it remove the directory, and wait until it has."""
        os.close(self._writing)
        os.waitpid(self.pid, 0)


def _live(reading: int, directory: Path) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # the lab belongs to whoever reads its output: do not hold that pipe open
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    processes: dict[int, int | None] = {}
    rest = b""
    while chunk := os.read(reading, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            pid = int(line)
            try:
                processes[pid] = os.pidfd_open(pid) if sys.platform.startswith("linux") else None
            except OSError:
                continue  # it has ended already
    _end(processes)
    remove_directory(directory)


def _end(processes: dict[int, int | None]) -> None:
    if sys.platform.startswith("linux"):
        handles = [handle for handle in processes.values() if handle is not None]
        for number in (None, signal.SIGKILL):
            deadline = time.monotonic() + GRACE_SECONDS
            while handles and (left := deadline - time.monotonic()) > 0:
                ended, _, _ = select.select(handles, [], [], left)
                handles = [handle for handle in handles if handle not in ended]
            if number is None:
                for handle in handles:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
        return
    for number in (signal.SIGTERM, signal.SIGKILL):  # without the kernel's help we end them ourselves
        for pid in list(processes):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                del processes[pid]
        deadline = time.monotonic() + GRACE_SECONDS
        while any(_exists(pid) for pid in processes) and time.monotonic() < deadline:
            select.select([], [], [], 0.02)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove_directory(directory: Path) -> None:
    """Remove a lab's directory, also when a dying process still writes into it. Its name is gone at once."""
    doomed = directory.with_name(f"{directory.name}{DOOMED}")
    try:
        directory.rename(doomed)
    except OSError:  # somebody else is removing it, too
        doomed = directory
    for _ in range(10):
        shutil.rmtree(doomed, ignore_errors=True)
        if not doomed.exists():
            return
        select.select([], [], [], 0.05)
