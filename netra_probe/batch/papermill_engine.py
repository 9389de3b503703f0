"""papermill's engine, with an eye on the kernel: what it took, and how it ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine
from papermill.log import logger

#: Seconds between two saves of a notebook that is being executed.
SAVE_SECONDS = 3.0
#: What a path of sockets may have in characters so that numbers fit behind it: systems allow 104 to 108 in all.
LONGEST = 96


@dataclass(kw_only=True)
class Kernel:
    """What is known of a kernel once its notebook is over.

    Arguments:
        exit_code: of its process, when that ended before it was asked to; negative for a signal.
        memory_mb: the most that it has held; Linux only, 0 elsewhere.
    """

    exit_code: int | None = None
    memory_mb: int = 0


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Executes the cells, and looks at the kernel before it is gone."""

    def papermill_execute_cells(self) -> None:
        WatchedEngine.kernel = kernel = Kernel()
        try:
            super().papermill_execute_cells()
        except DeadKernelError:
            kernel.exit_code = self._process().returncode
            raise
        finally:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                kernel.memory_mb = _most_memory(self._process().pid)

    def create_kernel_manager(self) -> Any:
        """A manager that talks to its kernel over sockets of files.

        Ports are chosen before the kernel takes them. Where many kernels start on one machine somebody else takes one
        of them now and then, and the kernel dies of it.
        """
        manager = super().create_kernel_manager()
        # The file that says how to reach the kernel, and holds the key to it, goes with the folder.
        manager.connection_file = f"{WatchedEngine.sockets}.json"
        if len(WatchedEngine.sockets) <= LONGEST:
            manager.transport, manager.ip = "ipc", WatchedEngine.sockets
        return manager

    def _process(self) -> Any:
        return getattr(self.km.provisioner, "process", None)


class WatchedEngine(NBClientEngine):  # type: ignore[misc]
    """``papermill.execute_notebook(…, engine_name="netra-probe")``; ``kernel`` is the one of the last notebook."""

    kernel: ClassVar[Kernel | None] = None
    #: What the paths of the next kernel's sockets begin with.
    sockets: ClassVar[str] = ""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, start_timeout: int = 60, execution_timeout: int | None = None, **kwargs: Any
    ) -> Any:
        """Execute the cells in a kernel that is watched."""
        kwargs.pop("input_path", None)
        limits: dict[str, Any] = {"timeout": execution_timeout, "startup_timeout": start_timeout}
        # A kernel whose cells are done has nothing more to do, and half a second to say so.
        limits["shutdown_kernel"] = "immediate"
        with _saved_now_and_then(nb_man):
            return _Client(nb_man, kernel_name=kernel_name, log=logger, **limits, **kwargs).execute()


@contextlib.contextmanager
def _saved_now_and_then(nb_man: Any) -> Iterator[None]:
    """Let the notebook be saved every few seconds, instead of twice for each cell; papermill saves it at the end."""
    save, saved = nb_man.save, time.monotonic()

    def save_if_due(**options: Any) -> None:
        nonlocal saved
        if time.monotonic() - saved >= SAVE_SECONDS:
            save(**options)
            saved = time.monotonic()

    nb_man.save = save_if_due
    try:
        yield
    finally:
        del nb_man.save


def _most_memory(pid: int) -> int:
    """Megabytes, as the Linux kernel has counted them."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), 0)
