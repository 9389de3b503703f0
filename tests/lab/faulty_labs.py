"""Labs with faults, shared by the faults that do not disturb each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from composing import Composed
from daily import one_in

from netra_probe.lab import Lab

Drive = Callable[[Lab], Awaitable[list[bool]]]
"""Acts as a prober would; returns one truth value per symptom that it looked for."""
Proof = Callable[..., Awaitable[None]]


def proofs(drives: Mapping[str, Drive], groups: Sequence[tuple[str, ...]]) -> tuple[Proof, Proof]:
    """The two tests of these faults: that each is triggered and seen, and that a healthy lab shows nothing of it.

    ``groups`` says which faults share a lab.
    """
    group_of = {fault: group for group in groups for fault in group}

    @pytest.mark.parametrize("fault", one_in(3, group_of))
    async def is_triggered_and_seen(compose: Composed, fault: str) -> None:
        lab = compose(group_of[fault])
        symptoms = await drives[fault](lab)
        counts = lab.status()["faults"][fault]
        assert counts["reached"] > 0 and counts["triggered"] > 0, counts
        assert all(symptoms), symptoms

    @pytest.mark.parametrize("fault", one_in(3, drives))
    async def is_not_seen_on_a_healthy_lab(lab: Lab, fault: str) -> None:
        symptoms = await drives[fault](lab)
        assert not any(symptoms), symptoms

    return is_triggered_and_seen, is_not_seen_on_a_healthy_lab
