"""``lab``: the embedded platform by hand."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, TypeVar

import click
import psutil

from netra_probe import lab as labs
from netra_probe.cli.group import faults_option, modules_option
from netra_probe.cli.plans import check_faults
from netra_probe.clients.account_ledger import Ledger
from netra_probe.display.tables import Table
from netra_probe.errors import ParameterError, TargetError, did_you_mean
from netra_probe.lab import Variant
from netra_probe.target.lab import SECRETS, as_target

Command = TypeVar("Command", bound=Callable[..., Any])


def _choice(option: str, default: str, help: str, *, name: str = "", alone: str = "") -> Callable[[Command], Command]:
    """An option for one part of a variant; ``alone`` is what the option means without a value."""
    name = name or option.removeprefix("--")
    more: dict[str, Any] = {"is_flag": False, "flag_value": alone} if alone else {"show_default": True}
    return click.option(option, name, type=click.Choice(Variant.choices(name)), default=default, help=help, **more)


_OPTIONS = (
    _choice("--dialect", "contract", "the envelope of events on sockets"),
    _choice("--handshake", "frame-then-1008", "how a socket is refused"),
    _choice("--welcome", "contract", "the first frame on a socket"),
    _choice(
        "--zombie",
        "no",
        "sockets say welcome and one ping, then nothing for ever (lingering: after a first second of life)",
        alone="silent",
    ),
    _choice(
        "--shared-identity",
        "token",
        "bind all sockets to one demo-user-001 (demo-users: each to one of its own)",
        name="identity",
        alone="demo-user",
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


as_json = click.option("--json", "as_json", is_flag=True, help="machine-readable")


@click.group(name="lab")
def app() -> None:
    """Run the lab manually."""


@app.command()
@faults_option
@modules_option
@click.option(
    "--ports",
    type=click.Choice(["usual", "ephemeral"]),
    default="usual",
    show_default=True,
    help="usual are 8081, 8000, 8001, 5434 and 6381",
)
@variant_options
@click.option("--seed-data", is_flag=True, help="ten users in all states, 100 messages over 10 threads, 20 prompts")
@click.option(
    "--setting",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda context, option, given: _settings(given),
    help="a setting of the services, such as ACCESS_TOKEN_SECONDS=2 (repeatable)",
)
@as_json
def up(
    faults: tuple[str, ...],
    modules: tuple[Path, ...],
    ports: Literal["usual", "ephemeral"],
    variant: labs.Variant,
    seed_data: bool,
    settings: dict[str, str],
    as_json: bool,
) -> None:
    """Start a lab that stays until `lab down`: healthy and by the contract, unless told otherwise."""
    check_faults(faults, modules)
    try:
        running = labs.start_lab(
            faults=faults,
            fault_modules=modules,
            ports=ports,
            variant=variant,
            seed_data=seed_data,
            settings=settings,
            detached=True,
        )
    except labs.LabError as error:
        raise TargetError(str(error)) from None
    if as_json:
        click.echo(json.dumps(describe(running), indent=2))
        return
    target = running.parameters
    click.echo(f"lab {running.id} is up{' with ' + ', '.join(running.faults) if running.faults else ''}")
    click.echo(f"  auth      {target['auth_url']}")
    for url in target["backend_urls"]:
        click.echo(f"  backend   {url}")
    if variant.differences():
        click.echo(f"  differs   {variant}")
    if seed_data:
        click.echo(f"  seeded    {len(running.seeds['users'])} users; who they are is in the file below")
    click.echo(f"  secrets   {running.state_file} (readable by you only)")
    click.echo("notebooks and `netra-probe open` use it now; `netra-probe lab down` ends it")


@app.command()
@click.argument("ids", metavar="[LAB]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="every lab of this user, those of other processes too")
@click.option("--yes", is_flag=True, help="end labs of other processes without asking")
def down(ids: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Stop labs, by the ids that `lab status` shows; without an id, the one that `lab up` has started.

    A lab that a notebook, a run or a test session has started for itself is ended only if somebody confirms it, on the
    terminal or with --yes. Exit status: 2 where a lab has to be named or confirmed; nothing is stopped then.
    """
    running = labs.running_labs()
    chosen = _chosen(running, ids, everything)
    if not yes:
        for one in chosen:
            _confirm(one)
    for one in chosen:
        one.stop()
        click.echo(f"lab {one.id} is down")
    if not chosen:
        others = ", ".join(f"{one.id} ({_owner(one)})" for one in running)
        click.echo(f"no lab is up{f'; labs of other processes: {others}' if others else ''}")


