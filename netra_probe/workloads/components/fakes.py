"""Components that are made by hand in this process: their model, arguments and contexts, and the record of each try."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx

from netra_probe.clients.component import Absent, CallResult, Component, Returned
from netra_probe.history import actions
from netra_probe.history.operation import Operation

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


class CountingModel(httpx.AsyncBaseTransport):
    """A language model that answers every request with another number: who gets the same one shares an answer."""

    def __init__(self) -> None:
        self._answers = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer in the form of a stream."""
        self._answers += 1
        said = json.dumps({"choices": [{"delta": {"content": f"answer {self._answers}"}}]})
        return httpx.Response(200, text=f"data: {said}\n\ndata: [DONE]\n\n")


def accepted_kwargs(component: Component, method: str, offers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offers that a method of the component takes by name."""
    return {name: value for name, value in offers.items() if component.takes(method, name)}


def begin(probe: Investigation, user: User, name: str, *, phase: str, expect: str, control: bool = False) -> Operation:
    """An attempt on a component begins; ``phase`` names the component, ``expect`` whose the result must be."""
    detail = {"attempt": name, "expect": expect, "control": control, "phase": phase}
    return probe.history.invoke(
        actions.ATTEMPT, user=user.name, connection=f"{user.name}/component", surface="component", detail=detail
    )


def end(probe: Investigation, call: Operation, came: CallResult, who: str) -> None:
    """It has ended, with something of the user whose id ``who`` is, where something came."""
    if isinstance(came, Returned):
        settle(probe, call, who or "nobody")
    else:
        # What cannot be called at all was neither done nor refused.
        settle(probe, call, None if isinstance(came, Absent) else "")


async def own_context(contexts: Component, user: User) -> CallResult:
    """A context of the user's, for one thread and one run of this process."""
    thread, run = f"thread-of-{user.name}", run_of(user)
    return await contexts.call("from_request", user_id=user.id, thread_id=thread, run_id=run, by=user.name)


def run_of(user: User) -> str:
    """The id of the user's run in this process."""
    return f"run-of-{user.name}"


def settle(probe: Investigation, call: Operation, who: str | None) -> None:
    """The attempt has ended with something of the user ``who``, with a refusal (``""``), or with neither (``None``)."""
    if who:
        probe.history.complete(call, "ok", ids={"user_id": who})
    else:
        probe.history.complete(call, "info" if who is None else "fail")


def missing_of(*wanted: tuple[Component, str, tuple[str, ...]]) -> str:
    """What keeps an act from being done in this process: the first call that is not there, or takes other arguments."""
    for component, method, parameters in wanted:
        if not component.takes(method, *parameters):
            return str(component.differences[0]) if component.differences else _without(component, method, parameters)
    return ""


def _without(component: Component, method: str, parameters: tuple[str, ...]) -> str:
    return f"{component.name}.{method}({', '.join(parameters)})"


def first_foreign(owner: str, *ids: str) -> str:
    """Whose something is that should be ``owner``'s through and through: the first other id, or the owner's."""
    return next((id for id in ids if id != owner), owner)


def user_id_of(context: object) -> str:
    """The user id that a context holds; "" where it shows none."""
    whose = getattr(context, "user_id", "")
    return whose if isinstance(whose, str) else ""
