"""The answer on the first screen: a line under the opening cell that follows the verdicts as they come."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from netra_probe.display.controls import visible
from netra_probe.display.tables import badge
from netra_probe.requirements import SCENARIOS
from netra_probe.verdict import CaseResult, CleanUp, Verdict


class Banner:
    """Shown once by ``investigate`` and updated in place by each check; outside a notebook it stays silent.

    The opening cell is tagged ``nbval-ignore-output``: what it shows changes while the notebook runs.
    """

    def __init__(self, *, scenario: str, environment: str) -> None:
        self._scenario = scenario
        self._environment = environment
        self._handle: DisplayHandle | None = None
        self._cast = ""

    def show(self, users: Sequence[str]) -> None:
        self._cast = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        if get_ipython() is not None:
            self._handle = display(self._bundle((), None), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def update(self, cases: Sequence[CaseResult], cleaned: CleanUp | None) -> None:
        if self._handle is not None:
            self._handle.update(self._bundle(cases, cleaned), raw=True)  # type: ignore[no-untyped-call]

    def _bundle(self, cases: Sequence[CaseResult], cleaned: CleanUp | None) -> dict[str, Any]:
        return {kind: visible(shown) for kind, shown in self._texts(cases, cleaned).items()}

    def _texts(self, cases: Sequence[CaseResult], cleaned: CleanUp | None) -> dict[str, str]:
        title = SCENARIOS[self._scenario].title
        place = f"on {self._environment}, with {self._cast}"
        if not cases:
            text = f"{self._scenario} {title} {place}: running …"
            return {"text/plain": text, "text/html": f"<p>{html.escape(text)}</p>"}
        verdict = Verdict.worst(case.verdict for case in cases)
        worst = next(case for case in cases if case.verdict is verdict)
        passed = sum(case.verdict is Verdict.PASS for case in cases)
        counts = f"{passed} of {len(cases)} cases pass"
        answer = f"{worst.id}: {worst.reason}" if verdict is not Verdict.PASS else "nobody saw anybody else’s data"
        tail = "" if cleaned is None else f" · clean-up: {cleaned.verdict}"
        beside = sum(not finding.is_leak for case in cases for finding in case.findings)
        tail = (f" · hygiene: {beside} objection(s)" if beside else "") + tail
        line = f"{self._scenario} {title} {place}: {counts} · {answer}{tail}"
        return {
            "text/plain": f"{str(verdict).upper()}  {line}",
            "text/html": f'<p style="font-size:15px">{badge(verdict)}&nbsp; {html.escape(line)}</p>',
        }
