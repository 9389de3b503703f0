"""Child processes of the supervisor: forked or executed, watched, ended; their ports and what they answer."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import http.client
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from netra_probe.lab.infrastructure.errors import LabError

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

#: Modules that a fork imports anew, with the faults and settings of its own environment: it keeps the libraries, which
#: take 1.0 CPU seconds to import, in each of the services that a lab starts and starts again.
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
        # Until it has handlers of its own, a signal to the child would reach the supervisor's loop.
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


HOST = "127.0.0.1"

SERVICES = ("postgres", "redis", "auth", "backend-1", "backend-2", "llm", "oidc")
"""All processes of a lab, by name."""

USUAL: Mapping[str, int] = {"auth": 8081, "backend-1": 8000, "backend-2": 8001, "postgres": 5434, "redis": 6381}
"""The platform's own ports for the test profile; the other services stay on free ports."""


def hold(name: str, port: int = 0, *, holder: Callable[[int], str | None] = lambda port: None) -> socket.socket:
    """Bind a port for service `name` (0: any free one) without listening, so that nobody else is given it.

    A server that sets SO_REUSEADDR, as PostgreSQL and Redis do, can bind and listen on a port held like this on Linux;
    our own services inherit the socket itself. `holder` names a running lab that uses a port, for the error.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise in_use(name, port, holder) from error
    return listener


def in_use(name: str, port: int, holder: Callable[[int], str | None]) -> LabError:
    """The error that names a port, who could hold it, and the remedy."""
    owner = holder(port) or "perhaps by a running Netra test stack or another server"
    return LabError(
        f"Port {port} for {name} is in use ({owner}): stop whatever listens on {HOST}:{port}"
        " (`netra-probe lab down` ends a lab), or start the lab on ephemeral ports."
    )


def port_of(listener: socket.socket) -> int:
    """The port a socket is bound to."""
    return int(listener.getsockname()[1])


async def status_of(host: str, port: int, path: str) -> int:
    """The HTTP status that a service answers; waits as long as the service takes to accept the connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("closed without an answer")
        return int(line.split()[1])
    finally:
        writer.close()


def get_json(url: str, headers: Mapping[str, str], timeout: float) -> tuple[int, Any]:
    """Status and JSON body of a GET; ``(0, None)`` when nobody answers in time."""
    return _ask("GET", url, headers, timeout)


def post_json(url: str, headers: Mapping[str, str], timeout: float) -> tuple[int, Any]:
    """The same of a POST without a body."""
    return _ask("POST", url, headers, timeout)


def _ask(method: str, url: str, headers: Mapping[str, str], timeout: float) -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, parts.path or "/", headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


class Child:
    """A running process; `ended` is a future with its exit status."""

    def __init__(self, command: Command, process: subprocess.Popen[bytes] | Fork) -> None:
        self.command = command
        self.process = process
        self.expected_to_end = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch()

    @classmethod
    def start(cls, command: Command) -> Child:
        """Start the process. Call from the main thread only: the parent-death signal is tied to the thread."""
        if can_fork(command):
            return cls(command, Fork(command))
        with command.log.open("ab") as log:
            process = subprocess.Popen(
                command.words,
                env=dict(command.environment),
                cwd=command.directory,
                stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=command.descriptors,
                user=command.user,
                group=command.group,
                extra_groups=[] if command.user is not None else None,
                preexec_fn=tie_to(os.getpid(), command.orphan_signal),
            )
        if process.stdin is not None:
            process.stdin.write(command.stdin)
            process.stdin.close()
        return cls(command, process)

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if not self.ended.done():
            self.process.send_signal(number)

    async def stop(self, within: float, *, for_good: bool = False) -> None:
        """Ask it to end, wait up to `within` seconds, then make it end."""
        self.expected_to_end = True
        self.signal(signal.SIGCONT)
        self.signal((self.command.last_signal if for_good else None) or self.command.stop_signal)
        done, _ = await asyncio.wait([self.ended], timeout=within)
        if not done:
            self.signal(signal.SIGKILL)
            await self.ended

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        try:
            with self.command.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()

        def finished(status: int) -> None:
            if not self.ended.done():
                self.ended.set_result(status)

        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(self.pid)

            def collect() -> None:
                loop.remove_reader(descriptor)
                os.close(descriptor)
                finished(self.process.wait())

            loop.add_reader(descriptor, collect)
        else:

            def wait() -> None:
                status = self.process.wait()
                loop.call_soon_threadsafe(finished, status)

            threading.Thread(target=wait, daemon=True).start()


@dataclass(kw_only=True)
class Children:
    """All processes of a lab, in the order they were started, with word of each new one to the janitor."""

    announce: Callable[[int], None]
    by_name: dict[str, Child] = field(default_factory=dict)

    def start(self, command: Command) -> Child:
        """Start a process (again)."""
        child = Child.start(command)
        self.by_name[command.name] = child
        self.announce(child.pid)
        return child

    def first_unexpected_end(self) -> Child | None:
        """A process that ended although nobody asked it to."""
        ended = (child for child in self.by_name.values() if child.ended.done() and not child.expected_to_end)
        return next(ended, None)

    async def stop(self, names: Iterable[str], within: float) -> None:
        """Stop some of them at the same time, for good."""
        await asyncio.gather(
            *(self.by_name[name].stop(within, for_good=True) for name in names if name in self.by_name)
        )
