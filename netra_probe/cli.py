"""``netra-probe``: run, judge again, look around, and the lab by hand.

Exit status: 0 pass · 1 a finding · 2 wrong use or parameters · 3 inconclusive (unreachable, dead kernel, nothing
delivered).
"""

from __future__ import annotations

import sys

import typer

from netra_probe.commands import lab, notebooks, running
from netra_probe.errors import ProbeError

app = typer.Typer(
    name="netra-probe",
    help="Investigate user isolation on Netra deployments. "
    "Exit status: 0 pass, 1 a finding, 2 wrong use, 3 inconclusive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(running.run)
app.command("recheck")(running.recheck)
app.command("scenarios")(notebooks.scenarios)
app.command("open")(notebooks.open_lab)
app.command("refresh")(notebooks.refresh)
app.command("scan")(notebooks.scan)
app.add_typer(lab.app, name="lab")


def main() -> None:
    """Entry point: one clear sentence instead of a traceback for everything that is not a bug of ours."""
    try:
        app()
    except ProbeError as error:
        print(f"netra-probe: {error}", file=sys.stderr)
        raise SystemExit(error.exit_status) from None
    except KeyboardInterrupt:
        print("netra-probe: interrupted; what was recorded is kept.", file=sys.stderr)
        raise SystemExit(3) from None


if __name__ == "__main__":
    main()
