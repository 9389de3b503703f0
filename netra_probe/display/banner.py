"""The answer on the first screen: a line under the opening cell that follows the verdicts as they come."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from netra_probe.checkers.judging import ScenarioResult
from netra_probe.display.controls import visible
from netra_probe.display.standing import standing
from netra_probe.display.tables import badge


class Banner:
    """Shown once by ``investigate`` and updated in place by each check; outside a notebook it stays silent.

    The opening cell is tagged ``nbval-ignore-output``: what it shows changes while the notebook runs.
    """

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None
        self._cast = ""

    @property
    def is_shown(self) -> bool:
        return self._handle is not None

    def show(self, result: ScenarioResult, users: Sequence[str]) -> None:
        self._cast = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        if get_ipython() is not None:
            self._handle = display(self._bundle(result, running=True), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def update(self, result: ScenarioResult, *, running: bool) -> None:
        if self._handle is not None:
            self._handle.update(self._bundle(result, running=running), raw=True)  # type: ignore[no-untyped-call]

    def _bundle(self, result: ScenarioResult, *, running: bool) -> dict[str, Any]:
        return {kind: visible(shown) for kind, shown in self._texts(result, running=running).items()}

    def _texts(self, result: ScenarioResult, *, running: bool) -> dict[str, str]:
        word, told, verdict = standing(result, running=running)
        place = " ".join(filter(None, ["on", result.environment, result.circumstances.with_faults]))
        line = f"{told} — {result.id} {result.title} {place}, with {self._cast}"
        return {
            "text/plain": f"{word} {line}",
            "text/html": f'<p style="font-size:15px">{badge(verdict, word)}&nbsp; {html.escape(line)}</p>',
        }
