"""The proof that a check can fail: the same act on a lab with a fault, judged by the same checkers."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from netra_probe import lab
from netra_probe.checkers import Checker
from netra_probe.clients.component_process import Undecided
from netra_probe.clients.rate_limit import RUN_VARIABLE
from netra_probe.investigation.exclusive_access import TURNS_VARIABLE
from netra_probe.investigation.open import open_investigation
from netra_probe.target.environment import in_environment, scratch
from netra_probe.target.lab import as_target

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

#: Where an investigation records, and whom it takes turns with.
APART = (RUN_VARIABLE, TURNS_VARIABLE)
Act = Callable[["Investigation"], Awaitable[Any]]


class FaultyLabs:
    """A lab of the notebook's own that has one fault after the other; ``close`` ends it, and so does the kernel's end.

    >>> labs = workloads.FaultyLabs(probe)   # doctest: +SKIP
    >>> red = await labs.judge("W1", act, canary(), delivery())
    >>> red["triggered"], red["verdict"], red["leaks"]
    (True, 'fail', True)

    What is done there is recorded in a folder of its own and is no part of this investigation. Where no lab can be
    started the answers are ``Undecided``, with the reason.
    """

    def __init__(self, probe: Investigation) -> None:
        self._probe = probe
        self._lab: lab.Lab | None = None

    async def judge(
        self, fault: str, act: Act, *checkers: Checker, users: int = 3, deadline: float = 3.0
    ) -> Mapping[str, Any]:
        """Do the act on a lab with the fault, and judge it as one case of this scenario.

        Arguments:
            fault: its id in the catalogue.
            act: what was done on the target; it gets the other investigation.
            deadline: seconds that one of its runs may take: what goes astray is not waited for.

        Returns:
            Whether the fault was ``triggered``, the ``verdict``, and whether somebody's data ``leaks`` to another user.
        """
        try:
            running = await asyncio.to_thread(self._with, fault)
        except lab.LabError as error:
            return dict.fromkeys(("triggered", "verdict", "leaks"), Undecided(reason=str(error)))
        with scratch("netra-probe-work-") as folder, in_environment(dict.fromkeys(APART, str(folder))):
            other = await open_investigation(
                self._probe.scenario,
                users=users,
                seed=self._probe.seed,
                target=as_target(running),
                deadline=deadline,
                shown=False,
            )
            try:
                await act(other)
                result = other.check(f"{other.scenario}.1", *checkers, exact=False).result
            finally:
                await other.close()
        return {
            "triggered": running.status()["faults"][fault]["triggered"] > 0,
            "verdict": str(result.verdict),
            "leaks": any(place.pairs for finding in result.findings for place in finding.operations),
        }

    async def close(self) -> None:
        """End the lab."""
        if self._lab is not None:
            await asyncio.to_thread(self._lab.stop)

    def _with(self, fault: str) -> lab.Lab:
        if self._lab is None:
            self._lab = lab.start_lab([fault])
            atexit.register(self._lab.stop)
            return self._lab
        return self._lab.recompose([fault])
