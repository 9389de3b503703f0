"""Asking before anything is done to a deployment that is not on this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from netra_probe.errors import ParameterError
from netra_probe.target.deployment import Mode, Target

yes_option = click.option("--yes", is_flag=True, help="do not ask before a run on another machine")


def ask_before(target: Target, *, environment: str, what: str, yes: bool) -> None:
    """Say what will be done to a target, and go on only if somebody says so in so many words.

    Nothing is asked where everything is on this machine, where ``--yes`` was given, and where the target's parameters
    hold ``consent``, whose words the validation has compared.

    Arguments:
        what: what would be done, as the rest of a sentence.

    Raises ParameterError where the answer is another one, or nobody is there to give it.
    """
    if target.is_local:
        return
    hosts = sorted({urlsplit(url).hostname or "" for url in (target.auth_url, *target.backend_urls)})
    allowed = f", authorised by {target.authorised_by}" if target.mode is Mode.ATTACK else ""
    click.echo(f"{environment} is not on this machine: {', '.join(hosts)}. Mode {target.mode}{allowed}.", err=True)
    click.echo(what, err=True)
    if yes or target.consent:
        return
    instead = f'give --yes, or write `consent: "{target.words}"` in the target\'s parameters'
    try:
        answer = click.prompt(f'Type "{environment}" to go ahead', default="", show_default=False, err=True)
    except click.Abort:
        raise ParameterError(f"{environment}: nobody is there to be asked; {instead}.") from None
    if answer.strip() != environment:
        raise ParameterError(f"{environment}: not confirmed, nothing was sent; {instead}.")
