"""Labs with faults, shared by the faults that do not disturb each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from composing import Composed

from netra_probe.lab import Lab

Drive = Callable[[Lab], Awaitable[list[bool]]]
"""Acts as a prober would; returns one truth value per symptom that it looked for."""


class FaultyLabs:
    """Which lab has a fault: that of its group."""

    def __init__(self, compose: Composed, groups: Sequence[tuple[str, ...]]) -> None:
        self._compose = compose
        self._groups = {fault: group for group in groups for fault in group}

    def with_fault(self, fault: str) -> Lab:
        """The lab with this fault."""
        return self._compose(self._groups[fault])


async def check(drive: Drive, lab: Lab, fault: str) -> None:
    """Drive a lab with a fault: it must be reached and triggered, and every symptom must show."""
    symptoms = await drive(lab)
    counts = lab.status()["faults"][fault]
    assert counts["reached"] > 0 and counts["triggered"] > 0, counts
    assert all(symptoms), symptoms