def _chosen(running: list[labs.Lab], ids: tuple[str, ...], everything: bool) -> list[labs.Lab]:
    """The labs that are meant. Raises ParameterError where an id is unknown, or more than one could be meant."""
    if ids and everything:
        raise ParameterError("lab down: name labs, or give --all, not both.")
    by_id = {one.id: one for one in running}
    if unknown := [id for id in ids if id not in by_id]:
        hint = did_you_mean(unknown[0], by_id) if by_id else "no lab is running."
        raise ParameterError(f'lab down: no lab "{unknown[0]}" is running; {hint}')
    if ids:
        return [by_id[id] for id in dict.fromkeys(ids)]
    if everything:
        return running
    up = [one for one in running if one.is_detached]
    if len(up) > 1:
        raise ParameterError(f"lab down: {len(up)} labs are up; name one of {', '.join(one.id for one in up)}.")
    return up


def _confirm(one: labs.Lab) -> None:
    """Ask before a lab is ended that is another process's own. Raises ParameterError unless somebody says yes."""
    if one.is_detached:
        return
    question = f"lab {one.id} belongs to {_owner(one)}, which would lose it. End it?"
    if not sys.stdin.isatty():
        raise ParameterError(f"lab {one.id} belongs to {_owner(one)}; give --yes to end it. Nothing was stopped.")
    if not click.confirm(question, default=False, err=True):
        raise ParameterError(f"lab {one.id}: not confirmed. Nothing was stopped.")


def _owner(one: labs.Lab) -> str:
    """The process that started a lab for itself: ``process 123 (netra-probe run C4)``."""
    try:
        arguments = psutil.Process(one.parent or 0).cmdline()
    except psutil.Error:
        return f"process {one.parent}"
    words = [Path(arguments[0]).name, *arguments[1:]] if arguments else []
    return f"process {one.parent} ({shorten(' '.join(words), 60, placeholder=' …')})"


@app.command()
@as_json
def status(as_json: bool) -> None:
    """Which labs run, how they are, what their faults did, and which accounts were left behind."""
    running = labs.running_labs()
    states = [{**one.status(), **({"target": describe(one)["target"]} if as_json else {})} for one in running]
    swept, kept = asyncio.run(_left_overs(running))
    if as_json:
        click.echo(json.dumps({"labs": states, "left_over": {"removed": swept, "kept": kept}}, indent=2))
        return
    for state in states:
        click.echo(f"lab {state['id']}: {'running' if state['running'] else 'not running'}")
        for name, service in state["services"].items():
            click.echo(f"  {name:<20} {'healthy' if service.get('healthy') else 'NOT healthy'}")
        for id, counts in state["faults"].items():
            click.echo(f"  fault {id}: reached {counts['reached']}, triggered {counts['triggered']}")
    if not states:
        click.echo("no lab is running")
    for email in swept:
        click.echo(f"left over, removed now: {email}")
    for email in kept:
        click.echo(
            f"left over, still there: {email} (its deployment does not answer; run `lab status` again when it does)"
        )


@app.command(name="faults")
@modules_option
@as_json
def list_faults(modules: tuple[Path, ...], as_json: bool) -> None:
    """The defects that a lab can be started with: what each breaks, what triggers it, which checkers should see it."""
    check_faults((), modules)
    known = labs.known_faults([str(module) for module in modules])
    rows = [[id, fault.layer, fault.title, fault.trigger, " ".join(fault.checkers)] for id, fault in known.items()]
    headings = ("id", "layer", "what", "trigger", "checkers")
    if as_json:
        click.echo(json.dumps([dict(zip(headings, row, strict=True)) for row in rows], indent=2))
    else:
        click.echo(Table(caption=f"{len(rows)} faults", headings=headings, rows=rows).text())


def _settings(given: tuple[str, ...]) -> dict[str, str]:
    settings = dict(entry.split("=", 1) for entry in given if "=" in entry)
    if len(settings) < len(given):
        raise click.BadParameter("write NAME=VALUE, each name once")
    return settings


def describe(running: labs.Lab) -> dict[str, Any]:
    """A lab as a parameter file describes it: secrets by reference, and their values beside it for one to export."""
    secrets: dict[str, str] = {}
    target: dict[str, Any] = {}
    for name, value in running.parameters.items():
        if name in SECRETS and isinstance(value, str):
            variable = f"NETRA_LAB_{name.upper()}"
            secrets[variable] = value
            target[name] = f"env:{variable}"
        else:
            target[name] = value
    return {
        "id": running.id,
        "environment": "lab",
        "target": target,
        "secrets": secrets,
        "faults": list(running.faults),
        "variant": running.variant.differences(),
        "seeds": running.seeds,
        "state_file": str(running.state_file),
    }


async def _left_overs(running: list[labs.Lab]) -> tuple[list[str], list[str]]:
    """Remove what killed investigations have left on labs; returns what was removed, and what is still on the books."""
    from netra_probe.investigation.leftovers import forget_vanished, sweep_target

    ledger = Ledger()
    removed: list[str] = []
    for one in running:
        if any(entry.auth_url == one.parameters["auth_url"] for entry in ledger.orphans()):
            removed += await sweep_target(as_target(one), ledger)
    alive = {one.parameters["auth_url"] for one in running}
    ledger.strike(forget_vanished(ledger.entries(), alive))
    return removed, [entry.email for entry in ledger.orphans()]
