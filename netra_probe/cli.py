"""``netra-probe``: run, judge again, look around, and the lab by hand.

Exit status: 0 pass · 1 a finding · 2 wrong use or parameters · 3 inconclusive (unreachable, dead kernel, nothing
delivered).
"""

from __future__ import annotations

import signal
import sys

import click

from netra_probe.commands import detecting, doctor, keeping, lab, notebooks, rechecking, reporting, running
from netra_probe.errors import ProbeError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="netra-probe")
def app() -> None:
    """Investigate user isolation on Netra deployments.

    Exit status: 0 pass, 1 a finding, 2 wrong use, 3 inconclusive.
    """


for command in (
    running.run,
    rechecking.recheck,
    reporting.report,
    reporting.compare_runs,
    doctor.doctor,
    detecting.detect,
    notebooks.scenarios,
    notebooks.open_lab,
    notebooks.refresh,
    keeping.scan,
    keeping.prune,
    keeping.bundle,
    lab.app,
):
    app.add_command(command)


def main() -> None:
    """Entry point: one clear sentence instead of a traceback for everything that is not a bug of ours."""
    # Being asked to end is being interrupted: what was started is ended, what was recorded is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = app(standalone_mode=False)
        raise SystemExit(status if isinstance(status, int) else 0)
    except ProbeError as error:
        print(f"netra-probe: {error}", file=sys.stderr)
        raise SystemExit(error.exit_status) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (KeyboardInterrupt, click.Abort):
        print("netra-probe: interrupted; what was recorded is kept.", file=sys.stderr)
        raise SystemExit(3) from None


if __name__ == "__main__":
    main()
