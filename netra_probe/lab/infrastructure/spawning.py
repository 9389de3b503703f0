"""The supervisor as a process of whoever starts a lab: spawned, listened to, given up."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from netra_probe.lab.infrastructure.plan import Plan

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
