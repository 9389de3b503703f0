"""A service as a fork of the supervisor: importing the libraries is most of what its start costs, and is done once.

A fork shares third-party modules with the supervisor and nothing else: it imports the lab's own code afresh, and has
its own environment variables, files, signals and standard streams.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    "asyncpg",
    "fastapi",
    "fastapi.middleware.cors",
    "httptools",
    "httpx",
    "jwt",
    "redis.asyncio",
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvloop",
)
"""What several services import; none of them starts a thread or opens anything on import."""

_OURS = ("netra_probe", "lab_fault_module_")
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


@dataclass(frozen=True, kw_only=True)
class Command:
    """How to start one process: everything but its place in time."""

    name: str
    arguments: Sequence[str] = ()
    """What to execute; not needed for a `module`."""
    module: str | None = None
    """What to run with ``python -m``, or in a fork of this process."""
    environment: Mapping[str, str]
    directory: Path
    log: Path
    stdin: bytes = b""
    descriptors: tuple[int, ...] = ()
    user: int | None = None
    group: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    """What asks it to end in good order."""
    last_signal: signal.Signals | None = None
    """What ends it with the lab, where its data need not be kept and there is a quicker way."""
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when the supervisor is gone."""

    @property
    def words(self) -> list[str]:
        """The command line. ``-P``: the lab's directory is the working directory and not searched for modules."""
        return list(self.arguments) if self.module is None else [sys.executable, "-P", "-m", self.module]


def tie_to(parent: int, orphan_signal: int) -> Callable[[], None]:
    """What a child does before its program starts: ask the kernel for a signal when the supervisor is gone."""

    def in_child() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:  # the supervisor died between fork and here
            os._exit(1)

    return in_child


def can_fork(command: Command) -> bool:
    """True where a fork will do: on Linux, for a Python module that is to find the same libraries as we do."""
    return (
        sys.platform.startswith("linux")
        and command.module is not None
        and command.environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
    )


def preload() -> None:
    """Import the libraries, once, before the first fork."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # shared pages stay shared: no fork looks for rubbish among these


class Fork:
    """A forked process, with the little of `subprocess.Popen` that a `Child` needs."""

    stdin = None

    def __init__(self, command: Command) -> None:
        parent, loop, task = os.getpid(), asyncio.get_running_loop(), asyncio.current_task()
        # Until it has handlers of its own, a signal to the child would be told to the supervisor's loop.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                if task is not None:
                    asyncio.tasks._leave_task(loop, task)
                asyncio._set_running_loop(None)
                _run(command, parent, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, which the caller knows to be running or not yet waited for."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _run(command: Command, parent: int, mask: Collection[int]) -> NoReturn:
    """The whole life of the fork. It never returns into the frames of the supervisor."""
    status = 1
    try:
        tie_to(parent, command.orphan_signal)()
        _take_streams(command)
        _reset_signals()
        _take_name(command.name)
        os.environ.clear()
        os.environ.update(command.environment)
        os.chdir(command.directory)
        for name in [name for name in sys.modules if name.startswith(_OURS)]:
            del sys.modules[name]
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        assert command.module is not None
        runpy.run_module(command.module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _reset_signals() -> None:
    """The handlers so far are those of the supervisor's loop."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _take_streams(command: Command) -> None:
    """No input, a log for output, and the descriptors that were given; everything else is closed."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    log = os.open(command.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for source, target in ((nowhere, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    first = 3
    for kept in (*sorted(command.descriptors), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, kept)
        first = kept + 1
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _take_name(name: str) -> None:
    """What `ps -o comm` and `top` show."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_NAME, f"lab {name}".encode()[:15], 0, 0, 0)
