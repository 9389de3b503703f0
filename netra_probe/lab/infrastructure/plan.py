"""What a lab shall be, and starting the supervisor that makes it so."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Literal

Ports = Literal["ephemeral", "usual"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One lab to start."""

    faults: tuple[str, ...] = ()
    """``"W1"`` or, with a rate, ``"W1:0.5"``."""
    fault_modules: tuple[str, ...] = ()
    """Absolute paths of Python files with further faults."""
    ports: Ports = "ephemeral"
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables for every service; secrets do not belong here."""
    variant: Mapping[str, Any] = field(default_factory=dict)
    """How the lab differs from the contract; see `netra_probe.lab.backend.dialects`."""
    seed_data: bool = False
    """Load the people, threads and messages of `netra_probe.lab.seeds`."""
    without: tuple[str, ...] = ()
    """Services that are not started, by name."""
    detached: bool = False
    parent: int | None = None
    """The process that the lab ends with, unless it is detached."""

    def to_json(self) -> str:
        """The plan as the supervisor's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that the supervisor was given."""
        return cls().changed(json.loads(text))

    def changed(self, values: Mapping[str, Any]) -> Plan:
        """This plan with some values replaced, as JSON has them."""
        new = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return Plan(**{**{one.name: getattr(self, one.name) for one in fields(self)}, **new})


STOP_SECONDS = 10.0


def spawn(plan: Plan) -> subprocess.Popen[bytes]:
    """Start a supervisor that carries out `plan`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "netra_probe.lab.supervisor", plan.to_json()],
        stdin=subprocess.DEVNULL if plan.detached else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # an interrupt meant for the caller must not reach the lab
        env=_environment(),
    )


def first_line(process: subprocess.Popen[bytes], timeout: float) -> dict[str, Any]:
    """The supervisor's JSON line."""
    assert process.stdout is not None
    line = b""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return {"error": f"The lab was not ready within {timeout:g} s; give it a longer timeout."}
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            line += chunk
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        assert process.stderr is not None
        complaint = process.stderr.read().decode("utf-8", "replace").strip().splitlines()[-3:]
        return {"error": "The lab's supervisor ended without a word: " + " / ".join(complaint)}
    return answer


def abandon(process: subprocess.Popen[bytes]) -> None:
    """End a supervisor whose lab is not wanted any more, giving it time to tidy up."""
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def rest_of(stream: IO[bytes] | None) -> str:
    """The error that a supervisor said last, if any."""
    try:
        lines = stream.read().splitlines() if stream is not None else []
        return str(json.loads(lines[-1]).get("error", "")) if lines else ""
    except (OSError, ValueError):
        return ""


def _environment() -> dict[str, str]:
    here = str(Path(__file__).resolve().parents[3])
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([here, *given]))}
