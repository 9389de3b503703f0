"""Components in processes of their own, and what is expected of them: recorded, so that it can be judged afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

import msgspec

from netra_probe.clients.component_process import Carried, Undecided, carry_on, carry_out
from netra_probe.history import actions
from netra_probe.history.operation import Operation
from netra_probe.history.secret import Secret
from netra_probe.history.untrusted import decoded
from netra_probe.investigation.context import InvestigationContext
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.lab import component_variables

#: What an expectation is about: the component's work, its failure being contained, or being visible, or something that
#: a deployment may do otherwise and that is noted where it does.
About: TypeAlias = Literal["works", "contained", "visible", "noted"]
SURFACE = "component"
#: How a case says that it needs a component: ``component IsolatedEnvironment``.
COMPONENT = "component "
#: How it says that it needs a schema of its own in the target's database.
SCRATCH = "scratch database"
NO_SCRATCH = "the target has no scratch_database_url: a role that may create a schema"


async def run_apart(
    probe: InvestigationContext,
    act: Callable[..., Any],
    components: Sequence[str],
    arguments: Sequence[Any],
    variables: Mapping[str, str],
    seconds: float,
    secrets: Mapping[str, Secret | Undecided],
) -> Carried:
    """Carry a function out in a process of its own, and record what came of it."""
    paths, of_lab = _paths(probe.target, components)
    call = _invoked(probe, act, components, [*variables, *secrets])
    unknown = [name for name, path in paths.items() if not path]
    unavailable = [secret.reason for secret in secrets.values() if isinstance(secret, Undecided)]
    told = {name: secret.reveal() for name, secret in secrets.items() if isinstance(secret, Secret)}
    for name, value in told.items():
        probe.history.redactor.know_parts(value, name.casefold().replace("_", "-"))
    if unknown or unavailable:
        carried = Carried(absent=nowhere(unknown) if unknown else unavailable[0])
    else:
        carried = await carry_out(act, paths, *arguments, variables={**of_lab, **variables, **told}, seconds=seconds)
    return _recorded(probe, call, carried, secret=bool(told))


@asynccontextmanager
async def run_services(
    probe: InvestigationContext,
    act: Callable[..., Any],
    components: Sequence[str],
    names: Sequence[str],
    arguments: Sequence[Any],
    variables: Mapping[str, str],
    seconds: float,
) -> AsyncIterator[Callable[[], Awaitable[dict[str, Carried]]]]:
    """Carry a generator function on in a process for each name, and record what comes of each step."""
    paths, of_lab = _paths(probe.target, components)
    unknown = [name for name, path in paths.items() if not path]
    async with AsyncExitStack() as stack:
        steps = [
            await stack.enter_async_context(
                carry_on(act, paths, name, *arguments, variables={**of_lab, **variables}, seconds=seconds)
            )
            for name in names
            if not unknown
        ]

        async def step() -> dict[str, Carried]:
            calls = [_invoked(probe, act, components, variables) for _ in names]
            carried = await asyncio.gather(*(one() for one in steps)) or [Carried(absent=nowhere(unknown))] * len(names)
            return {name: _recorded(probe, call, one) for name, call, one in zip(names, calls, carried, strict=True)}

        yield step


def _invoked(
    probe: InvestigationContext, act: Callable[..., Any], components: Sequence[str], variables: Iterable[str]
) -> Operation:
    return probe.history.invoke(
        actions.PROCESS,
        surface=SURFACE,
        connection=f"probe/{SURFACE}",
        detail={"act": act.__name__, "components": list(components), "variables": sorted(variables)},
    )


def _recorded(probe: InvestigationContext, call: Operation, carried: Carried, *, secret: bool = False) -> Carried:
    payload = msgspec.json.encode(asdict(carried)).decode()
    if secret and (cleaned := probe.history.redactor.clean(payload)) != payload:
        # What a class shows of its secrets is shown to nobody else.
        carried = _carried(msgspec.json.decode(cleaned))
    probe.history.complete(call, "ok" if carried else "fail", payload=payload)
    return carried


def _paths(target: Target, components: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Where each component is imported from, "" where nothing says so; and what a process of the lab is told."""
    of_lab = component_variables(target)
    return {name: _path(target, name, of_lab) for name in components}, dict(of_lab or {})


def unmet(target: Target, needs: Iterable[str]) -> list[str]:
    """What a case needs and a target does not give, one reason for each kind."""
    needs = set(needs)
    others = {need for need in needs if need == SCRATCH or need.startswith(COMPONENT)}
    surfaces = sorted(needs - others - target.surfaces)
    components = out_of_reach(target, needs)
    reasons = [f"the target has no {' and no '.join(surfaces)} surface"] if surfaces else []
    reasons += [nowhere(components)] if components else []
    return reasons + ([NO_SCRATCH] if SCRATCH in needs and target.scratch_database_url is None else [])


def out_of_reach(target: Target, needs: Iterable[str]) -> list[str]:
    """The components among the needs of a case (``component NAME``) that can be imported from nowhere."""
    needed = sorted(need.removeprefix(COMPONENT) for need in needs if need.startswith(COMPONENT))
    of_lab = component_variables(target) if needed else None
    return [name for name in needed if not _path(target, name, of_lab)]


def nowhere(components: Sequence[str]) -> str:
    """Why components cannot be investigated."""
    return f"the target's `components` do not say where {' and '.join(components)} can be imported"


def _path(target: Target, name: str, of_lab: Mapping[str, str] | None) -> str:
    return target.components.get(name, f"netra_probe.lab.composed:{name}" if of_lab is not None else "")


def recorded_processes(probe: InvestigationContext) -> list[Carried]:
    """What came of the processes of a recording, in the order in which they were begun."""
    ended = [done for done in probe.history if done.action == actions.PROCESS and done.call is not None]
    found = (decoded(done.payload, {}) for done in sorted(ended, key=lambda done: done.call or 0))
    return [_carried(one) for one in found if isinstance(one, dict)]


def _carried(data: Mapping[str, Any]) -> Carried:
    return Carried(**{**data, "log": tuple(data.get("log", ()))})


def expect(probe: InvestigationContext, promise: str, observed: Any, expected: Any, about: About) -> None:
    """Record a promise with what was observed and what is expected."""
    detail: dict[str, Any] = {"promise": promise, "about": about}
    if probe.target.mode is Mode.OBSERVE and probe.notes.withheld:
        observed = Undecided(reason=probe.notes.withheld[0])  # nothing was done of which anything could come
    parts = observed if isinstance(observed, list) else [observed]
    if unseen := [one.reason for one in parts if isinstance(one, Undecided)]:
        detail["undecided"] = unseen[0]
    else:
        detail |= {"expected": _plain(expected), "observed": _plain(observed)}
    probe.history.observe(actions.EXPECT, surface=SURFACE, detail=detail)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
