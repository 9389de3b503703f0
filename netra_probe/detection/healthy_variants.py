"""Kinds of healthy labs on which nothing may be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A kind of healthy lab that must give no finding.

    Arguments:
        parameters: that differ from the usual ones.
        conditions: of ``netra_probe.lab.conditions``, under which the lab is started.
        around: what goes on around it, of ``netra_probe.detection.disturbances``.
    """

    parameters: Mapping[str, int] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    around: str = ""


VARIANTS: dict[str, Variant] = {
    "plain": Variant(),
    "other seed": Variant(parameters={"seed": 4711}),
    "ten times the users": Variant(parameters={"users": 30, "rounds": 2}),
    "benign disturbances": Variant(around="neighbours"),
    "restarted backend": Variant(around="restarts"),
    "legal reorderings": Variant(conditions=("JITTER",)),
}
