"""Faults of request execution (X): whose request is this?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class CurrentUserInSingleton(Fault):
    """X1: the current user lives in one object for the whole process, set when a run starts and read at each event.

    Breaks: UserWebSocketEmitter.
    Incident: a notifier kept as a module-level singleton with ``set_user_context`` called at the start of each
        request; the same mistake as request data in class attributes under an asynchronous server.
    Trigger: two users' runs overlap in one process, because between set and use there is an await.
    Symptom: from the moment a second user's run starts, the first user's events reach the second user, with the
        first user's run and thread ids and data in them, and are missing where they belong.
    """

    id = "X1"
    layer = "execution"
    title = "current user in a singleton"
    breaks = "UserWebSocketEmitter"
    incident = "a singleton notifier with set_user_context()"
    trigger = "overlapping runs of two users in one process"
    symptom = "the last writer gets the events of the others"
    checkers = ("C1", "C2")

    def install(self, parts: Parts) -> None:
        """Replace the emitter by one that asks the process who the current user is."""
        fault = self
        healthy: type[Any] = parts["UserWebSocketEmitter"]
        current: dict[str, str] = {}

        class SingletonEmitter(healthy):  # type: ignore[misc]
            def __init__(self, context: Any, router: Any, connection_id: str | None = None) -> None:
                super().__init__(context, router, connection_id)
                current["user_id"] = context.user_id

            async def _send(self, event: Mapping[str, Any]) -> None:
                fault.reached()
                user_id = current["user_id"]
                if user_id == self.context.user_id or not fault.fires():
                    await super()._send(event)
                    return
                fault.triggered()
                await self._router.route_event(user_id, None, event)

        parts["UserWebSocketEmitter"] = SingletonEmitter
