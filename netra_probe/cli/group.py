"""All commands. Each is imported when it is called: some take a second of processor time to import."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

#: Name → module and attribute, and what `--help` says of it: the first sentence of the command's own help.
COMMANDS: dict[str, tuple[str, str]] = {
    "bundle": ("retention:bundle", "Pack a run into one file for a ticket."),
    "compare": ("report:compare_runs", "Compare run A with run B, case by case."),
    "detect": (
        "detect:detect",
        "Run scenarios on labs with faults and report what they detect.",
    ),
    "doctor": ("doctor:doctor", "Check a target before a run: what is reachable, and what a run would do."),
    "init": ("notebooks:init", "Copy the notebooks and parameter files into a folder."),
    "lab": ("lab:app", "Run the lab manually."),
    "open": ("notebooks:open_lab", "Open the start notebook in JupyterLab, with a lab."),
    "prune": ("retention:prune", "Delete old runs."),
    "recheck": ("recheck:recheck", "Judge a run again from its recorded histories."),
    "refresh": ("notebooks:refresh", "Re-execute the committed notebooks on a lab and normalise them."),
    "report": ("report:report", "Write the reports of a run again."),
    "reproduce": ("reproduce:reproduce", "Run the reproducers of a red case: is the leak still there?"),
    "run": ("run:run", "Execute notebooks through papermill and judge what they recorded."),
    "scan": ("retention:scan", "Find secrets in notebooks, histories, reports, logs and archives."),
    "scenarios": ("notebooks:scenarios", "List the scenarios: title, cases and last verdict."),
    "ticket": ("reproduce:ticket", "Write a ticket, in Markdown, for each red case of a run."),
}

#: Options of the commands that start labs.
faults_option = click.option(
    "--fault", "faults", multiple=True, help="start the lab with this fault: W1, or X1:0.5 (repeatable)"
)
modules_option = click.option(
    "--fault-module", "modules", multiple=True, type=click.Path(path_type=Path), help="a Python file with faults"
)


class Commands(click.Group):
    """A group that knows the names of its commands before it has imported any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            module, _, name = COMMANDS[cmd_name][0].partition(":")
            found: Any = getattr(import_module(f"netra_probe.cli.{module}"), name)
            self.add_command(found, cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="netra-probe")
@click.pass_obj
def app(loaded: Callable[[], None] | None) -> None:
    """Investigate user isolation on Netra deployments.

    Exit status: 0 pass, 1 a finding, 2 wrong use or parameters, 3 inconclusive or interrupted, 70 a defect of
    netra-probe.
    """
    # click calls this once the command is imported and before it does anything.
    if loaded is not None:
        loaded()
