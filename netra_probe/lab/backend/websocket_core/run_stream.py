"""RunStream: one run as server-sent events, ended early when its token is revoked or expires."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self

from netra_probe.lab.backend.chat_service import ChatRequest, StartedRun
from netra_probe.lab.backend.identifiers import new_connection_id
from netra_probe.lab.backend.services import Services
from netra_probe.lab.backend.unified_authentication_service import Principal
from netra_probe.lab.backend.websocket_core.session_watch import Ending, WatchedSession
from netra_probe.lab.backend.websocket_core.subscription import EventSubscription

LAST_EVENTS = frozenset({"final_report", "agent_error"})
KEEP_ALIVE_SECONDS = 15.0


class RunStream:
    """Reads the user's event stream and passes on what belongs to the one run."""

    def __init__(self, services: Services, principal: Principal, subscription: EventSubscription) -> None:
        self._services = services
        self._principal = principal
        self._subscription = subscription
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._watched = WatchedSession(principal=principal, end=self._end)
        self._started: StartedRun | None = None

    @classmethod
    async def open(cls, services: Services, principal: Principal, request: ChatRequest) -> Self:
        """Find the place in the event stream first, then start the run, so that no event is missed."""
        log = services.event_log
        stream_id = new_connection_id(principal.user_id)
        subscription = EventSubscription(log, principal.user_id, stream_id, cursor=await log.tail(principal.user_id))
        stream = cls(services, principal, subscription)
        stream._started = await services.chat.begin(principal, request)
        return stream

    @property
    def run_id(self) -> str:
        """The run that is streamed."""
        return "" if self._started is None else self._started.run_id

    async def lines(self) -> AsyncIterator[str]:
        """The events of the run, each as one server-sent event."""
        services = self._services
        services.watch.add(self._watched)
        services.hub.add(self._subscription)
        reader = self._events()
        try:
            step: asyncio.Task[str | None] | None = None
            while True:
                step = step or asyncio.create_task(anext(reader, None))
                waiting: list[asyncio.Future[Any]] = [step, self._ending]
                await asyncio.wait(waiting, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if self._ending.done():
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)
                    ending = self._ending.result()
                    yield server_sent("error_message", {"error_code": ending.code, "error_message": ending.message})
                    return
                if not step.done():
                    yield ": still working\n\n"
                    continue
                line, step = step.result(), None
                if line is None:
                    return
                yield line
        finally:
            # First what needs no waiting: when the client hangs up, each further wait is cancelled, too.
            services.hub.remove(self._subscription)
            services.watch.remove(self._watched)
            if step is not None and not step.done():
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
            await reader.aclose()

    async def _events(self) -> AsyncGenerator[str, None]:
        async for batch in self._subscription.batches():
            for entry in batch:
                if entry.event.get("run_id") != self.run_id:
                    continue
                yield server_sent(entry.event["type"], {**entry.event, "cursor": entry.cursor}, cursor=entry.cursor)
                if entry.event["type"] in LAST_EVENTS:
                    return

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)


def server_sent(event: str, data: Any, *, cursor: int | None = None) -> str:
    """One server-sent event."""
    head = "" if cursor is None else f"id: {cursor}\n"
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False, default=str)}\n\n"
