"""papermill's engine, with an eye on the kernel: what it took, and how it ended."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.log import logger

#: Seconds between two saves of a notebook that is being executed.
SAVE_SECONDS = 3.0
#: What a path of sockets may have in characters so that numbers fit behind it: systems allow 104 to 108 in all.
LONGEST = 96


@dataclass(kw_only=True)
class Kernel:
    """A kernel: where it is to be met, and what is known of it once its notebook is over.

    Arguments:
        sockets: what the paths of its sockets begin with.
        exit_code: of its process, when that ended before it was asked to; negative for a signal.
        memory_mb: the most that it has held; Linux only, 0 elsewhere.
    """

    sockets: str
    exit_code: int | None = None
    memory_mb: int = 0


class _Manager(NotebookExecutionManager):  # type: ignore[misc]
    """Saves the notebook every few seconds, instead of twice for each cell, and at its end."""

    saved = -math.inf

    def save(self, **options: Any) -> None:
        if self.end_time is not None or time.monotonic() - self.saved >= SAVE_SECONDS:
            super().save(**options)
            self.saved = time.monotonic()


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Executes the cells, and looks at the kernel before it is gone."""

    def __init__(self, manager: _Manager, kernel: Kernel, **options: Any) -> None:
        super().__init__(manager, **options)
        self.watched = kernel

    def papermill_execute_cells(self) -> None:
        try:
            super().papermill_execute_cells()
        except DeadKernelError:
            self.watched.exit_code = self._process().returncode
            raise
        finally:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                self.watched.memory_mb = _most_memory(self._process().pid)

    def create_kernel_manager(self) -> Any:
        """A manager that talks to its kernel over sockets of files.

        Ports are chosen before the kernel takes them. Where many kernels start on one machine somebody else takes one
        of them now and then, and the kernel dies of it.
        """
        manager = super().create_kernel_manager()
        # The file that says how to reach the kernel, and holds the key to it, goes with the folder.
        manager.connection_file = f"{self.watched.sockets}.json"
        if len(self.watched.sockets) <= LONGEST:
            manager.transport, manager.ip = "ipc", self.watched.sockets
        return manager

    def _process(self) -> Any:
        return getattr(self.km.provisioner, "process", None)


class WatchedEngine(NBClientEngine):  # type: ignore[misc]
    """``papermill.execute_notebook(…, engine_name="netra-probe", kernel=Kernel(…))``."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, *, output_path: str, kernel: Kernel, **options: Any) -> Any:
        """Execute the cells in a kernel that is watched."""
        manager = _Manager(nb, output_path=output_path, progress_bar=False)
        # A kernel whose cells are done has nothing more to do, and half a second to say so.
        limits = {"timeout": options["execution_timeout"], "startup_timeout": options["start_timeout"]}
        manager.notebook_start()
        try:
            _Client(
                manager, kernel, kernel_name=kernel_name, log=logger, shutdown_kernel="immediate", **limits
            ).execute()
        finally:
            manager.notebook_complete()
        return manager.nb


def _most_memory(pid: int) -> int:
    """Megabytes, as the Linux kernel has counted them."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), 0)
