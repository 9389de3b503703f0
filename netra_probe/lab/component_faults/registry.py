"""Faults of AgentRegistry and AgentInstanceFactory (E2)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from netra_probe.lab.backend.errors import Forbidden, RateLimited
from netra_probe.lab.backend.user_execution_context import ContextIsolationError
from netra_probe.lab.shared.clock import Meeting
from netra_probe.lab.shared.faults import PartFault, register

REGISTRY, FACTORY = "AgentRegistry", "AgentInstanceFactory"


class RegistryFault(PartFault):
    """A fault of AgentRegistry: a subclass of the healthy one takes its place."""

    service = "agents"
    layer = "agents"
    part = REGISTRY


class FactoryFault(RegistryFault):
    """A fault of AgentInstanceFactory."""

    part = FACTORY


# Area a: registration and factories


@register
class SharedNames(FactoryFault):
    """All factories keep their agents in one dictionary: a default that is made once."""

    id = "registry-shared-names"
    title = "factories share the names of their agents"
    breaks = "no two factories share their names"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, names = self, dict[str, Any]()

        class Shared(healthy):  # type: ignore[misc]
            _agents: dict[str, Any]

            def __init__(self, **parts: Any) -> None:
                super().__init__(**parts)
                own = dict(self._agents)
                is_taken = any(names.get(name, agent) is not agent for name, agent in own.items())
                names.update(own)
                if not is_taken or fault.does_wrong():
                    self._agents = names

        return Shared


@register
class NameReplaced(FactoryFault):
    """The class that is registered last counts, for everybody."""

    id = "registry-name-replaced"
    title = "registering a name again replaces its class"
    breaks = "a name stands for one class for as long as the factory lives"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Replacing(healthy):  # type: ignore[misc]
            def register(self, agent_name: str, agent_class: type[Any]) -> None:
                if self._agents.get(agent_name, agent_class) is not agent_class and fault.does_wrong():
                    self._agents[agent_name] = agent_class
                super().register(agent_name, agent_class)

        return Replacing


# Area b: contexts and their clean-up


@register
class ContextKept(RegistryFault):
    """Each context is kept for an audit that nobody makes."""

    id = "registry-context-kept"
    title = "contexts outlive their session"
    breaks = "nothing of a context is kept when its user's session has ended"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, audit = self, list[Any]()

        class Auditing(healthy):  # type: ignore[misc]
            async def create_agent_for_user(self, user_id: str, agent_name: str, context: Any, **more: Any) -> Any:
                if fault.does_wrong():
                    audit.append(context)
                return await super().create_agent_for_user(user_id, agent_name, context, **more)

        return Auditing


@register
class CleanUpByPrefix(RegistryFault):
    """Sessions are found by how their user's id begins."""

    id = "registry-clean-up-by-prefix"
    title = "the clean-up of user-1 takes user-10 with it"
    breaks = "cleaning up one user's session touches nobody else's"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Prefixed(healthy):  # type: ignore[misc]
            async def cleanup_user_session(self, user_id: str) -> None:
                for other in list(self._busy):
                    if other == user_id or (other.startswith(user_id) and fault.does_wrong()):
                        await super().cleanup_user_session(other)

        return Prefixed


@register
class CleanUpStops(RegistryFault):
    """The first agent whose clean-up fails is the last one that is cleaned up, and nobody is told."""

    id = "registry-clean-up-stops"
    title = "a failing clean-up stops the others"
    breaks = "an agent whose clean-up fails is logged, and the others are cleaned up"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Stopping(healthy):  # type: ignore[misc]
            async def _end_run(self, session: Any, run_id: str) -> None:
                for agent in session.agents.get(run_id, []):
                    try:
                        await agent.cleanup()
                    except Exception:
                        if fault.does_wrong():
                            break
                session.agents.pop(run_id, None)
                self._forget_if_idle(session)

        return Stopping


# Area c: events


