"""``netra-probe``: run, judge again, look around, and run the lab manually.

Exit status: 0 pass · 1 a finding · 2 wrong use or parameters · 3 inconclusive (unreachable, dead kernel, nothing
delivered, interrupted) · 70 a defect of netra-probe itself.

This module imports next to nothing, so that an interrupt is quiet from the first moment on: loading the commands takes
as long as somebody needs to notice a mistake in what they have typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netra_probe.batch.interrupts import end_at_once, on_interrupt

if TYPE_CHECKING:
    from netra_probe.cli.group import app as app


def main() -> None:
    """Entry point: one clear sentence instead of a traceback, whatever happens."""
    on_interrupt(end_at_once)
    from netra_probe.cli.entry import enter

    raise SystemExit(enter())


def __getattr__(name: str) -> Any:
    if name == "app":
        from netra_probe.cli.group import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    main()
