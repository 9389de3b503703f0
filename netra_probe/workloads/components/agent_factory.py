"""Agents made in this process, all by one factory: each with an emitter, tools, data and a model of its own user's."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx

from netra_probe.clients.component import Component, Returned
from netra_probe.clients.component_fakes import EventSink, FakeDataAccess, InMemoryCache
from netra_probe.forgery import REFUSED
from netra_probe.plans.tabs import QUESTION
from netra_probe.target.deployment import Mode
from netra_probe.workloads.components.fakes import (
    CountingModel,
    accepted_kwargs,
    begin,
    end,
    first_foreign,
    missing_of,
    own_context,
    settle,
    user_id_of,
)
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

FACTORY, MODEL = "AgentInstanceFactory", "LLMManager"
_AGENT = "probe_agent"
#: Where agents and what they work with keep the context that they were made for.
_CONTEXTS = ("context", "user_context", "_context", "_user_context")


class _IdleAgent:
    """An agent that shows what it was given, and does nothing with it."""

    name = _AGENT

    def __init__(self, context: Any, equipment: Any = None) -> None:
        self.context = context
        self.equipment = equipment


@workload(Mode.PROBE, "making agents", title="Agents in this process")
async def make_agents(probe: Investigation, users: Sequence[User] = (), *, rounds: int = 2) -> Outcome:
    """Have one ``AgentInstanceFactory`` in this process make agents for everybody at once, and let each ask its model.

    >>> await make_agents(probe)   # doctest: +SKIP
    Agents in this process (alice, bob, carol): 6 made, 6 isolated, 6 asked, 3 unknown, 3 refused

    An agent and everything that it is given must be its user's, and no two agents one and the same; the identical
    question to the platform's ``LLMManager`` gets an answer that nobody else was given. Recorded as attempts on the
    surface ``component``: ``checkers.tokens`` judges whose an agent, and an answer, is.
    """
    party = list(users) or probe.users
    contexts, factories = probe.component("UserExecutionContext"), probe.component(FACTORY)
    wanted = (factories, "__init__", ("agents", "make_emitter", "make_model"))
    if missing := missing_of((contexts, "from_request", ()), (factories, "create_agent_instance", ()), wanted):
        return Outcome(users=names(party), missing=missing)
    async with httpx.AsyncClient(transport=CountingModel(), base_url="http://model.invalid") as client:
        factory = _factory(probe, factories, client)
        if factory is None:
            return Outcome(users=names(party), missing=f"a {FACTORY} that can be made in this process")
        agents: list[tuple[User, Any]] = []
        for _ in range(rounds):
            made = await probe.together(_agent(probe, contexts, factories, factory, user) for user in party)
            agents += [(user, agent) for user, agent in zip(party, made, strict=True) if agent is not None]
        asked = await _ask_models(probe, agents)
        refused = [await _unknown(probe, contexts, factories, factory, user) for user in party]
    apart = len({id(agent) for _, agent in agents})
    counts = {"made": len(agents), "isolated": apart, "asked": asked, "unknown": len(refused), "refused": sum(refused)}
    return Outcome(users=names(party), counts=counts)


def _factory(probe: Investigation, factories: Component, client: httpx.AsyncClient) -> Any:
    """One factory for everybody, over one box for events, one shelf and one model; None where none can be made."""
    emitters, models = probe.component("UserWebSocketEmitter"), probe.component(MODEL)
    box, shelf = EventSink(), InMemoryCache()
    breaker = SimpleNamespace(may_ask=lambda: True, reached=lambda: None, unreachable=lambda: None)
    offers = {"client": client, "redis": shelf, "limits": SimpleNamespace(cache_seconds=30.0), "breaker": breaker}

    def make_emitter(context: Any) -> Any:
        made = emitters.construct(context, box, None)
        return made.value if isinstance(made, Returned) else None

    def make_model(context: Any) -> Any:
        # Without our model a platform's class would ask, and acquire for, the real one.
        if not models.takes("__init__", "client"):
            return None
        made = models.construct(context, **accepted_kwargs(models, "__init__", offers))
        return made.value if isinstance(made, Returned) else None

    parts = {"agents": {_AGENT: _IdleAgent}, "tools": (), "engine": None, "data_access": FakeDataAccess()}
    more = {"make_emitter": make_emitter, "make_model": make_model}
    factory = factories.construct(**accepted_kwargs(factories, "__init__", parts | more))
    return factory.value if isinstance(factory, Returned) else None


async def _agent(probe: Investigation, contexts: Component, factories: Component, factory: Any, user: User) -> Any:
    """An agent for a context of the user's, as the positive control; None where none came."""
    call = begin(probe, user, "own agent", phase=FACTORY, expect=user.name, control=True)
    context = await own_context(contexts, user)
    if not isinstance(context, Returned):
        end(probe, call, context, "")
        return None
    made = await factories.call("create_agent_instance", _AGENT, context.value, on=factory, by=user.name)
    agent = made.value if isinstance(made, Returned) else None
    end(probe, call, made, first_foreign(user.id, *_owners(agent)))
    return agent


async def _ask_models(probe: Investigation, agents: Sequence[tuple[User, Any]]) -> int:
    """Each agent’s model is asked the identical question, one after the other; how many answered."""
    models = probe.component(MODEL)
    given: dict[str, str] = {}
    asked = 0
    for user, agent in agents:
        model = getattr(getattr(agent, "equipment", None), "llm", None)
        if model is None:
            continue
        call = begin(probe, user, "the question of everybody", phase=MODEL, expect=user.name, control=True)
        said = await models.call("ask_llm", QUESTION, on=model, by=user.name)
        # An answer is whose it was first: the model gives each of them once.
        whose = given.setdefault(str(said.value), user.id) if isinstance(said, Returned) else ""
        end(probe, call, said, whose)
        asked += isinstance(said, Returned)
    return asked


async def _unknown(probe: Investigation, contexts: Component, factories: Component, factory: Any, user: User) -> bool:
    """An agent that there is not, asked for by somebody who may have agents; whether it was refused."""
    call = begin(probe, user, "an agent that there is not", phase=FACTORY, expect=REFUSED)
    context = await own_context(contexts, user)
    given = context.value if isinstance(context, Returned) else None
    made = await factories.call("create_agent_instance", "no_such_agent", given, on=factory, by=user.name)
    came = isinstance(made, Returned) and made.value is not None
    settle(probe, call, user.id if came else "")
    return not came


def _owners(agent: Any) -> list[str]:
    """The user ids of the contexts that an agent, its emitter, its tools, its data and its model were made for."""
    equipment = getattr(agent, "equipment", None)
    parts = [agent, *(getattr(equipment, name, None) for name in ("emitter", "tools", "llm", "data"))]
    held = [next((context for name in _CONTEXTS if (context := getattr(part, name, None))), part) for part in parts]
    return [whose for context in held if (whose := user_id_of(context))]
