"""Word to the backend about what happened to a user: over HTTP, with this service's credentials, never in the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import httpx

log = logging.getLogger(__name__)


class AuthEvents:
    """Posts ``{"event", "user_id"}`` to the first backend that takes it. Nothing here delays or fails a login."""

    def __init__(
        self, *, client: httpx.AsyncClient, urls: Sequence[str], service_id: str, service_secret: Callable[[], str]
    ) -> None:
        self._client = client
        self._urls = tuple(urls)
        self._service_id = service_id
        self._service_secret = service_secret
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, event: str, user_id: str) -> None:
        """Send an event in the background."""
        if not self._urls:
            return
        task = asyncio.create_task(self._send({"event": event, "user_id": user_id}))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, body: dict[str, str]) -> None:
        headers = {"X-Service-ID": self._service_id, "X-Service-Secret": self._service_secret()}
        for url in self._urls:
            try:
                answer = await self._client.post(url, json=body, headers=headers)
            except httpx.HTTPError as error:
                log.warning("event %s was not taken by one backend: %s", body["event"], type(error).__name__)
                continue
            if answer.is_success:
                return
