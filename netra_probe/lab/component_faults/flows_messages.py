"""Faults of the format of messages: what is understood of a client's, and how events are written (F7)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

from netra_probe.lab.shared.faults import PartFault, register


class FormatFault(PartFault):
    """A fault of messages: a subclass of one healthy part of the backend takes its place."""

    layer = "messages"
    part = "UserWebSocketEmitter"


@register
class TextUnread(FormatFault):
    """What a client sends as ``payload.text`` is acknowledged and read by nobody."""

    id = "flow-format-text-unread"
    title = "payload.text is not read"
    breaks = "what a user writes reaches the backend by every accepted spelling"
    part = "ClientMessages"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Blind(healthy):  # type: ignore[misc]
            async def start_run(self, session: Any, message: Any) -> None:
                only = {"content", "message", "user_request"}.isdisjoint(message.payload)
                if only and "text" in message.payload and fault.does_wrong():
                    await self.acknowledge(session, message)
                    return
                await super().start_run(session, message)

        return Blind


@register
class OtherEnvelope(FormatFault):
    """Every second piece of an answer comes in ``data``, as an older emitter wrote it; all else in ``payload``."""

    id = "flow-format-other-envelope"
    title = "every second partial_result has its body in data"
    breaks = "each kind of event has one envelope"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, pieces = self, itertools.count()

        class Older(healthy):  # type: ignore[misc]
            def _event(self, kind: str, agent_name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
                event: dict[str, Any] = super()._event(kind, agent_name, payload)
                if kind == "partial_result" and next(pieces) % 2 and fault.does_wrong():
                    event["data"] = event.pop("payload")
                return event

        return Older


@register
class Unawaited(FormatFault):
    """A report names a coroutine that nobody awaited, as text."""

    id = "flow-format-unawaited"
    title = "the text of an un-awaited coroutine stands in a report"
    breaks = "no field contains the text of an object of the program"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        async def summary() -> None:
            """What should have been awaited."""

        class Forgetful(healthy):  # type: ignore[misc]
            async def notify_final_report(self, agent_name: str, report: Mapping[str, Any]) -> None:
                if fault.does_wrong():
                    waiting = summary()
                    report = {**report, "summary": str(waiting)}
                    waiting.close()
                await super().notify_final_report(agent_name, report)

        return Forgetful


@register
class NotANumber(FormatFault):
    """The load of a backend is sent along with an answer, and is no number as soon as several runs go on."""

    id = "flow-format-not-a-number"
    title = "a field says NaN under load"
    breaks = "no field contains the text of a missing value, under load either"
    several: ClassVar[int] = 4

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, running = self, set[str]()

        class Loaded(healthy):  # type: ignore[misc]
            async def notify_agent_started(self, agent_name: str, *, message: str, **extra: Any) -> None:
                running.add(self.context.run_id)
                await super().notify_agent_started(agent_name, message=message, **extra)

            async def notify_agent_completed(self, agent_name: str, result: str, **extra: Any) -> None:
                if len(running) >= fault.several and fault.does_wrong():
                    extra["load"] = "NaN"
                running.discard(self.context.run_id)
                await super().notify_agent_completed(agent_name, result, **extra)

        return Loaded
