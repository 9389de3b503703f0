"""What a workload may do: asked before it begins; the gate of ``clients.policy`` holds everything that is sent."""

from __future__ import annotations

from netra_probe.clients.policy import NotPermitted, allows, needed_at
from netra_probe.investigation.context import InvestigationContext
from netra_probe.target.deployment import Mode


def permit(probe: InvestigationContext, needed: Mode, what: str) -> None:
    """Raise NotPermitted, naming what to set, unless the target's mode allows this.

    A recording takes no harm from anything.

    Arguments:
        what: the act, as the subject of a sentence: ``disturbing connections``.
    """
    target = probe.target
    if not probe.wire.live:
        return
    needed = needed_at(target, needed, lab=probe.rules.lab)
    if allows(target.mode, needed):
        return
    authorised = " and `authorised_by`" if needed is Mode.ATTACK else ""
    reason = f"mode {target.mode}: {what} needs mode {needed}"
    probe.notes.withhold(reason)
    raise NotPermitted(
        f"{what} is not allowed in mode {target.mode}; set `mode: {needed}`{authorised} in the target's parameters.",
        reason=reason,
    )
