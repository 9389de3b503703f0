"""What becomes of a notebook's cells while an investigation is open.

A cell that raised or was interrupted has not done what it should. Whoever then executes the check by hand judges half
of the acts, and must not read a pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython

from netra_probe.errors import AlreadyCheckedError

#: Characters of an exception's message that are kept.
LONGEST = 200


class Cells:
    """Tells of each cell that ends in an exception; outside of a notebook there are none.

    Arguments:
        raised: gets the exception's name, and its message.
    """

    def __init__(self, raised: Callable[[str, str], None]) -> None:
        self._raised = raised
        self._events: Any = None

    def watch(self) -> None:
        """From now on, until ``leave``."""
        shell = get_ipython()
        if shell is not None and self._events is None:
            self._events = shell.events
            self._events.register("post_run_cell", self._ended)

    def leave(self) -> None:
        """The investigation is over."""
        if self._events is not None:
            self._events.unregister("post_run_cell", self._ended)
            self._events = None

    def _ended(self, result: Any) -> None:
        if result is None:  # the kernel gave the cell up
            self._raised("KeyboardInterrupt", "")
            return
        error = result.error_before_exec or result.error_in_exec
        if error is None or isinstance(error, AlreadyCheckedError):
            return
        # A kernel that is interrupted cancels what the cell awaits.
        name = "KeyboardInterrupt" if isinstance(error, asyncio.CancelledError) else type(error).__name__
        self._raised(name, str(error)[:LONGEST])
