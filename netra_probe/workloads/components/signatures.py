"""A class that somebody names for a component, compared with how its calls are written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """How the calls of a component differ; true where they do not.

    Arguments:
        differences: one sentence each.
        unseen: why they could not be compared.
    """

    component: str
    differences: tuple[str, ...] = ()
    unseen: str = ""

    def __bool__(self) -> bool:
        return not (self.differences or self.unseen)

    def __repr__(self) -> str:
        told = [self.unseen] if self.unseen else [*self.differences]
        return "\n".join(told) or f"{self.component}: every public call is as it is written down"


def _compared(found: type[Any], name: str) -> dict[str, list[str]]:
    """In a process of its own: importing somebody's class may do anything."""
    import inspect

    from netra_probe.catalogue.components import COMPONENTS
    from netra_probe.clients.component_signature import compare, imported

    contract = COMPONENTS[name]
    told = [str(difference) for difference in compare(name, found, contract.calls)]
    ours = imported(contract.path)
    for call in contract.calls:
        waits = [inspect.iscoroutinefunction(getattr(one, call, None)) for one in (found, ours)]
        if waits[0] != waits[1]:
            told.append(
                f"{name}.{call} is {'asynchronous' if waits[0] else 'synchronous'}, unlike what is written down"
            )
    return {"differences": told}


async def compare_signatures(probe: Investigation, component: str) -> Signatures:
    """Import a component in a process of its own, and say how its public calls differ from those that are promised."""
    seen = await probe.apart(_compared, component, arguments=[component])
    if not seen:
        return Signatures(component=component, unseen=seen.absent or f"{component}: {seen.raised}")
    return Signatures(component=component, differences=tuple(seen["differences"]))