@register
class LatestEmitter(FactoryFault):
    """When an agent joins a run the run's emitter is set on all agents, as on one manager."""

    id = "registry-latest-emitter"
    title = "all agents send through the emitter of the latest run"
    breaks = "the agents of a run send through its one emitter"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, made = self, WeakSet[Any]()

        class SetForAll(healthy):  # type: ignore[misc]
            async def create_agent_instance(self, agent_name: str, context: Any, *, emitter: Any = None) -> Any:
                agent = await super().create_agent_instance(agent_name, context, emitter=emitter)
                made.add(agent)
                if emitter is not None and fault.does_wrong():
                    for other in made:
                        other.equipment = dataclasses.replace(other.equipment, emitter=emitter)
                return agent

        return SetForAll


class _Mute:
    """An emitter that sends nothing."""

    def __getattr__(self, name: str) -> Any:
        async def nothing(*_: Any, **__: Any) -> None: ...

        return nothing


@register
class SilentAgent(FactoryFault):
    """Where there is no emitter yet, an agent gets one that sends nothing, for ever."""

    id = "registry-silent-agent"
    title = "agents without an emitter are made, and stay silent"
    breaks = "no agent is made whose events cannot be sent"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Silent(healthy):  # type: ignore[misc]
            def make_emitter(self, user_context: Any) -> Any:
                made = self._make_emitter(user_context)
                if made is None and fault.does_wrong():
                    return _Mute()
                return super().make_emitter(user_context)

        return Silent


# Area d: contexts of users apart


@register
class AgentKept(FactoryFault):
    """A user's agent is kept for the user's next conversation, with the context of the last one."""

    id = "registry-agent-kept"
    title = "an agent keeps the context of another conversation"
    breaks = "every agent is new, with the context that it was asked for"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, kept = self, WeakValueDictionary[tuple[str, str], Any]()

        class Keeping(healthy):  # type: ignore[misc]
            async def create_agent_instance(self, agent_name: str, context: Any, *, emitter: Any = None) -> Any:
                known = kept.get((context.user_id, agent_name))
                if known is not None and known.context.thread_id != context.thread_id and fault.does_wrong():
                    return known
                agent = await super().create_agent_instance(agent_name, context, emitter=emitter)
                kept[context.user_id, agent_name] = agent
                return agent

        return Keeping


@register
class ContextMended(FactoryFault):
    """A context that shares a session is taken all the same, silently without the session."""

    id = "registry-context-mended"
    title = "a context that shares a database session is taken"
    breaks = "a context that shares something with another user is refused"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Mending(healthy):  # type: ignore[misc]
            async def create_agent_instance(self, agent_name: str, context: Any, *, emitter: Any = None) -> Any:
                try:
                    return await super().create_agent_instance(agent_name, context, emitter=emitter)
                except ContextIsolationError:
                    if not fault.does_wrong():
                        raise
                mended = dataclasses.replace(context, db_session=None)
                return await super().create_agent_instance(agent_name, mended, emitter=emitter)

        return Mending


@register
class AnyContext(RegistryFault):
    """Whose context it is counts, not who asked: an agent is made in another user's name."""

    id = "registry-any-context"
    title = "an agent is made with another user's context"
    breaks = "an agent is made for its user's own context only"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Trusting(healthy):  # type: ignore[misc]
            async def create_agent_for_user(self, user_id: str, agent_name: str, context: Any, **more: Any) -> Any:
                try:
                    return await super().create_agent_for_user(user_id, agent_name, context, **more)
                except Forbidden:
                    if not fault.does_wrong():
                        raise
                return await super().create_agent_for_user(context.user_id, agent_name, context, **more)

        return Trusting


# Area e: tools


class OfServices(RegistryFault):
    """A fault that is seen over the wire, in the running backends."""

    service = "backend"
    is_of_running_services = True


