"""What a lab is asked to be: faults, ports, extra settings. Holds no secret: it travels as a command-line argument."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Ports = Literal["ephemeral", "usual"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One lab to start."""

    faults: tuple[str, ...] = ()
    """``"W1"`` or, with a rate, ``"W1:0.5"``."""
    fault_modules: tuple[str, ...] = ()
    """Absolute paths of Python files with further faults."""
    ports: Ports = "ephemeral"
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables for every service; secrets do not belong here."""
    variant: Mapping[str, Any] = field(default_factory=dict)
    """How the lab differs from the contract; see `netra_probe.lab.backend.dialects`."""
    seed_data: bool = False
    """Load the people, threads and messages of `netra_probe.lab.seeds`."""
    without: tuple[str, ...] = ()
    """Services that are not started, by name."""
    detached: bool = False
    parent: int | None = None
    """The process that the lab ends with, unless it is detached."""

    def to_json(self) -> str:
        """The plan as the supervisor's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that the supervisor was given."""
        return cls().changed(json.loads(text))

    def changed(self, values: Mapping[str, Any]) -> Plan:
        """This plan with some values replaced, as JSON has them."""
        new = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return Plan(**{**{one.name: getattr(self, one.name) for one in fields(self)}, **new})
