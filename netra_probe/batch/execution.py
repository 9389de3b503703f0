"""One notebook through papermill, in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import signal
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from netra_probe.batch.notebooks import skip_rfc3987
from netra_probe.results.secret_scan import redactor_of


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the execution of a notebook ended: ``completed``, or why not.

    Arguments:
        seconds: from the order to the end, with the kernel's start.
        cpu_seconds: of the kernel, of what it has started, and of papermill.
        memory_mb: the most that the kernel has held at once; 0 where that cannot be known.
        files: what it left, by place in the run directory, where the worker shares none with us.
    """

    id: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_mb: int = 0
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker needs to execute one notebook; it can be sent to another process.

    Arguments:
        sockets: a folder with a short path, in which a kernel and its manager meet.
    """

    id: str
    source: Path
    output: Path
    parameters: dict[str, Any]
    variables: dict[str, str]
    timeout: int
    log: Path
    sockets: Path


def execute(order: Order) -> Execution:
    """Execute one notebook; whatever happens to it is a value, so that the other notebooks go on."""
    begin, before = time.monotonic(), _cpu_seconds()
    try:
        os.environ.update(order.variables)
        _send_standard_error_to(order.log)
        (status, reason), memory = _execute(order)
    except OSError as error:
        (status, reason), memory = ("failed", f"{type(error).__name__}: {error}"), 0
    return Execution(
        id=order.id,
        status=status,
        # What a cell raised may be a library's text, which quotes what it was given; kernels know the same secrets.
        reason=redactor_of(order.parameters).clean(reason) if reason else "",
        seconds=round(time.monotonic() - begin, 1),
        cpu_seconds=round(_cpu_seconds() - before, 1),
        memory_mb=memory,
    )


def warm_up() -> None:
    """Load what executing a notebook takes, which a worker can do before there is a notebook."""
    skip_rfc3987()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("netra_probe.batch.papermill_engine")


def _execute(order: Order) -> tuple[tuple[str, str], int]:
    """Status and reason, and the memory that the kernel took."""
    warm_up()
    import nbclient.exceptions
    import papermill
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillException, PapermillExecutionError

    from netra_probe.batch.papermill_engine import Kernel, WatchedEngine

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    papermill_engines.register("netra-probe", WatchedEngine)
    kernel = Kernel(sockets=str(order.sockets / order.id))
    ended = "completed", ""
    try:
        papermill.execute_notebook(
            str(order.source),
            str(partial_of(order.output)),
            parameters=order.parameters,
            engine_name="netra-probe",
            kernel=kernel,
            kernel_name="python3",
            progress_bar=False,
            cwd=str(order.source.parent),
            execution_timeout=order.timeout,
            start_timeout=60,
        )
    except PapermillExecutionError as error:
        ended = "failed", f"cell {error.exec_count} raised {error.ename}: {plain(error.evalue)}"
    except nbclient.exceptions.DeadKernelError:
        ended = "died", explained(kernel.exit_code)
    except nbclient.exceptions.CellTimeoutError:
        ended = "timed out", f"a cell took longer than {order.timeout} s"
    except (PapermillException, OSError, ValueError, RuntimeError) as error:
        ended = "failed", f"{type(error).__name__}: {error}"
    keep_partial(order.output)
    return ended, kernel.memory_mb


def partial_of(output: Path) -> Path:
    """Where a notebook is while it is being executed."""
    return output.with_name(output.name + ".partial.ipynb")


def keep_partial(output: Path) -> None:
    """Give what there is of an executed notebook its name, however far it came."""
    with contextlib.suppress(OSError):
        partial_of(output).replace(output)


def explained(exit_code: int | None) -> str:
    """Why a kernel is gone, from how its process ended.

    >>> explained(-9)
    'its kernel was killed (SIGKILL: by hand, or by the system when memory ran out)'
    """
    if exit_code is None:
        return "its kernel died"
    if exit_code >= 0:
        return f"its kernel ended by itself (status {exit_code})"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if name == "SIGKILL":
        return "its kernel was killed (SIGKILL: by hand, or by the system when memory ran out)"
    return f"its kernel was ended by {name}"


def plain(text: str) -> str:
    """One line without the colours of a traceback."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def _cpu_seconds() -> float:
    """Of this process and of all that it has started and seen end."""
    used = psutil.Process().cpu_times()
    return float(used.user + used.system + used.children_user + used.children_system)


def _send_standard_error_to(log: Path) -> None:
    """What kernels print of themselves belongs into a file and not between the verdicts."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 2)
    os.close(descriptor)
