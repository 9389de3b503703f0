"""Components in processes of their own, and what is expected of them: recorded, so that it can be judged afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

import msgspec

from netra_probe.clients.component_process import Carried, Undecided, carry_out
from netra_probe.history import actions
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
    of_lab = component_variables(probe.target)
    paths = {name: _path(probe.target, name, of_lab) for name in components}
    call = probe.history.invoke(
        actions.PROCESS,
        surface=SURFACE,
        connection=f"probe/{SURFACE}",
        detail={"act": act.__name__, "components": list(components), "variables": sorted(variables)},
    )
    unknown = [name for name, path in paths.items() if not path]
    if unknown:
        carried = Carried(absent=nowhere(unknown))
    else:
        carried = await carry_out(act, paths, *arguments, variables={**(of_lab or {}), **variables}, seconds=seconds)
    payload = msgspec.json.encode(asdict(carried)).decode()
    probe.history.complete(call, "ok" if carried else "fail", payload=payload)
    return carried


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
    """What came of the processes of a recording, in its order."""
    found = (
        decoded(done.payload, {}) for done in probe.history if done.action == actions.PROCESS and done.call is not None
    )
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
