"""Options that make a lab speak and behave like other deployments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from netra_probe.lab import Variant

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--dialect",
        type=click.Choice(Variant.choices("dialect")),
        default="contract",
        show_default=True,
        help="the envelope of events on sockets",
    ),
    click.option(
        "--handshake",
        type=click.Choice(Variant.choices("handshake")),
        default="frame-then-1008",
        show_default=True,
        help="how a socket is refused",
    ),
    click.option(
        "--welcome",
        type=click.Choice(Variant.choices("welcome")),
        default="contract",
        show_default=True,
        help="the first frame on a socket",
    ),
    click.option(
        "--zombie",
        type=click.Choice(Variant.choices("zombie")),
        default="no",
        is_flag=False,
        flag_value="silent",
        help="sockets say welcome and one ping, then nothing for ever (lingering: after a first second of life)",
    ),
    click.option(
        "--shared-identity",
        "identity",
        type=click.Choice(Variant.choices("identity")),
        default="token",
        is_flag=False,
        flag_value="demo-user",
        help="bind all sockets to one demo-user-001 (demo-users: each to one of its own)",
    ),
    click.option("--breaker", is_flag=True, help="five refused handshakes in a row shut out everybody for 30 s"),
    click.option(
        "--only-agent-request", is_flag=True, help="only agent_request starts runs; the others are acknowledged"
    ),
    click.option("--no-database", "database", is_flag=True, default=True, flag_value=False, help="do not tell its URL"),
    click.option("--no-cache", "cache", is_flag=True, default=True, flag_value=False, help="do not tell its URL"),
)
_NAMES = ("dialect", "handshake", "welcome", "zombie", "identity", "breaker", "only_agent_request", "database", "cache")


def variant_options(command: Command) -> Command:
    """Give a command the options of a variant; it is called with all of them as one ``variant``."""

    @functools.wraps(command)
    def with_variant(**values: Any) -> Any:
        chosen = {name: values.pop(name) for name in _NAMES}
        return command(variant=Variant(**chosen), **values)

    decorated: Any = with_variant
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]
