"""What may be done to a target: its owner says so in ``target.mode``, and nothing is done beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.errors import ParameterError
from netra_probe.target import Mode

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation

_ORDER = (Mode.OBSERVE, Mode.PROBE, Mode.ATTACK)


def permit(probe: Investigation, needed: Mode, what: str) -> None:
    """Raise ParameterError, naming what to set, unless the target's mode allows this.

    On this machine ``probe`` suffices for what needs ``attack`` elsewhere; a recording takes no harm from anything.

    Arguments:
        what: the act, as the subject of a sentence: ``disturbing connections``.
    """
    target = probe.target
    if not probe.wire.live:
        return
    if target.is_local and needed is Mode.ATTACK:
        needed = Mode.PROBE
    if _ORDER.index(target.mode) < _ORDER.index(needed):
        authorised = " and `authorised_by`" if needed is Mode.ATTACK else ""
        raise ParameterError(
            f"{what} is not allowed in mode {target.mode}; set `mode: {needed}`{authorised} in the target's parameters."
        )
