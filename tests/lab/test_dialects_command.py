"""The options of `lab up` that make a lab differ become one variant; wrong ones are refused before anything starts."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from netra_probe.cli.lab import variant_options
from netra_probe.cli.main import app
from netra_probe.lab import Variant


@click.command()
@variant_options
def told(variant: Variant) -> None:
    """Say what was chosen."""
    click.echo(variant.to_text())


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ([], Variant()),
        (["--dialect", "factory", "--handshake", "http-403"], Variant(dialect="factory", handshake="http-403")),
        (["--welcome", "none", "--zombie"], Variant(welcome="none", zombie="silent")),
        (["--zombie", "lingering", "--no-cache"], Variant(zombie="lingering", cache=False)),
        (["--shared-identity", "--no-database"], Variant(identity="demo-user", database=False)),
        (["--shared-identity", "demo-users"], Variant(identity="demo-users")),
        (["--breaker"], Variant(breaker=True)),
        (["--only-agent-request"], Variant(only_agent_request=True)),
    ],
)
def test_options_become_a_variant(options: list[str], chosen: Variant) -> None:
    answer = CliRunner().invoke(told, options)
    assert answer.exit_code == 0, answer.output
    assert Variant.from_text(answer.output.strip()) == chosen


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--dialect", "klingon"], "'klingon' is not one of"),
        (["--setting", "ACCESS_TOKEN_SECONDS"], "write NAME=VALUE"),
        (["--setting", "A=1", "--setting", "A=2"], "each name once"),
    ],
)
def test_a_wrong_option_starts_nothing(options: list[str], complaint: str) -> None:
    answer = CliRunner().invoke(app, ["lab", "up", *options])
    assert answer.exit_code == 2
    assert complaint in " ".join(answer.output.split())
