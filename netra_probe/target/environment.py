"""The environment of this process and of what it starts: variables for a block, and where its files are kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from netra_probe.errors import OutputError

#: Where this user's state is kept instead of the usual place.
STATE_VARIABLE = "NETRA_PROBE_STATE"
#: Variable → the folder that a program keeps in the home directory, where somebody names no other.
_KEPT_AT_HOME = {
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter-config",
    "JUPYTER_DATA_DIR": "jupyter-data",
    "JUPYTER_RUNTIME_DIR": "jupyter-runtime",
    "MPLCONFIGDIR": "matplotlib",
    "XDG_CACHE_HOME": "cache",
    "XDG_STATE_HOME": "state",
}
#: What the names of scratch folders begin with. The first is short: paths of sockets in it may have 104 characters.
_SCRATCH = ("npk-", "netra-probe-doctor-", "netra-probe-sweep-", "netra-probe-bundle-", "netra-probe-work-")
_LOCK = ".lock"
#: Age at which a scratch folder without a lock belongs to nobody any more.
_ABANDONED_SECONDS = 86_400.0
#: Seconds to wait for a file that another process has locked: what is done under such a lock takes milliseconds.
LOCK_SECONDS = 30.0
#: Seconds between two looks at a lock that somebody else holds: locks of files send no word.
LOOK_AGAIN = 0.02


@contextlib.contextmanager
def in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a block; afterwards the environment is as it was."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def state_folder() -> Path:
    """Where this user's state is kept: accounts to be removed, crash logs. Private, and made on first use."""
    import platformdirs

    chosen = os.environ.get(STATE_VARIABLE)
    folder = Path(chosen) if chosen else platformdirs.user_state_path("netra-probe")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = instead_of_home() / "state" / "netra-probe"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def settle_home() -> str:
    """Where the home directory cannot be written, keep everything elsewhere; returns the sentence that says so, or "".

    Python, Jupyter and matplotlib, also those of kernels, keep files at home: variables of this process send them to a
    private folder among the temporary files.
    """
    home = Path.home()
    if home.is_dir() and os.access(home, os.W_OK):
        return ""
    place = instead_of_home()
    for variable, name in _KEPT_AT_HOME.items():
        os.environ.setdefault(variable, str(place / name))
        with contextlib.suppress(OSError):
            Path(os.environ[variable]).mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"the home directory {home} cannot be written; state is kept in {place}."


def instead_of_home() -> Path:
    """A private folder among the temporary files. Raises ParameterError where somebody else has taken its name."""
    from netra_probe.errors import ParameterError

    place = Path(tempfile.gettempdir()) / f"netra-probe-home-{os.geteuid()}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
    except OSError as error:
        raise ParameterError(
            f"{place}: cannot be made ({error.strerror}); set {STATE_VARIABLE} or TMPDIR to a directory of yours."
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ParameterError(f"{place} is not a private directory of yours; remove it, or set {STATE_VARIABLE}.")
    return place


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A private folder among the temporary files, for a block; one of a killed process is removed by ``sweep_scratch``.

    It belongs to this process for as long as it holds the lock in it, which the kernel lets go of with the process.
    """
    assert prefix in _SCRATCH
    folder, lock = _locked_folder(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep_scratch() -> None:
    """Remove the scratch folders of killed processes; they hold the addresses of kernels, and the keys to them."""
    for prefix in _SCRATCH:
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                if folder.lstat().st_uid == os.geteuid() and _is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        lock_file(lock)
        if (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)  # it was swept before it was locked


def _is_abandoned(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - folder.lstat().st_mtime > _ABANDONED_SECONDS
    try:
        lock_file(lock, within=0.0)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def lock_file(file: int | IO[Any], *, shared: bool = False, within: float = LOCK_SECONDS) -> None:
    """Lock a file until it is closed, or until ``unlock_file``; the system frees it however its holder ends.

    Where the system has no such locks (Windows) nobody is kept out. Raises BlockingIOError when another process still
    holds it after ``within`` seconds. It sleeps meanwhile: in an event loop wait in a thread, or not at all.
    """
    try:
        import fcntl
    except ImportError:
        return
    deadline = time.monotonic() + within
    while True:
        try:
            return fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(LOOK_AGAIN)


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to read and write, made if there is none, that nobody else has meanwhile.

    Raises OutputError when another process does not let go of it within ``LOCK_SECONDS``.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            lock_file(file, within=LOCK_SECONDS)
        except BlockingIOError:
            raise OutputError(
                f"Another process has held the lock of {path} for {LOCK_SECONDS:g} s. End it, or wait until it is done."
            ) from None
        yield file


def unlock_file(file: int | IO[Any]) -> None:
    """Let others have the lock of a file that stays open."""
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
