"""Labs with faults, started when they are needed and shared by the faults that do not disturb each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from netra_probe.lab import Lab, start_lab

Drive = Callable[[Lab], Awaitable[list[bool]]]
"""Acts as a prober would; returns one truth value per symptom that it looked for."""


class FaultyLabs:
    """One lab at a time: asking for a fault of another group ends the lab of the one before."""

    def __init__(self, groups: Sequence[tuple[str, ...]]) -> None:
        self._groups = {fault: group for group in groups for fault in group}
        self._lab: Lab | None = None

    def with_fault(self, fault: str) -> Lab:
        """The lab with this fault."""
        group = self._groups[fault]
        if self._lab is None or self._lab.faults != group:
            self.stop()
            self._lab = start_lab(faults=group)
        return self._lab

    def stop(self) -> None:
        """End what runs."""
        if self._lab is not None:
            self._lab.stop()
            self._lab = None


async def check(drive: Drive, lab: Lab, fault: str) -> None:
    """Drive a lab with a fault: it must be reached and triggered, and every symptom must show."""
    symptoms = await drive(lab)
    counts = lab.status()["faults"][fault]
    assert counts["reached"] > 0 and counts["triggered"] > 0, counts
    assert all(symptoms), symptoms
