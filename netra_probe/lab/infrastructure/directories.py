"""Where a lab keeps its files, how others find it, and how the remains of a dead one are swept.

    <temporary directory>/netra-probe-<uid>/<lab id>/   lock  state.json  control  logs/  postgres/

A lab lives as long as somebody holds the lock on its ``lock`` file; the kernel lets go of it with the last process.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import select
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from netra_probe.lab.infrastructure.errors import LabError

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
        while any(psutil.pid_exists(pid) for pid in processes) and time.monotonic() < deadline:
            select.select([], [], [], 0.02)


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


STATE = "state.json"
COUNTS = "counts"
"""Where components that are investigated outside of a service keep the counts of their faults, a file a process."""
_LOCK = "lock"
_LAB_ID = re.compile("[0-9a-f]{8}")


def labs_directory() -> Path:
    """The directory of this user's labs; made on first use, refused when it belongs to somebody else."""
    for base in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):
        # as root, PostgreSQL runs as somebody who must be able to walk down to its data
        if os.geteuid() != 0 or is_open_to_all(Path(base)):
            break
    directory = Path(base) / f"netra-probe-{os.geteuid()}"
    try:
        if not directory.exists():
            directory.mkdir(exist_ok=True)
            directory.chmod(_directory_mode())
        found = directory.lstat()
    except OSError as error:
        raise LabError(
            f"The lab cannot make {directory} ({error.strerror}); set TMPDIR to a directory of yours."
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise LabError(f"{directory} is not a private directory of yours; remove it or set TMPDIR to another place.")
    return directory


def is_open_to_all(path: Path) -> bool:
    """True when every user may walk down to `path`."""
    return all(part.stat().st_mode & stat.S_IXOTH for part in (path.resolve(), *path.resolve().parents))


class LabDirectory:
    """One lab's directory, locked for as long as this object (or a fork of this process) lives."""

    def __init__(self) -> None:
        parent = labs_directory()
        self.id = secrets.token_hex(4)
        self.path = parent / self.id
        self.path.mkdir()
        self.path.chmod(_directory_mode())
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for name in ("logs", COUNTS):
            (self.path / name).mkdir(mode=0o700)

    @property
    def state_file(self) -> Path:
        return self.path / STATE

    @property
    def control(self) -> Path:
        return self.path / "control"

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.path / "logs" / f"{name}.log"

    def write_state(self, state: dict[str, Any]) -> None:
        """Write the state file (0600) in one step, so that a reader finds all of it or nothing."""
        draft = self.path / f"{STATE}.new"
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
        draft.rename(self.state_file)


def is_alive(directory: Path) -> bool:
    """True while somebody holds the lock of the lab in `directory`."""
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def living_labs() -> Iterator[Path]:
    """The state files of all labs of this user that run now."""
    for directory in sorted(_lab_directories()):
        if (directory / STATE).is_file() and is_alive(directory):
            yield directory / STATE


def sweep() -> list[str]:
    """Remove what dead labs left (a power cut, a killed janitor), their processes first; returns their ids."""
    swept: list[str] = []
    for doomed in labs_directory().glob(f"*{DOOMED}"):
        shutil.rmtree(doomed, ignore_errors=True)
    for directory in _lab_directories():
        if is_alive(directory) or _is_young(directory):
            continue
        for pid in _processes_in(directory):
            try:
                os.kill(pid, 9)
            except OSError:
                continue
        remove_directory(directory)
        swept.append(directory.name)
    return swept


def holder_of(port: int) -> str | None:
    """The running lab of this user that listens on `port`, in words."""
    for state_file in living_labs():
        try:
            state = json.loads(state_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for name, service in state["services"].items():
            if str(service["url"]).endswith(f":{port}"):
                return f"by {name} of the running lab {state['id']}"
    return None


def record_end(lab_id: str, reason: str) -> None:
    """Leave word of why a detached lab ended by itself, for whoever asks for it next."""
    note = labs_directory() / f"{lab_id}.ended"
    note.write_text(reason, encoding="utf-8")
    note.chmod(0o600)


def take_ends() -> dict[str, str]:
    """Why labs of this user ended by themselves, by id; reported once."""
    ends: dict[str, str] = {}
    for note in labs_directory().glob("*.ended"):
        try:
            ends[note.stem] = note.read_text(encoding="utf-8")
            note.unlink()
        except OSError:
            continue
    return ends


def _directory_mode() -> int:
    return 0o711 if os.geteuid() == 0 else 0o700


def _lab_directories() -> list[Path]:
    return [entry for entry in labs_directory().iterdir() if _LAB_ID.fullmatch(entry.name)]


def _is_young(directory: Path) -> bool:
    """True for a directory that another starting lab has just made and not locked yet."""
    if (directory / "logs").exists():
        return False
    try:
        return time.time() - directory.stat().st_mtime < 10
    except OSError:
        return True


def _processes_in(directory: Path) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(entry / "cwd")).is_relative_to(directory):
                yield int(entry.name)
        except OSError:
            continue
