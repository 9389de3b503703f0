"""Faults of runs: what is sent, in which order and when (F2), whose it is (F5), and how a failure ends (F6)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from netra_probe.lab.shared.faults import PartFault, register

#: Longer than an interface waits for a first sign, and for the next event.
LATE, VERY_LATE = 1.6, 3.6
#: Runs that are told of their failure within a second.
TOLD = 3


class EventFault(PartFault):
    """A fault of the backend's events: a subclass of one healthy part takes its place."""

    layer = "events"
    part = "UserWebSocketEmitter"


@register
class NoPartialResults(EventFault):
    """The pieces of an answer are worked out and never sent."""

    id = "flow-events-no-partial-results"
    title = "partial results are never sent"
    breaks = "each of the seven events of a run is sent"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Silent(healthy):  # type: ignore[misc]
            async def notify_partial_result(self, agent_name: str, content: str, **extra: Any) -> None:
                if not fault.does_wrong():
                    await super().notify_partial_result(agent_name, content, **extra)

        return Silent


@register
class NoParameters(EventFault):
    """``tool_executing`` names its tool and not what it is called with."""

    id = "flow-events-no-parameters"
    title = "tool_executing comes without its parameters"
    breaks = "each event carries the fields of its payload"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Bare(healthy):  # type: ignore[misc]
            async def _emit(self, kind: str, agent_name: str, payload: dict[str, Any], **extra: Any) -> None:
                if kind == "tool_executing" and fault.does_wrong():
                    payload = {"tool_name": payload["tool_name"]}
                await super()._emit(kind, agent_name, payload, **extra)

        return Bare


@register
class ThinksFirst(EventFault):
    """The start of a run is announced behind its first thought."""

    id = "flow-events-thinks-first"
    title = "agent_thinking comes before agent_started"
    breaks = "the events of a run come in their order"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Hasty(healthy):  # type: ignore[misc]
            _held: tuple[str, dict[str, Any]] | None = None

            async def _emit(self, kind: str, agent_name: str, payload: dict[str, Any], **extra: Any) -> None:
                if kind == "agent_started" and fault.does_wrong():
                    self._held = (agent_name, payload)
                    return
                await super()._emit(kind, agent_name, payload, **extra)
                if self._held is not None:
                    held, self._held = self._held, None
                    await super()._emit("agent_started", *held)

        return Hasty


class Slow(EventFault):
    """One kind of event comes late, once in a run."""

    kinds: ClassVar[str]
    seconds: ClassVar[float]

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Late(healthy):  # type: ignore[misc]
            _was_late = False

            async def _emit(self, kind: str, agent_name: str, payload: dict[str, Any], **extra: Any) -> None:
                if kind == fault.kinds and not self._was_late and fault.does_wrong():
                    self._was_late = True
                    await asyncio.sleep(fault.seconds)
                await super()._emit(kind, agent_name, payload, **extra)

        return Late


@register
class LateFirstSign(Slow):
    """A run begins at once and says so only after a while: the user sends the question again."""

    id = "flow-events-late-first-sign"
    title = "agent_started comes late"
    breaks = "a first sign of a run comes at once"
    kinds, seconds = "agent_started", LATE


@register
class LongPause(Slow):
    """Nothing comes for a long time between the last tool and the first piece of the answer."""

    id = "flow-events-long-pause"
    title = "a run is silent for a long time in the middle"
    breaks = "something comes while a run goes on"
    kinds, seconds = "partial_result", VERY_LATE


@register
class LateElsewhere(EventFault):
    """What the first backend works on comes late to connections at the second one."""

    id = "flow-events-late-elsewhere"
    title = "events come late on connections at the second backend"
    breaks = "events come in time wherever their user is connected"
    part = "WebSocketSession"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Lagging(healthy):  # type: ignore[misc]
            async def _deliver(self, batch: Sequence[Any]) -> None:
                starts = any(entry.event.get("type") == "agent_started" for entry in batch)
                if starts and self.services.settings.name == "backend-2" and fault.does_wrong():
                    await asyncio.sleep(LATE)
                await super()._deliver(batch)

        return Lagging


@register
class OneAtATime(EventFault):
    """A backend works on one run at a time, and takes a moment to go on to the next."""

    id = "flow-events-one-at-a-time"
    title = "a backend works on one run at a time"
    breaks = "first signs come in time for many users at once"
    part = "AgentExecution"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, turn = self, asyncio.Lock()

        class Queue(healthy):  # type: ignore[misc]
            async def run(self, context: Any, task: Any) -> None:
                waits = turn.locked() and fault.does_wrong()
                async with turn:
                    if waits:
                        await asyncio.sleep(LATE)
                    await super().run(context, task)

        return Queue


# Several agents at once (F5)


