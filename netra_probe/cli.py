"""``netra-probe``: run, judge again, look around, and run the lab manually.

Exit status: 0 pass · 1 a finding · 2 wrong use or parameters · 3 inconclusive (unreachable, dead kernel, nothing
delivered, interrupted) · 70 a defect of netra-probe itself.

This module imports next to nothing, so that an interrupt is handled from the first moment: loading the commands takes
longer than the time in which somebody notices a mistyped command.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netra_probe.commands.group import app as app

#: What asks the command to end: a Ctrl-C, a ``kill``, a terminal that was closed.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Exit status of an interrupted command: inconclusive.
INTERRUPTED = 3


def main() -> None:
    """Entry point: one clear sentence instead of a traceback, whatever happens."""
    on_interrupt(_end_at_once)
    from netra_probe.commands.entry import enter

    raise SystemExit(enter())


def on_interrupt(handler: Any) -> None:
    """Handle all interrupts alike, but for a hang-up that ``nohup`` has told us to ignore."""
    for number in INTERRUPTS:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        signal.signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """Before anything was started, and after everything has ended, there is nothing to tidy up."""
    os._exit(INTERRUPTED)


def __getattr__(name: str) -> Any:
    if name == "app":
        from netra_probe.commands.group import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    main()
