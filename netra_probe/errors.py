"""What can go wrong before or beside an investigation.

    ProbeError
     ├── ParameterError     wrong use: a parameter, file, scenario or environment   (exit status 2)
     │    └── AlreadyCheckedError   a case was checked twice
     ├── TargetError        the target cannot be reached or used                    (exit status 3)
     └── OutputError        what was found cannot be kept where it should be        (exit status 3)

What a target answers is never an exception: refusals, silence and closed sockets are values that a notebook looks at.
Each message is one sentence that names the culprit, and one that says what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ProbeError(Exception):
    """Base of all errors that netra-probe raises on purpose."""

    exit_status = 3

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: a notebook shows the message, and no frames whose locals could hold a token."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(ProbeError):
    """A parameter, file, scenario or environment is wrong."""

    exit_status = 2


class AlreadyCheckedError(ParameterError):
    """A case was checked a second time, such as by executing its cell again: nothing is wrong with what was done."""


class TargetError(ProbeError):
    """The target cannot be reached, or answers in a way no investigation can work with."""


class OutputError(ProbeError):
    """What was found cannot be written or copied to where it should be kept."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: ``did you mean "users"?``, or the list of what there is."""
    names = sorted(set(known))
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    if not close:
        folded = {name.casefold(): name for name in names}
        close = [folded[wrong.casefold()]] if wrong.casefold() in folded else []
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(names)}."
