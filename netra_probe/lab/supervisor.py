"""The supervisor of one lab: ``python -m netra_probe.lab.supervisor PLAN`` starts all parts and ends with its parent.

It prints one JSON line once everything answers (or one with an ``error``), and ends on the end of file of its standard
input, on the death of its parent, on SIGTERM or SIGINT, on a command over its control socket, and when a part dies
that nobody asked to. Whatever ends it, nothing is left: see `netra_probe.lab.infrastructure.directories`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from netra_probe.lab.infrastructure import control, launch
from netra_probe.lab.infrastructure.directories import Janitor, LabDirectory, record_end, sweep
from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.plan import Plan


def main(arguments: list[str]) -> int:
    """Run one lab to its end; 0 when it was asked to end, 1 when it could not start or broke."""
    plan = Plan.from_json(arguments[0]) if arguments else Plan(parent=os.getppid())
    started = time.monotonic()
    try:
        sweep()
        directory = LabDirectory()
    except LabError as error:
        _say({"error": str(error)})
        return 1
    janitor = Janitor(directory.path)
    _complain_into(directory.log("supervisor"))
    try:
        asyncio.run(_supervise(plan, directory, janitor, started))
        return 0
    except LabError as error:
        _say({"error": str(error)})
        if plan.detached:
            record_end(directory.id, str(error))
        return 1
    except Exception as error:
        _say({"error": f"The lab's supervisor failed ({type(error).__name__}: {error}); this is a defect of the lab."})
        raise
    finally:
        janitor.dismiss()


async def _supervise(plan: Plan, directory: LabDirectory, janitor: Janitor, started: float) -> None:
    told_to_end = _told_to_end(plan)
    lab = launch.Launch(plan=plan, directory=directory, announce=janitor.announce)
    try:
        starting = asyncio.create_task(lab.start())
        if await _is_first(told_to_end, starting):
            starting.cancel()
            with suppress(asyncio.CancelledError, LabError):
                await starting
            return
        await starting
        server = await control.serve(lab, directory.control, told_to_end)
        directory.write_state(lab.state())
        _say({"state_file": str(directory.state_file), "seconds": round(time.monotonic() - started, 3)})
        _leave_standard_output(plan)
        broken = asyncio.create_task(lab.wait_until_broken())
        ending = await _is_first(told_to_end, broken)
        server.close()
        if not ending:
            await broken
        broken.cancel()
    finally:
        await lab.stop()


async def _is_first(told: asyncio.Future[str], other: asyncio.Task[None]) -> bool:
    """Wait for one of the two; True when it is `told`."""
    waiting: set[asyncio.Future[Any]] = {told, other}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    return not other.done()


def _told_to_end(plan: Plan) -> asyncio.Future[str]:
    """A future that is done as soon as somebody wants the lab to end."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    def tell(reason: str) -> None:
        if not told.done():
            told.set_result(reason)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, tell, "signal")
    if plan.detached:
        return told

    def standard_input() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            tell("end of input")

    def parent_is_gone(handle: int) -> None:
        loop.remove_reader(handle)
        tell("parent is gone")

    with suppress(OSError, PermissionError):  # /dev/null and files cannot be waited for
        loop.add_reader(0, standard_input)
    if plan.parent is not None:
        # a forked child of the parent can hold the pipe open: watch the parent itself as well
        if hasattr(os, "pidfd_open"):
            try:
                handle = os.pidfd_open(plan.parent)
            except OSError:
                tell("parent is gone")
            else:
                loop.add_reader(handle, parent_is_gone, handle)
        if os.getppid() != plan.parent:
            tell("parent is gone")
    return told


def _say(line: dict[str, object]) -> None:
    with suppress(OSError, ValueError):
        print(json.dumps(line), flush=True)


def _complain_into(log: Path) -> None:
    """Nobody reads standard error from here on: a full pipe would stop the lab."""
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _leave_standard_output(plan: Plan) -> None:
    """A detached lab must not hold the pipe of whoever started it, who may wait for its end of file."""
    if plan.detached:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)


if __name__ == "__main__":
    os.umask(0o077)
    os.chdir(Path("/"))
    sys.exit(main(sys.argv[1:]))
