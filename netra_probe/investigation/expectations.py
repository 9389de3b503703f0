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
from netra_probe.history.untrusted import decoded
from netra_probe.investigation.context import InvestigationContext
from netra_probe.target.deployment import Target
from netra_probe.target.lab import component_variables

#: What an expectation is about: the component's work, or its failure being contained, or being visible.
About: TypeAlias = Literal["works", "contained", "visible"]
SURFACE = "component"
#: How a case says that it needs a component: ``component IsolatedEnvironment``.
COMPONENT = "component "


async def run_apart(
    probe: InvestigationContext,
    act: Callable[..., Any],
    components: Sequence[str],
    arguments: Sequence[Any],
    variables: Mapping[str, str],
    seconds: float,
) -> Carried:
    """Carry a function out in a process of its own, and record what came of it."""
    paths, of_lab = _paths(probe.target, components)
    call = _invoked(probe, act, components, variables)
    unknown = [name for name, path in paths.items() if not path]
    if unknown:
        carried = Carried(absent=nowhere(unknown))
    else:
        carried = await carry_out(act, paths, *arguments, variables={**of_lab, **variables}, seconds=seconds)
    return _recorded(probe, call, carried)


@asynccontextmanager
async def run_services(
    probe: InvestigationContext,
    act: Callable[..., Any],
    components: Sequence[str],
    names: Sequence[str],
    arguments: Sequence[Any],
    variables: Mapping[str, str],
    seconds: float,
) -> AsyncIterator[Callable[[], Awaitable[list[Carried]]]]:
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

        async def step() -> list[Carried]:
            calls = [_invoked(probe, act, components, variables) for _ in names]
            carried = await asyncio.gather(*(one() for one in steps)) or [Carried(absent=nowhere(unknown))] * len(names)
            return [_recorded(probe, call, one) for call, one in zip(calls, carried, strict=True)]

        yield step


def _invoked(
    probe: InvestigationContext, act: Callable[..., Any], components: Sequence[str], variables: Mapping[str, str]
) -> Operation:
    return probe.history.invoke(
        actions.PROCESS,
        surface=SURFACE,
        connection=f"probe/{SURFACE}",
        detail={"act": act.__name__, "components": list(components), "variables": sorted(variables)},
    )


def _recorded(probe: InvestigationContext, call: Operation, carried: Carried) -> Carried:
    payload = msgspec.json.encode(asdict(carried)).decode()
    probe.history.complete(call, "ok" if carried else "fail", payload=payload)
    return carried


def _paths(target: Target, components: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Where each component is imported from, "" where nothing says so; and what a process of the lab is told."""
    of_lab = component_variables(target)
    return {name: _path(target, name, of_lab) for name in components}, dict(of_lab or {})


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
    return [Carried(**{**one, "log": tuple(one.get("log", ()))}) for one in found if isinstance(one, dict)]


def expect(probe: InvestigationContext, promise: str, observed: Any, expected: Any, about: About) -> None:
    """Record a promise with what was observed and what is expected."""
    detail: dict[str, Any] = {"promise": promise, "about": about}
    if isinstance(observed, Undecided):
        detail["undecided"] = observed.reason
    else:
        detail |= {"expected": _plain(expected), "observed": _plain(observed)}
    probe.history.observe(actions.EXPECT, surface=SURFACE, detail=detail)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
