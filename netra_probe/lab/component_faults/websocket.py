"""Faults of the WebSocket core (E4), beside the published ones of the layer ``websocket``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.websockets import WebSocketDisconnect

from netra_probe.lab.shared.faults import PartFault, register
from netra_probe.lab.shared.isolated_environment import get_env

LAST_EVENTS = frozenset({"agent_completed", "final_report", "agent_error"})


class WebSocketFault(PartFault):
    """A fault of one part of the WebSocket core: a subclass of the healthy part takes its place."""

    layer = "websocket"


# Area a: delivery to the right user


@register
class ConnectionDecides(WebSocketFault):
    """An event goes to whoever has the connection that it names, whatever its user."""

    id = "websocket-connection-decides"
    title = "an event goes to the owner of the connection it names"
    breaks = "an event that names another user's connection is refused"
    part = "WebSocketEventRouter"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class ByConnection(healthy):  # type: ignore[misc]
            async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
                owner = self._owners.get(connection_id, user_id)
                reader = owner if owner != user_id and fault.does_wrong() else user_id
                cursor: int = await super().route_event(reader, connection_id, event)
                return cursor

        return ByConnection


# Area b: order


@register
class NumberBeforeKept(WebSocketFault):
    """An event's number is used up before the event is kept, so that a retry leaves a gap."""

    id = "websocket-number-before-kept"
    title = "a number is used up by an event that was not kept"
    breaks = "events of a run are numbered without a gap"
    part = "UserWebSocketEmitter"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Early(healthy):  # type: ignore[misc]
            async def _send(self, event: Mapping[str, Any]) -> None:
                try:
                    await super()._send(event)
                except Exception:
                    self._seq += fault.does_wrong()
                    raise

        return Early


# Area c: the life of a connection


@register
class VanishedKept(WebSocketFault):
    """A connection that ends without a closing handshake stays in the books of its process."""

    id = "websocket-vanished-kept"
    title = "a connection that vanished is kept"
    breaks = "a connection is forgotten however it ends"
    checkers = ("C10", "C14")
    part = "WebSocketSession"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Kept(healthy):  # type: ignore[misc]
            _vanished = False

            async def _read(self) -> None:
                try:
                    await super()._read()
                except WebSocketDisconnect as end:
                    self._vanished = end.code in (1005, 1006)
                    raise

            async def run(self) -> None:
                await super().run()
                if self._vanished and fault.does_wrong():
                    self.services.hub.add(self._subscription)

        return Kept


# Area d: the five critical events


@register
class ThinkingLeftOut(WebSocketFault):
    """After its first run the second backend no longer tells what its agents think."""

    id = "websocket-thinking-left-out"
    title = "agent_thinking is left out on one backend from the second run on"
    breaks = "each run has the five events on which a user's view is built"
    part = "UserWebSocketEmitter"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, told = self, set[str]()
        elsewhere = get_env().get("BACKEND_NAME") in (None, "backend-1")

        class Quiet(healthy):  # type: ignore[misc]
            async def notify_agent_thinking(self, *words: Any, **more: Any) -> None:
                told.add(self.context.run_id)
                if elsewhere or len(told) == 1 or not fault.does_wrong():
                    await super().notify_agent_thinking(*words, **more)

        return Quiet


@register
class GoesOnAfterError(WebSocketFault):
    """A run that was told to have failed goes on telling events."""

    id = "websocket-goes-on-after-error"
    title = "events come after agent_error"
    breaks = "a run that failed ends with agent_error"
    part = "UserWebSocketEmitter"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Open(healthy):  # type: ignore[misc]
            async def notify_agent_error(self, *words: Any, **more: Any) -> None:
                await super().notify_agent_error(*words, **more)
                self._finished = not fault.does_wrong()

        return Open


# Area e: whose connections are which


@register
class TabsShare(WebSocketFault):
    """The tabs of a user get the events of a run in turn, and only its last ones all of them."""

    id = "websocket-tabs-share"
    title = "the tabs of a user share the events among them"
    breaks = "each connection of a user gets each event of the user"
    part = "WebSocketSession"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class InTurn(healthy):  # type: ignore[misc]
            async def _deliver(self, batch: Sequence[Any]) -> None:
                await super()._deliver([entry for entry in batch if self._is_mine(entry)])
                self._subscription.cursor = batch[-1].cursor

            def _is_mine(self, entry: Any) -> bool:
                readers = sorted(reader.connection_id for reader in self.services.hub.of_user(self.principal.user_id))
                if entry.event["type"] in LAST_EVENTS or self.connection_id not in readers or len(readers) == 1:
                    return True
                turn = readers[entry.cursor % len(readers)]
                return turn == self.connection_id or not fault.does_wrong()

        return InTurn


@register
class MappingKept(WebSocketFault):
    """A connection that was closed stays in the registry that all backends share."""

    id = "websocket-mapping-kept"
    title = "a closed connection stays in the shared registry"
    breaks = "the registry names the connections that there are"
    part = "WebSocketEventRouter"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Kept(healthy):  # type: ignore[misc]
            async def unregister_connection(self, user_id: str, connection_id: str) -> None:
                if not fault.does_wrong():
                    await super().unregister_connection(user_id, connection_id)
                self._owners.pop(connection_id, None)

        return Kept
