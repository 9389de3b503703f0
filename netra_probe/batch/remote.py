"""A notebook executed by a worker that shares no file system with us: it goes there, and comes back, as bytes."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netra_probe.batch.execution import Execution, Order, execute, explained
from netra_probe.catalogue.scenarios import NOTEBOOKS_VARIABLE
from netra_probe.clients.rate_limit import RUN_VARIABLE, SHARE_VARIABLE, Share
from netra_probe.investigation.exclusive_access import TURNS_VARIABLE, lock_variables
from netra_probe.results.results import FOLDERS
from netra_probe.target.environment import scratch

#: Variables that name places of this machine.
LOCAL = (RUN_VARIABLE, TURNS_VARIABLE)


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """An order with its notebook inside, and no path that another machine would have to have."""

    id: str
    name: str
    notebook: bytes
    parameters: dict[str, Any]
    variables: dict[str, str]
    timeout: int

    @staticmethod
    def of(order: Order, share: Share) -> RemoteJob:
        return RemoteJob(
            id=order.id,
            name=order.source.name,
            notebook=order.source.read_bytes(),
            parameters=order.parameters,
            variables={
                **{name: value for name, value in order.variables.items() if name not in LOCAL},
                SHARE_VARIABLE: str(share),
            },
            timeout=order.timeout,
        )


def execute_remotely(parcel: RemoteJob) -> Execution:
    """Execute a notebook in a scratch directory and a process of its own; returns how it ended, with its files.

    Runs in a worker, of which nothing is assumed: it may be a thread, and execute several of these at once.
    """
    with scratch("netra-probe-work-") as place:
        run = place / "run"
        for name in FOLDERS:
            (run / name).mkdir(parents=True)
        source = place / "source" / parcel.name
        source.parent.mkdir()
        source.write_bytes(parcel.notebook)
        turns = lock_variables(parcel.parameters.get("target") or {}, parcel.variables)
        order = Order(
            id=parcel.id,
            source=source,
            output=run / "notebooks" / parcel.name,
            parameters=parcel.parameters,
            variables={**parcel.variables, RUN_VARIABLE: str(run), NOTEBOOKS_VARIABLE: str(source.parent), **turns},
            timeout=parcel.timeout,
            log=run / "logs" / f"{parcel.id}.log",
            sockets=place,
        )
        execution = _in_own_process(order, place)
        files = {
            str(path.relative_to(run)): path.read_bytes()
            for name in FOLDERS
            for path in sorted((run / name).iterdir())
            if path.is_file() and (path.name.startswith(f"{parcel.id}.") or path.name == parcel.name)
        }
        return replace(execution, files=files)


def _in_own_process(order: Order, scratch: Path) -> Execution:
    """Execute an order apart from this process, whose environment and standard error belong to others."""
    parcel, answer = scratch / "order", scratch / "execution"
    parcel.write_bytes(pickle.dumps(order))
    ended = subprocess.run(
        [sys.executable, "-m", "netra_probe.batch.remote", str(parcel), str(answer)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if ended.returncode or not answer.exists():
        reason = explained(ended.returncode).replace("its kernel", "its worker process", 1)
        return Execution(id=order.id, status="died", reason=reason)
    execution: Execution = pickle.loads(answer.read_bytes())
    return execution


def unpack(order: Order, execution: Execution) -> Execution:
    """Put the files that came back to where a notebook executed here would have left them; returns it without them."""
    run = order.log.parent.parent
    for name, content in execution.files.items():
        place = run / name
        if place.resolve().is_relative_to(run.resolve()):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    return replace(execution, files={})


def _main(parcel: str, answer: str) -> None:
    from netra_probe.batch.interrupts import end_with_parent

    worker = os.getppid()
    end_with_parent(worker)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    try:
        order: Order = pickle.loads(Path(parcel).read_bytes())
        Path(answer).write_bytes(pickle.dumps(execute(order)))
    finally:
        if os.getppid() != worker:
            # Nobody is left who would fetch it, or clean up.
            shutil.rmtree(Path(parcel).parent, ignore_errors=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
