"""Interrupts: a Ctrl-C, a ``kill`` and a terminal that was closed are one and the same thing.

Imports next to nothing: the command handles interrupts before it loads anything else.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

#: What asks a command to end.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Exit status of an interrupted command: inconclusive.
INTERRUPTED = 3


def on_interrupt(handler: Any) -> None:
    """Handle all interrupts alike, but for a hang-up that ``nohup`` has told us to ignore."""
    for number in INTERRUPTS:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        signal.signal(number, handler)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """A handler for when nothing was started yet, or everything has ended: there is nothing to tidy up."""
    os._exit(INTERRUPTED)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that lets what is going on end in order."""
    raise KeyboardInterrupt
