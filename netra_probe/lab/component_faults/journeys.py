"""Faults of user journeys: whose request a run answers (G3), what a refresh ends (G5), what agents do (G2, G6, G7)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from netra_probe.lab.component_faults.flows_sessions import SharedAnswer
from netra_probe.lab.shared.faults import PartFault, Parts, register

#: How long a run takes to start, so that runs of the same moment overlap.
STARTING_SECONDS = 0.5
#: Requests that one backend keeps at a time, and records that a tool reads.
PLACES = 4
#: How long the first use of a new token waits for the former one to be refused.
REFUSED_SECONDS = 3.0
#: The agent that chooses a specialist, and the words of a request that make a topic.
FIRST_AGENT, TOPIC_WORDS = "triage", 4
#: How a user's id looks in a question.
USER_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SharedPlace(PartFault):
    """A request waits for its run in a place that a later request may take as well."""

    layer = "agents"
    checkers: ClassVar[tuple[str, ...]] = ("C14", "C1")
    part = "AgentExecution"

    def place(self, user_id: str) -> object:
        """Where the request of this user is kept."""
        raise NotImplementedError

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, kept = self, dict[object, Any]()

        class Overwritten(healthy):  # type: ignore[misc]
            async def _work(self, context: Any, task: Any, data: Any, emitter: Any) -> None:
                place = fault.place(context.user_id)
                kept[place] = task
                await asyncio.sleep(STARTING_SECONDS)
                if kept[place] is not task and fault.does_wrong():
                    task = kept[place]
                await super()._work(context, task, data, emitter)

        return Overwritten


@register
class LatestRequest(SharedPlace):
    """Of two requests that a user sends at once, both runs answer the second one."""

    id = "journey-chat-latest-request"
    title = "every run answers its user's latest request"
    breaks = "each request gets an answer of its own"

    def place(self, user_id: str) -> object:
        """One for each user."""
        return user_id


@register
class FullTable(SharedPlace):
    """Requests are kept in a table of four: nobody notices until a fifth run starts while the first is starting."""

    id = "journey-chat-full-table"
    title = "the fifth concurrent request takes the place of the first"
    breaks = "each user gets their own answer, however many ask"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._numbers = itertools.count()

    def place(self, user_id: str) -> object:
        """The next one, and then the first again."""
        return next(self._numbers) % PLACES


class RefreshFault(PartFault):
    """A fault of the exchange of a refresh token for a new pair."""

    layer = "authentication"
    service = "auth_service"


@register
class RefreshEndsAccess(RefreshFault):
    """Once the token of a refreshed session is used, what was opened with the one before it ends.

    Whoever uses the new token first is answered when the former one has been refused: else a short run might end before
    the backend asks about its token once more, and nobody would notice.
    """

    id = "journey-refresh-ends-access"
    title = "a refresh ends what goes on with the former token"
    breaks = "a token can be refreshed in the middle of a chat"
    checkers = ("C14", "C3")
    part = "Authenticator"

    def broken(self, healthy: type[Any]) -> type[Any]:
        from netra_probe.lab.auth_service.errors import NotAuthenticated

        fault, seen, refused = self, dict[str, list[str]](), dict[str, asyncio.Event]()

        class OnlyTheLatest(healthy):  # type: ignore[misc]
            async def authenticate(self, token: str, type_: Any = "access") -> Any:
                principal = await super().authenticate(token, type_)
                if type_ != "access":
                    return principal
                own = principal.claims.id
                tokens = seen.setdefault(principal.claims.session_id or own, [])
                if own not in tokens:
                    tokens.append(own)
                    former = refused.setdefault(tokens[-2], asyncio.Event()) if len(tokens) > 1 else None
                    if former is not None:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(former.wait(), REFUSED_SECONDS)
                if own != tokens[-1] and fault.does_wrong():
                    refused.setdefault(own, asyncio.Event()).set()
                    raise NotAuthenticated("Token has been replaced", reason="token_revoked")
                return principal

        return OnlyTheLatest


@register
class SharedRefresh(RefreshFault):
    """While a refresh is under way, further ones are given what it gives, whoever asks."""

    id = "journey-refresh-shared"
    title = "concurrent refreshes share one pair of tokens"
    breaks = "each user gets tokens of their own from a refresh"
    checkers = ("C14", "C6")
    part = "LoginService"

    def broken(self, healthy: type[Any]) -> type[Any]:
        shared = SharedAnswer(self)

        class Coalescing(healthy):  # type: ignore[misc]
            async def refresh(self, token: str, caller: Any) -> Any:
                return await shared.of(partial(super().refresh, token, caller))

        return Coalescing


class SpecialistFault(PartFault):
    """A fault of all agents that answer: each specialist is replaced by a subclass of it."""

    layer = "agents"
    part = "agents"

    def broken(self, healthy: dict[str, type[Any]]) -> dict[str, type[Any]]:
        """The agents; the one that hands over stays as it is."""
        return {name: self.specialist(agent) if hasattr(agent, "_answer") else agent for name, agent in healthy.items()}

    def specialist(self, healthy: type[Any]) -> type[Any]:
        """A specialist with the fault in it."""
        raise NotImplementedError


# What an answer rests on (G2)


@register
class NoTools(SpecialistFault):
    """A specialist answers from the words of the question, and calls none of its tools."""

    id = "journey-chat-no-tools"
    title = "an answer is given without looking at any data"
    breaks = "an answer rests on the user's data, and the user sees which tools read it"

    def specialist(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Guessing(healthy):  # type: ignore[misc]
            async def _gather(self, task: Any) -> Any:
                return {} if fault.does_wrong() else await super()._gather(task)

        return Guessing


@register
class DemoFigures(SpecialistFault):
    """The tools read the user's rows, and the specialist works with figures that were meant for a demonstration."""

    id = "journey-chat-demo-figures"
    title = "recommendations are drawn from demonstration figures"
    breaks = "recommendations come from the rows of the user who asks"
    records: ClassVar[tuple[dict[str, Any], ...]] = (
        {"service": "model-inference", "amount_usd": 4800.0, "note": "demonstration"},
        {"service": "vector-search", "amount_usd": 2100.0, "note": "demonstration"},
    )

    def specialist(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Demonstrating(healthy):  # type: ignore[misc]
            async def _gather(self, task: Any) -> Any:
                gathered = await super()._gather(task)
                if fault.does_wrong():
                    gathered["spend_summary"] = {"records": list(fault.records), "total_usd": 6900.0}
                return gathered

        return Demonstrating


@register
class StaleFigures(SpecialistFault):
    """A specialist works with what it gathered for the user's first question."""

    id = "journey-chat-stale-figures"
    title = "later answers rest on the figures of the first"
    breaks = "an answer follows the user's rows as they are now"

    def specialist(self, healthy: type[Any]) -> type[Any]:
        fault, first = self, dict[str, Any]()

        class Keeping(healthy):  # type: ignore[misc]
            async def _gather(self, task: Any) -> Any:
                gathered = await super()._gather(task)
                kept = first.setdefault(self.context.user_id, gathered["spend_summary"])
                if kept != gathered["spend_summary"] and fault.does_wrong():
                    gathered["spend_summary"] = kept
                return gathered

        return Keeping


# What tools read (G7)


@register
class FirstPage(PartFault):
    """The tool that sums up what a user spends reads the first few records only, and says nothing of the others."""

    id = "journey-tools-first-page"
    title = "a tool reads the first page of the rows"
    breaks = "a tool shows all of its caller's rows"
    layer = "agents"
    part = "tools"

    def broken(self, healthy: tuple[Any, ...]) -> tuple[Any, ...]:
        """The tools, one of them with the fault in it."""
        return tuple(replace(tool, run=self._cut(tool)) if tool.name == "spend_summary" else tool for tool in healthy)

    def _cut(self, tool: Any) -> Any:
        async def run(call: Any) -> Any:
            result = await tool.run(call)
            if len(result["records"]) > PLACES and self.does_wrong():
                records = result["records"][:PLACES]
                result = {"records": records, "total_usd": round(sum(one["amount_usd"] for one in records), 2)}
            return result

        return run


@register
class NamedUser(SpecialistFault):
    """Tools read the rows of the user that their parameters name, and agents take that name from the question."""

    id = "journey-tools-named-user"
    title = "tools read the rows of whichever user is named"
    breaks = "a tool reads rows of its caller only, whoever is named"
    checkers = ("C14", "C1")

    def install(self, parts: Parts) -> None:
        """Replace the specialists, and the engine that binds the data of a call."""
        fault = self
        engine: type[Any] = parts["ToolExecutionEngine"]

        class Deputy(engine):  # type: ignore[misc]
            async def execute(self, tool: Any, context: Any, parameters: Any, permissions: Any) -> Any:
                async def run(call: Any) -> Any:
                    named = call.parameters.get("user_id")
                    if isinstance(named, str) and named not in ("", context.user_id) and fault.does_wrong():
                        call = replace(call, data=self._data_access.for_user(replace(context, user_id=named)))
                    return await tool.run(call)

                return await super().execute(replace(tool, run=run), context, parameters, permissions)

        parts["ToolExecutionEngine"] = Deputy
        super().install(parts)

    def specialist(self, healthy: type[Any]) -> type[Any]:
        class Obliging(healthy):  # type: ignore[misc]
            async def _gather(self, task: Any) -> Any:
                gathered = await super()._gather(task)
                if named := USER_ID.search(task.request):
                    tools, given = self.equipment.tools, {"user_id": named.group()}
                    outcome = await tools.execute_tool("spend_summary", given, agent_name=self.name)
                    gathered["spend_summary"] = outcome.result
                return gathered

        return Obliging


# From triage to a specialist (G6)


@register
class Renumbers(PartFault):
    """Each agent of a run sends its events through an emitter of its own, which begins to count at one."""

    id = "journey-handoff-renumbers"
    title = "the specialist numbers its events from one again"
    breaks = "a run is one stream of events, whichever agent works"
    layer = "agents"
    checkers = ("C14", "C4")
    part = "AgentRegistry"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """The registry with the fault in it."""
        fault = self

        class Separate(healthy):  # type: ignore[misc]
            async def create_agent_for_user(
                self, user_id: str, agent_name: str, user_context: Any, *, emitter: Any = None
            ) -> Any:
                if agent_name != FIRST_AGENT and fault.does_wrong():
                    emitter = None
                return await super().create_agent_for_user(user_id, agent_name, user_context, emitter=emitter)

        return Separate


@register
class Orphan(PartFault):
    """The specialist gets a context that is made anew from the ids, and knows nothing of the one that handed over."""

    id = "journey-handoff-orphan"
    title = "the specialist's step has no parent"
    breaks = "the steps of a run are one tree"
    layer = "agents"
    part = "UserExecutionContext"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """The context with the fault in it."""
        fault = self

        class Rootless(healthy):  # type: ignore[misc]
            def create_child_context(self, operation_name: str, **more: Any) -> Any:
                child = super().create_child_context(operation_name, **more)
                if operation_name.startswith("handoff:") and fault.does_wrong():
                    child = replace(child, operation_depth=0, parent_request_id=None)
                return child

        return Rootless


@register
class TopicOnly(SpecialistFault):
    """What is handed over is the beginning of the request, without what it refers to."""

    id = "journey-handoff-topic-only"
    title = "the specialist is told the topic instead of the request"
    breaks = "the specialist knows the whole request and its references"

    def specialist(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Told(healthy):  # type: ignore[misc]
            async def run(self, task: Any) -> Any:
                if fault.does_wrong():
                    task = replace(task, request=" ".join(task.request.split()[:TOPIC_WORDS]), references=())
                return await super().run(task)

        return Told


@register
class Forgets(SpecialistFault):
    """Each specialist remembers only the requests that it has answered itself."""

    id = "journey-handoff-forgets"
    title = "another specialist does not know the conversation"
    breaks = "a conversation is known to whichever specialist goes on with it"

    def specialist(self, healthy: type[Any]) -> type[Any]:
        fault, latest = self, self._latest

        class Alone(healthy):  # type: ignore[misc]
            equipment: Any

            async def _answer(self, task: Any, *more: Any) -> Any:
                thread = self.context.thread_id
                if latest.get(thread, self.name) != self.name and fault.does_wrong():
                    data = replace(self.equipment.data, memory=NoMemory())
                    self.equipment = replace(self.equipment, data=data)
                latest[thread] = self.name
                return await super()._answer(task, *more)

        return Alone

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._latest: dict[str, str] = {}


class NoMemory:
    """Remembers nothing."""

    async def recall(self, thread_id: str) -> list[str]:
        """Nothing."""
        return []


@register
class LastChoice(PartFault):
    """Whom triage hands over to is kept in one place for all runs until the specialist is made."""

    id = "journey-handoff-last-choice"
    title = "a run goes to the specialist that was chosen last, for whichever run"
    breaks = "each run goes on with the specialist that triage has named"
    layer = "agents"
    part = "agents"

    def broken(self, healthy: dict[str, type[Any]]) -> dict[str, type[Any]]:
        """The agents; those that answer stay as they are."""
        fault, latest = self, list[str]()

        def forgetful(triage: type[Any]) -> type[Any]:
            class OnePlace(triage):  # type: ignore[misc]
                async def run(self, task: Any) -> Any:
                    outcome = await super().run(task)
                    latest[:] = [outcome.hand_over_to]
                    await asyncio.sleep(STARTING_SECONDS)
                    if latest != [outcome.hand_over_to] and fault.does_wrong():
                        outcome = replace(outcome, hand_over_to=latest[0])
                    return outcome

            return OnePlace

        return {name: forgetful(agent) if name == FIRST_AGENT else agent for name, agent in healthy.items()}
