"""What functions share that are carried out on an AgentRegistry in a process of its own (``probe.apart``).

    async def act(*classes):
        agents = furnished(*classes)
        agent = await agents.made("alice", "run-1")
        await agent.equipment.emitter.notify_agent_thinking("worker", "…", step_number=1)
        return {"events": len(agents.sent("alice"))}

    seen = await probe.apart(act, *CLASSES)

Registry, factory, contexts, emitters, dispatchers and the tool engine are the classes under investigation; the box that
events go into, the data and the agents are the probe's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from netra_probe.clients.component_fakes import EventSink, FakeDataAccess
from netra_probe.clients.component_signature import accepts, signature_of

#: The classes that an act is called with, in the order in which ``furnished`` takes them.
CLASSES = (
    "AgentRegistry",
    "AgentInstanceFactory",
    "UserExecutionContext",
    "UserWebSocketEmitter",
    "UnifiedToolDispatcher",
    "ToolExecutionEngine",
)
#: What a registry is told of its limits where an act says nothing else.
LIMITS = {"concurrent_runs": 10, "run_seconds": 30.0, "cancel_seconds": 5.0}
#: Seconds after which something that should happen has not.
PATIENCE = 5.0


class Worker:
    """An agent that does nothing of itself, and counts how often it was cleaned up."""

    name = "worker"

    def __init__(self, context: Any, equipment: Any) -> None:
        self.context = context
        self.equipment = equipment
        self.cleaned = 0

    async def think(self, step: int) -> None:
        """Say something through one's emitter."""
        await self.equipment.emitter.notify_agent_thinking(self.name, "…", step_number=step)

    async def cleanup(self) -> None:
        """Give back one's tools."""
        self.cleaned += 1
        await self.equipment.tools.cleanup()


@dataclass(frozen=True, kw_only=True)
class Furnished:
    """A registry and its factory, and the box into which all emitters send."""

    registry: Any
    factory: Any
    contexts: Any
    sink: EventSink

    def context(self, user: str, run: str, **more: Any) -> Any:
        """A context of the user's, in the user's one thread where nothing else is said."""
        return self.contexts.from_request(**{"user_id": user, "thread_id": f"thread-of-{user}", "run_id": run, **more})

    async def made(self, user: str, run: str, agent: str = Worker.name, *, emitter: Any = None, **more: Any) -> Any:
        """An agent for a run of the user's, entered in the registry."""
        shared = {} if emitter is None else {"emitter": emitter}
        return await self.registry.create_agent_for_user(user, agent, self.context(user, run, **more), **shared)

    def launch(self, user: str, run: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have the registry carry a run of the user's."""
        task: asyncio.Task[None] = self.registry.launch(self.context(user, run), work)
        return task

    def sent(self, user: str) -> list[Mapping[str, Any]]:
        """The events that were addressed to a user, in order."""
        return [letter.event for letter in self.sink.letters if letter.user_id == user]


def furnished(
    AgentRegistry: Any,
    AgentInstanceFactory: Any,
    UserExecutionContext: Any,
    UserWebSocketEmitter: Any,
    UnifiedToolDispatcher: Any,
    ToolExecutionEngine: Any,
    *,
    agents: Mapping[str, type[Any]] | None = None,
    tools: Iterable[Any] = (),
    emitter_of: Callable[[Any, Any], Any] = lambda context, make: make(),
    **limits: Any,
) -> Furnished:
    """A registry over a factory over one box for events; each is given of this what its constructor takes.

    Arguments:
        agents: name → class; a ``Worker`` where nothing is said.
        emitter_of: called with a context and with what makes the emitter for it.
        limits: as in ``LIMITS``.
    """
    sink, data = EventSink(), FakeDataAccess()
    factory = _made(
        AgentInstanceFactory,
        agents=dict(agents or {Worker.name: Worker}),
        tools=tuple(tools),
        engine=ToolExecutionEngine(data),
        data_access=data,
        make_emitter=lambda context: emitter_of(context, lambda: UserWebSocketEmitter(context, sink, None)),
        make_model=lambda context: SimpleNamespace(user_context=context),
        dispatcher=UnifiedToolDispatcher,
    )
    registry = _made(AgentRegistry, factory, limits=SimpleNamespace(**{**LIMITS, **limits}))
    return Furnished(registry=registry, factory=factory, contexts=UserExecutionContext, sink=sink)


async def came(act: Callable[..., Any] | Awaitable[Any], *arguments: Any, text: bool = False) -> str:
    """``done``, or ``refused`` where a call or what was awaited raised (with what it says, where asked for).

    That a class has no such method, or takes other arguments, is no refusal and raised.
    """
    try:
        async with asyncio.timeout(2 * PATIENCE):
            outcome = act(*arguments) if callable(act) else act
            if isinstance(outcome, Awaitable):
                await outcome
    except (AttributeError, TypeError):
        raise
    except TimeoutError:
        return "no end"
    except (Exception, asyncio.CancelledError) as error:
        return f"refused: {error}" if text else "refused"
    return "done"


async def until(condition: Callable[[], bool]) -> None:
    """Give others turns until something is so; it is an error that it does not become so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def _made(component: Any, *first: Any, **offers: Any) -> Any:
    signature = signature_of(component)
    return component(*first, **{name: offer for name, offer in offers.items() if accepts(signature, name)})
