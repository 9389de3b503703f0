"""All commands, put together."""

from __future__ import annotations

import click

from netra_probe.commands import detecting, doctor, keeping, lab, notebooks, rechecking, reporting, running


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="netra-probe")
def app() -> None:
    """Investigate user isolation on Netra deployments.

    Exit status: 0 pass, 1 a finding, 2 wrong use or parameters, 3 inconclusive or interrupted, 70 a defect of
    netra-probe.
    """


for command in (
    running.run,
    rechecking.recheck,
    reporting.report,
    reporting.compare_runs,
    doctor.doctor,
    detecting.detect,
    notebooks.scenarios,
    notebooks.init,
    notebooks.open_lab,
    notebooks.refresh,
    keeping.scan,
    keeping.prune,
    keeping.bundle,
    lab.app,
):
    app.add_command(command)
