"""How a run ends, also when it is interrupted: kernels are ended, accounts removed, results written whole."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from netra_probe import lab
from netra_probe.batch.interrupts import INTERRUPTS
from netra_probe.clients.account_ledger import Ledger
from netra_probe.errors import ProbeError
from netra_probe.investigation.leftovers import sweep_target
from netra_probe.target import lab as embedded_lab
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.lab import LAB_VARIABLE
from netra_probe.target.parameters import Parameters, validated

#: Seconds that kernels get to end by themselves once they are asked to.
KERNEL_SECONDS = 3.0


def end_workers() -> None:
    """End the worker processes of this process and the kernels that they have started, and wait until they are gone."""
    workers = [process.pid for process in multiprocessing.active_children()]
    family: list[psutil.Process] = []
    for pid in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += psutil.Process(pid).children(recursive=True)
    for process in multiprocessing.active_children():
        process.terminate()
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(family, timeout=KERNEL_SECONDS)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=KERNEL_SECONDS)


def remove_leftovers(parameters: Parameters, variables: Mapping[str, str]) -> dict[str, Any]:
    """Remove the accounts that ended kernels have left on this run's target.

    Another Ctrl-C gives up; what is then still there stays on the books for the next run.

    Returns what ``run.json`` says of it: how many were ``removed``, and which are ``left``; nothing where there were
    none.
    """
    ledger = Ledger()
    try:
        target = _target(parameters, variables)
        if target is None or target.mode is Mode.OBSERVE:
            return {}
        mine = {entry.email for entry in ledger.orphans() if entry.auth_url == target.auth_url}
        if not mine:
            return {}
        with contextlib.suppress(KeyboardInterrupt, ProbeError, OSError):
            asyncio.run(sweep_target(target, ledger))
    except (ProbeError, lab.LabError):
        return {}
    left = sorted(entry.email for entry in ledger.entries() if entry.email in mine)
    return {"removed": len(mine) - len(left), "left": left}


def _target(parameters: Parameters, variables: Mapping[str, str]) -> Target | None:
    if "replay" in parameters.target:
        return None
    if parameters.target:
        return validated(parameters.target, parameters.environment, lambda keys: parameters.environment)
    return embedded_lab.as_target(lab.attach(Path(variables[LAB_VARIABLE])))


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let nobody interrupt what is written here: it takes a moment, and half of it is worth nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
