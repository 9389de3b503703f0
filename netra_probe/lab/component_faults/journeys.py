"""Faults of user journeys: whose request a run answers (G3), and which rows advice and tools rest on (G2, G7)."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, ClassVar

from netra_probe.lab.shared.faults import PartFault, register

#: How long a run takes to start, so that runs of the same moment overlap.
STARTING_SECONDS = 0.5
#: Requests that one backend keeps at a time.
PLACES = 4


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
