"""One notebook through papermill, in a process of its own."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the execution of a notebook ended: ``completed``, or why not."""

    id: str
    status: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker needs to execute one notebook; it can be sent to another process."""

    id: str
    source: Path
    output: Path
    parameters: dict[str, Any]
    variables: dict[str, str]
    timeout: int
    log: Path


def execute(order: Order) -> Execution:
    """Execute one notebook; whatever happens to it is a value, so that the other notebooks go on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nbclient.exceptions
        import papermill
        from papermill.exceptions import PapermillException, PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    os.environ.update(order.variables)
    _send_standard_error_to(order.log)
    partial = order.output.with_name(order.output.name + ".partial.ipynb")
    status, reason = "completed", ""
    try:
        papermill.execute_notebook(
            str(order.source),
            str(partial),
            parameters=order.parameters,
            kernel_name="python3",
            progress_bar=False,
            cwd=str(order.source.parent),
            execution_timeout=order.timeout,
            start_timeout=60,
        )
    except PapermillExecutionError as error:
        status, reason = "failed", f"cell {error.exec_count} raised {error.ename}: {error.evalue}"
    except nbclient.exceptions.DeadKernelError:
        status, reason = "died", "its kernel died"
    except nbclient.exceptions.CellTimeoutError:
        status, reason = "timed out", f"a cell took longer than {order.timeout} s"
    except (PapermillException, OSError, ValueError, RuntimeError) as error:
        status, reason = "failed", f"{type(error).__name__}: {error}"
    if partial.exists():
        partial.replace(order.output)
    return Execution(id=order.id, status=status, reason=reason)


def _send_standard_error_to(log: Path) -> None:
    """What kernels print of themselves belongs into a file and not between the verdicts."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 2)
    os.close(descriptor)
