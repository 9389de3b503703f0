"""The way in: an investigation that leaves a run directory, whoever executes the notebook."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netra_probe.investigation.investigation import Investigation, RunByHand
from netra_probe.investigation.open import open_investigation
from netra_probe.target.deployment import Target
from netra_probe.target.parameters import Parameters


async def investigate(
    scenario: str,
    *,
    environment: str = "lab",
    users: int = 3,
    seed: int = 7,
    target: Mapping[str, Any] | Target | None = None,
    deadline: float = 10.0,
) -> Investigation:
    """Open an investigation: find the target, create its users, begin the history.

    >>> probe = await investigate("C4", environment="lab", users=3)   # doctest: +SKIP
    >>> alice, bob, carol = probe.users                               # doctest: +SKIP

    Arguments:
        scenario: id of the requirement, such as ``C4``.
        environment: name of the parameter file; ``lab`` starts the embedded platform unless one is running.
        users: how many users to register, at least two.
        seed: of canaries and everything random.
        target: a deployment as in a parameter file; empty takes the environment's own; ``{"replay": PATH}`` answers
            every act from a recorded history instead.
        deadline: seconds one agent run may take.

    Raises ParameterError for wrong use and TargetError when the target cannot be used.
    """
    return await open_investigation(
        scenario,
        environment=environment,
        users=users,
        seed=seed,
        target=target,
        deadline=deadline,
        begin_run=_begin,
    )


def _begin(directory: Path, scenario: str, parameters: Parameters, faults: list[str]) -> RunByHand:
    from netra_probe.report.own_run import OwnRun  # only runs by hand need what this loads

    bare = [fault.partition(" ")[0] for fault in faults]
    return OwnRun.begin(directory, scenario=scenario, parameters=parameters, faults=bare)
