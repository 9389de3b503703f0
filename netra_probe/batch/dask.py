"""An existing Dask cluster as the workers of a run."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from netra_probe.batch.execution import Execution, Order
from netra_probe.batch.executors import RemoteExecutor
from netra_probe.errors import ParameterError, TargetError

#: Seconds to wait for the scheduler to answer.
CONNECT_SECONDS = 10
#: Seconds without scheduler or workers after which nothing more is expected of a cluster; both may be restarted.
LOST_SECONDS = 15.0


class Cluster(RemoteExecutor):
    """The workers of a Dask scheduler, as the executor that its client offers."""

    def __init__(self, client: Any) -> None:
        # A notebook is no pure function: the second run of the same one is not the result of the first.
        super().__init__(client.get_executor(pure=False))
        self._client = client
        self._alive = time.monotonic()

    @property
    def jobs(self) -> int:
        """How many notebooks it can execute at a time."""
        return int(sum(self._client.nthreads().values()))

    def settle(self, order: Order, future: Future[Execution]) -> Execution:
        execution = super().settle(order, future)
        if execution.status == "died" and self._client.status != "running":
            return replace(execution, reason="the cluster's scheduler cannot be reached any more")
        return execution

    def trouble(self) -> str:
        """Why nothing more will come, once there has been no scheduler, or no worker, for a while."""
        if self._client.status == "running" and self._client.scheduler_info(n_workers=-1)["workers"]:
            self._alive = time.monotonic()
        if self._client.status != "closed" and time.monotonic() - self._alive < LOST_SECONDS:
            return ""
        gone = "workers" if self._client.status == "running" else "scheduler"
        return f"the cluster's {gone} cannot be reached any more"


@contextlib.contextmanager
def cluster(url: str) -> Iterator[Cluster]:
    """Connect to the scheduler at a URL such as ``tcp://10.0.0.5:8786`` for the block.

    Raises ParameterError without Dask, and TargetError when the scheduler does not answer or has no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ParameterError("--scheduler needs Dask: pip install -c requirements.lock -e '.[dask]'") from None
    # What it has to say of lost connections is said by us, once.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client: Any = Client(url, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise TargetError(
            f"--scheduler {url}: no Dask scheduler answers there ({type(error).__name__}); is it running, and is the "
            "URL right, as in tcp://host:8786?"
        ) from None
    try:
        found = Cluster(client)
        if not found.jobs:
            raise TargetError(f"--scheduler {url}: it has no workers; start some with `dask worker {url}`.")
        yield found
    finally:
        with contextlib.suppress(Exception):  # a client whose scheduler is gone may say so on closing
            client.close(timeout=2)
