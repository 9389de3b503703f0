"""Interrupts: a Ctrl-C, a ``kill`` and a terminal that was closed are one and the same thing.

Imports next to nothing: the command handles interrupts before it loads anything else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType
from typing import Any

#: What asks a command to end.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Exit status of an interrupted command: inconclusive.
INTERRUPTED = 3


#: prctl(2): the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1
#: What a terminal sends to all processes on it: a Ctrl-C, and that it is closed.
FROM_TERMINALS = frozenset({signal.SIGINT, signal.SIGHUP})


def on_interrupt(handler: Any) -> None:
    """Handle all interrupts alike, but for a hang-up that ``nohup`` has us ignore."""
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


def end_with_parent(parent: int) -> None:
    """For a worker: leave what a terminal sends to the parent, and end when it ends, however it ends.

    A worker holds both ends of the pipe on which it is given work, so that the end of its parent is no end of file.
    """
    for number in FROM_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FROM_TERMINALS)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was killed before we could ask to be told
        os._exit(1)
