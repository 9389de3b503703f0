"""The examples for CI and the README call what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from netra_probe.catalogue.folders import PROJECT
from netra_probe.cli.main import app

EXAMPLES = [PROJECT / ".github" / "workflows" / "netra-probe.yml", PROJECT / ".gitlab-ci.yml"]
README = PROJECT / "README.md"
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -c requirements.lock -e ."
NIGHTLY_TESTS = ".venv/bin/pytest -n 2 --dist loadscope -m nightly tests"


def calls(path: Path) -> list[list[str]]:
    """Each call of ``netra-probe`` in a file, as words."""
    text = re.sub(r"\$\{.*?\}\}?", "", path.read_text(encoding="utf-8"))  # what CI fills in
    text = re.sub(r"(run --env)\s*\n?", r"\1 x", text) if path in EXAMPLES else text
    lines = re.findall(r"^[^\n]*\.venv/bin/netra-probe ([^\n#|;&`]+)", text, re.MULTILINE)
    # A quote without its fellow is one that ends a text in which the call stands.
    return [shlex.split(line if line.count('"') % 2 == 0 else line.replace('"', "")) for line in lines]


@pytest.mark.parametrize("path", [*EXAMPLES, README], ids=lambda path: path.name)
def test_each_call_is_of_a_command_and_options_that_there_are(path: Path) -> None:
    found = calls(path)
    assert len(found) >= 4
    for words in found:
        command: click.Command = app
        while isinstance(command, click.Group):
            name, *words = words
            called = command.get_command(click.Context(command), name)
            assert called is not None, name
            command = called
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= options, (command.name, words)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_yaml_and_installs_as_the_readme_does(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    assert INSTALL in text
    assert INSTALL in README.read_text(encoding="utf-8")
    assert ".ci/run" in text
    assert NIGHTLY_TESTS in text
    assert NIGHTLY_TESTS in README.read_text(encoding="utf-8")


def test_both_examples_have_the_same_gates() -> None:
    names = [{words[0] for words in calls(path)} for path in EXAMPLES]
    assert names[0] == names[1] == {"run", "prune", "scan", "refresh"}
