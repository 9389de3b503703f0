"""Work that is worth doing only while its client waits: a client that hangs up ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from netra_probe.lab.backend.errors import BackendError

T = TypeVar("T")


class ClientGone(BackendError):
    """The client hung up; nobody reads the answer that says so."""

    status = 499
    code = "CLIENT_CLOSED_REQUEST"


async def while_client_waits(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; when the client hangs up before, the work is cancelled where it stands.

    For reads, and for writes that are one transaction: what a cancelled transaction did is undone.

    Raises:
        ClientGone: the client has hung up, and the work has ended.
    """
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait((task,))
        if task.cancelled():
            raise ClientGone("The client hung up.")
        return task.result()
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _hang_up(request: Request) -> None:
    """Return when the client has closed the connection; its request has been read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