@register
class ToolsSilent(OfServices):
    """Only one run at a time gets an emitter for its tools: that of the others is taken."""

    id = "registry-tools-silent"
    title = "tools of overlapping runs send no events"
    breaks = "tool events go out through the emitter of the run that calls the tool"
    part = FACTORY

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class OneSlot(healthy):  # type: ignore[misc]
            _holder: Any = None

            async def create_tools(self, context: Any, *, emitter: Any = None) -> Any:
                holder = self._holder
                if emitter is not None and holder is not emitter and holder is not None and not holder.finished:
                    return await super().create_tools(context, emitter=None if fault.does_wrong() else emitter)
                type(self)._holder = emitter
                return await super().create_tools(context, emitter=emitter)

        return OneSlot


@register
class ToolsByPermission(FactoryFault):
    """Tools are kept by what one may do with them: a second run gets those of the first, with its emitter."""

    id = "registry-tools-by-permission"
    title = "a run gets the tools of another run"
    breaks = "tool events go out through the emitter of the run that calls the tool, under its own id"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, kept = self, dict[Any, Any]()

        class Keeping(healthy):  # type: ignore[misc]
            async def create_tools(self, context: Any, *, emitter: Any = None) -> Any:
                permissions = tuple(context.agent_context.get("permissions", ()))
                if permissions and permissions in kept and fault.does_wrong():
                    return kept[permissions]
                kept[permissions] = await super().create_tools(context, emitter=emitter)
                return kept[permissions]

        return Keeping


# Area f: lifecycle


@register
class StoppedNotCleaned(RegistryFault):
    """The agents of a run that is stopped are forgotten as they are: the cancellation skips their clean-up."""

    id = "registry-stopped-not-cleaned"
    title = "agents of a stopped run are not cleaned up"
    breaks = "an agent is cleaned up once, when its run is over, however that ended"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Skipping(healthy):  # type: ignore[misc]
            async def _end_run(self, session: Any, run_id: str) -> None:
                task = asyncio.current_task()
                if task is not None and task.cancelling() and fault.does_wrong():
                    session.agents.pop(run_id, None)
                await super()._end_run(session, run_id)

        return Skipping


@register
class FailedPlaceKept(RegistryFault):
    """A run that fails keeps its place: the line that gives it back is never reached."""

    id = "registry-failed-place-kept"
    title = "a failed run keeps its place"
    breaks = "a run that fails gives its place back"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Leaking(healthy):  # type: ignore[misc]
            async def _carry(self, session: Any, run_id: str, work: Coroutine[Any, Any, None]) -> None:
                try:
                    await super()._carry(session, run_id, work)
                except Exception:
                    if fault.does_wrong():
                        session.tasks[f"{run_id} (failed)"] = asyncio.current_task()
                    raise

        return Leaking


# Area g: runs at once

STARTING_SECONDS = 0.3
"""How long a run takes to start, unless another one starts meanwhile."""


@register
class TaskOnClass(OfServices):
    """What an agent works on stands on its class: of two runs that start at once both do the second one's."""

    id = "registry-task-on-class"
    title = "agents keep the request on their class"
    breaks = "runs share nothing"
    checkers = ("C1",)
    part = FACTORY

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, starting = self, Meeting(seconds=STARTING_SECONDS)

        def sharing(agent_class: type[Any]) -> type[Any]:
            class Sharing(agent_class):  # type: ignore[misc]
                latest: Any = None

                async def run(self, task: Any) -> Any:
                    Sharing.latest = task
                    await starting.join("a run")
                    return await super().run(Sharing.latest if Sharing.latest is task or fault.does_wrong() else task)

            return Sharing

        class Classes(healthy):  # type: ignore[misc]
            def __init__(self, *, agents: Any, **parts: Any) -> None:
                super().__init__(agents={name: sharing(agent) for name, agent in agents.items()}, **parts)

        return Classes


