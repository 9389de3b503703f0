"""Options that say whom to tell of what is new."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from netra_probe.report.alerts import Alerts

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--alert-webhook", metavar="REF", default="", help="post new failures and recoveries to env:NAME"),
    click.option("--alert-command", metavar="CMD", default="", help="start this, with the alert as JSON on its input"),
    click.option("--alert-always", is_flag=True, help="also tell of failures that were told of before"),
)


def alert_options(command: Command) -> Command:
    """Give a command the options of alerts; it is called with all of them as one ``alerts``."""

    @functools.wraps(command)
    def with_alerts(alert_webhook: str, alert_command: str, alert_always: bool, **values: Any) -> Any:
        return command(alerts=Alerts(webhook=alert_webhook, command=alert_command, always=alert_always), **values)

    decorated: Any = with_alerts
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]