@register
class LatestRun(EventFault):
    """Events are sent as those of the run that their user has begun last."""

    id = "flow-agents-latest-run"
    title = "an event carries the id of its user's latest run"
    breaks = "each event names the run that it is of"
    checkers = ("C4",)

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, latest = self, dict[str, str]()

        class Latest(healthy):  # type: ignore[misc]
            def _event(self, kind: str, agent_name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
                event: dict[str, Any] = super()._event(kind, agent_name, payload)
                user, run = self.context.user_id, self.context.run_id
                if kind == "agent_started":
                    latest[user] = run
                if latest.get(user, run) != run and fault.does_wrong():
                    event["run_id"] = latest[user]
                return event

        return Latest


# Failures of runs (F6)


@register
class BareError(EventFault):
    """A run that fails says that it has failed, and nothing else."""

    id = "flow-failure-bare-error"
    title = "errors of runs name neither code nor remedy"
    breaks = "a failed run tells its user why, and what to do"
    part = "AgentExecution"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Terse(healthy):  # type: ignore[misc]
            async def _close(self, data: Any, emitter: Any, *, status: str, code: str, message: str) -> None:
                told = ("", "Error.") if fault.does_wrong() else (code, message)
                await super()._close(data, emitter, status=status, code=told[0], message=told[1])

        return Terse


@register
class ToolFailureHidden(EventFault):
    """A tool that fails is shown like one that has done its work."""

    id = "flow-failure-tool-hidden"
    title = "a failed tool is shown as successful"
    breaks = "a failed tool is shown as failed"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Hiding(healthy):  # type: ignore[misc]
            async def notify_tool_completed(
                self, agent_name: str, tool_name: str, result: Any, *, success: bool = True, **extra: Any
            ) -> None:
                shown = success or fault.does_wrong()
                await super().notify_tool_completed(agent_name, tool_name, result, success=shown, **extra)

        return Hiding


@register
class EndlessRun(EventFault):
    """A run may take as long as it likes."""

    id = "flow-failure-endless"
    title = "a run that hangs is never ended"
    breaks = "a run that takes longer than its limit is ended, and its user is told"
    part = "AgentRegistry"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Patient(healthy):  # type: ignore[misc]
            def _end_overdue(self, task: Any) -> None:
                if not fault.does_wrong():
                    super()._end_overdue(task)

        return Patient


@register
class TakesOthersAlong(EventFault):
    """A run that fails ends all runs of its process, as an exception in a task group does."""

    id = "flow-failure-takes-others-along"
    title = "a failed run ends all others of its process"
    breaks = "a run that fails ends by itself"
    part = "AgentExecution"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Grouped(healthy):  # type: ignore[misc]
            async def _close(self, data: Any, emitter: Any, **told: Any) -> None:
                mine = emitter.context.run_id
                tasks = {run: task for session in self._registry._busy.values() for run, task in session.tasks.items()}
                others = [task for run, task in tasks.items() if run != mine]
                if others and fault.does_wrong():
                    for task in others:
                        task.cancel()
                await super()._close(data, emitter, **told)

        return Grouped


@register
class Unannounced(EventFault):
    """The breaker in front of the model opens and closes, and nobody is told."""

    id = "flow-failure-unannounced"
    title = "an outage of the model is announced to nobody"
    breaks = "degradation and recovery are announced to everybody who is connected"
    part = "ModelBreaker"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Quiet(healthy):  # type: ignore[misc]
            def __init__(self, announce: Any, **extra: Any) -> None:
                super().__init__(lambda event: None if fault.does_wrong() else announce(event), **extra)

        return Quiet


@register
class StaysOpen(EventFault):
    """A breaker that has opened never tries again."""

    id = "flow-failure-breaker-stays-open"
    title = "the breaker stays open when the model is back"
    breaks = "the platform recovers by itself when a dependency is back"
    part = "ModelBreaker"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Stuck(healthy):  # type: ignore[misc]
            @property
            def state(self) -> str:
                found = str(super().state)
                return "open" if found == "half open" and fault.does_wrong() else found

        return Stuck


@register
class FewAreTold(EventFault):
    """Of the runs that fail within a second only the first three are told of it."""

    id = "flow-failure-few-are-told"
    title = "of many runs that fail at once a few get their error"
    breaks = "each run that fails gets an error event of its own"
    part = "AgentExecution"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, told = self, list[float]()

        class Throttled(healthy):  # type: ignore[misc]
            async def _close(self, data: Any, emitter: Any, **words: Any) -> None:
                now = time.monotonic()
                told[:] = [moment for moment in told if moment > now - 1.0]
                if len(told) < TOLD or not fault.does_wrong():
                    told.append(now)
                    await super()._close(data, emitter, **words)
                else:
                    emitter.close()

        return Throttled
