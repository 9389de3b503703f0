"""Deployments as parameter files describe them: the session's lab, seen as any other target."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from netra_probe.cli.group import app
from netra_probe.errors import ProbeError
from netra_probe.target.deployment import Target
from netra_probe.target.lab import find_or_start


def write_parameters(folder: Path, *, environment: str = "blind", **changes: Any) -> Path:
    """A parameter file for the session's lab without its secrets; ``target`` adds to or replaces keys of its target."""
    lab = find_or_start()
    target = {"auth_url": lab.auth_url, "backend_urls": list(lab.backend_urls), **changes.pop("target", {})}
    path = folder / f"{environment}.yaml"
    path.write_text(yaml.safe_dump({"environment": environment, "target": target, "rounds": 1, **changes}))
    return path


def netra_probe(
    *arguments: str, stdin: str | None = None, seconds: float = 150, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The command line as a person meets it; without ``stdin`` nobody is there to be asked."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [sys.executable, "-m", "netra_probe.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **variables},
        **given,
    )


def called(*arguments: str, stdin: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """As ``netra_probe``, in this process: where nothing depends on it, a process of its own is only an import."""
    ended = CliRunner().invoke(app, arguments, input=stdin, env=variables, standalone_mode=False)
    if isinstance(ended.exception, ProbeError):
        complaint = f"{ended.stderr}{ended.exception}"
        return subprocess.CompletedProcess(arguments, ended.exception.exit_status, ended.stdout, complaint)
    if ended.exception is not None:
        raise ended.exception
    return subprocess.CompletedProcess(arguments, ended.return_value or 0, ended.stdout, ended.stderr)


def in_process(*arguments: str) -> tuple[int, str]:
    """Exit status and complaint of a command that is to fail, without a process of its own: that would be an import."""
    ended = CliRunner().invoke(app, arguments)
    if isinstance(ended.exception, ProbeError):
        return ended.exception.exit_status, str(ended.exception)
    return ended.exit_code, ended.stderr


def lab_with(**changes: Any) -> Target:
    """The session's lab, as a target with other parameters."""
    return Target.model_validate({**dict(find_or_start()), **changes})
