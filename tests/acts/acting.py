"""An investigation under test, and what all checkers make of what was done in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from netra_probe import Investigation, investigate
from netra_probe.checkers import REGISTRY
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.verdict import Judgement
from netra_probe.lab import Lab
from netra_probe.target.lab import as_target

Result = TypeVar("Result")
Act = Callable[[Investigation], Awaitable[Result]]


class Acting:
    """An investigation, and what all checkers make of what was done in it since they were last asked."""

    def __init__(self, probe: Investigation) -> None:
        self.probe = probe
        self._start = len(probe.history)
        self._done: list[tuple[Act[Any], str]] = []

    async def do(self, act: Act[Result]) -> Result:
        """Do something that can be done again over the recording."""
        outcome = await act(self.probe)
        self._done.append((act, repr(outcome)))
        return outcome

    async def play_back(self) -> None:
        """Do everything again over the recording: each act says what it said."""
        again = await investigate("C4", users=len(self.probe.users), target={"replay": str(self.probe.history.path)})
        for act, said in self._done:
            assert repr(await act(again)) == said
        await again.close()

    def judged(self) -> dict[str, Judgement]:
        """Every checker's judgement, by its id."""
        checkers = [checker() for checker in REGISTRY.values()]
        judgements = judge(checkers, list(self.probe.history), Window(start=self._start))
        self._start = len(self.probe.history)
        return {judgement.checker: judgement for judgement in judgements}

    def found(self) -> dict[str, set[str]]:
        """The kinds of what was found, by checker."""
        return {
            id: {finding.kind for finding in judgement.findings}
            for id, judgement in self.judged().items()
            if judgement.findings
        }

    def doubtless(self, *ids: str) -> dict[str, tuple[str, ...]]:
        """All findings, and the doubts of these checkers: nothing, where all is well and was shown to be."""
        return {
            id: (*(finding.summary for finding in judgement.findings), *(judgement.doubts if id in ids else ()))
            for id, judgement in self.judged().items()
            if judgement.findings or (judgement.doubts and id in ids)
        }


async def acting_on(lab: Lab) -> AsyncIterator[Acting]:
    """An investigation of a lab, closed afterwards; a broken one may not even let everything be removed."""
    probe = await investigate("C4", users=2, target=as_target(lab))
    yield Acting(probe)
    await probe.close()


def taken(judgement: Judgement, surface: str = "") -> set[tuple[str, str]]:
    """The forgeries that were accepted (at doors of this surface), each with whom its bearer was taken for."""
    return {
        (place.operation.split('"')[1], "themselves" if pair.owner == pair.recipient else pair.owner or "a stranger")
        for finding in judgement.findings
        if surface in ("", finding.surface) and finding.kind == "forged credential accepted"
        for place in finding.operations
        for pair in place.pairs
    }