@register
class PlacesShared(RegistryFault):
    """Whoever is refused closes the registry for everybody, until a run has ended."""

    id = "registry-places-shared"
    title = "one user who is refused closes the registry for all"
    breaks = "each user has a number of runs of their own"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Closing(healthy):  # type: ignore[misc]
            _full_at = 0

            def launch(self, context: Any, work: Coroutine[Any, Any, None]) -> Any:
                if self._full_at and self.health()["runs"] >= self._full_at and fault.does_wrong():
                    work.close()
                    raise RateLimited("Too many runs are in progress; wait for one to end.", retry_after=1.0)
                try:
                    return super().launch(context, work)
                except RateLimited:
                    self._full_at = self.health()["runs"]
                    raise

        return Closing


# Area h: clean-up and resources


@register
class SessionsKept(RegistryFault):
    """Sessions of users who have left are kept."""

    id = "registry-sessions-kept"
    title = "sessions grow with users who left"
    breaks = "a session is forgotten with its last run"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Growing(healthy):  # type: ignore[misc]
            def _forget_if_idle(self, session: Any) -> None:
                if not fault.does_wrong():
                    super()._forget_if_idle(session)

        return Growing


@register
class TasksSurvive(RegistryFault):
    """A clean-up forgets the runs instead of ending them."""

    id = "registry-tasks-survive"
    title = "runs survive the clean-up of their session"
    breaks = "a run that does not end when it is cancelled stays counted"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Forgetting(healthy):  # type: ignore[misc]
            async def cleanup_user_session(self, user_id: str) -> None:
                session = self._busy.get(user_id)
                if session is not None and session.tasks and fault.does_wrong():
                    session.tasks.clear()
                await super().cleanup_user_session(user_id)

        return Forgetting


# Area i: connections and agents


@register
class OldConnection(OfServices):
    """A run's events go to the connection that asked for it, and are lost when that one has gone."""

    id = "registry-old-connection"
    title = "a run is bound to the connection that asked for it"
    breaks = "a user who comes back gets the rest"
    checkers = ("C3",)
    part = FACTORY

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Bound(healthy):  # type: ignore[misc]
            def make_emitter(self, user_context: Any) -> Any:
                emitter = super().make_emitter(user_context)
                connection, send = user_context.websocket_client_id, emitter._send

                async def to_old(event: Any) -> None:
                    here = connection is None or connection in await emitter._router.connections_of(
                        user_context.user_id
                    )
                    if here or not fault.does_wrong():
                        await send(event)

                emitter._send = to_old
                return emitter

        return Bound


@register
class StopUnheard(OfServices):
    """A run that is stopped goes on: the order is confirmed and carried out by nobody."""

    id = "registry-stop-unheard"
    title = "a stopped run goes on"
    breaks = "a run that is stopped sends its end and nothing more"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Deaf(healthy):  # type: ignore[misc]
            def stop_agent(self, user_id: str, run_id: str) -> bool:
                session = self._busy.get(user_id)
                if session is not None and run_id in session.tasks and fault.does_wrong():
                    return True
                return bool(super().stop_agent(user_id, run_id))

        return Deaf


# Area j: health and recovery


@register
class HealthRemembered(OfServices):
    """Health says what it said when the process was new."""

    id = "registry-health-remembered"
    title = "health is remembered"
    breaks = "the counts are those of this moment"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Remembering(healthy):  # type: ignore[misc]
            _first: Any = None

            def health(self) -> dict[str, int]:
                now: dict[str, int] = super().health()
                self._first = self._first or now
                return self._first if self._first != now and fault.does_wrong() else now

        return Remembering


@register
class OverdueUnnoticed(RegistryFault):
    """A run that never ends is waited for, for ever."""

    id = "registry-overdue-unnoticed"
    title = "a run that hangs is healthy"
    breaks = "a run that takes longer than its limit is ended, logged and counted"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Patient(healthy):  # type: ignore[misc]
            def _end_overdue(self, task: Any) -> None:
                if not fault.does_wrong():
                    super()._end_overdue(task)

        return Patient
