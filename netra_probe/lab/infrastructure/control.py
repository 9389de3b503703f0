"""The control socket of a lab: end it, stop and start one part as disturbances do, change what services are told."""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netra_probe.lab.infrastructure import services
from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.processes import post_json

if TYPE_CHECKING:
    from netra_probe.lab.infrastructure.launch import Launch


RELOAD_SECONDS = 5.0
CONFIGURED = ("auth", "backend-1", "backend-2")
"""The services that follow their configuration, in the order in which they hear of changes."""
_PREFIXES = ("AUTH_SERVICE_", "BACKEND_", "")

ROTATED: Mapping[str, str] = {"JWT_SECRET_KEY": "jwt", "SERVICE_SECRET": "service"}
"""Secrets that can be rotated, and where the lab keeps them."""

Changed = dict[str, list[str]]


async def configure(lab: Launch, changes: Mapping[str, str | None]) -> Changed:
    """Set settings, or take back with None what was set; all of it or, when a service refuses, nothing."""
    for name, value in changes.items():
        if any(character in f"{name}{value}" for character in "\r\n\0"):
            raise LabError(f"{name!r} cannot be set: names and values are one line each")
    before = lab.configuration.read("runtime")
    after = {name: value for name, value in {**before, **changes}.items() if value is not None}
    lab.configuration.write("runtime", after)
    replies = await _reload(lab)
    problem = _unknown(changes, replies) or _refused(changes, replies)
    if problem:
        lab.configuration.write("runtime", before)
        await _reload(lab)
        raise LabError(problem)
    return {name: reply["changed"] for name, reply in replies.items()}


async def rotate(lab: Launch, name: str) -> Changed:
    """Give a secret a new value; services accept the former one for ``SECRET_OVERLAP_SECONDS`` more."""
    if name not in ROTATED:
        raise LabError(f"{name} cannot be rotated; there are: {', '.join(ROTATED)}")
    secret = services.new_secret()
    lab.configuration.write_secret(name, secret)
    new: Any = {ROTATED[name]: secret}
    lab.secrets = dataclasses.replace(lab.secrets, **new)
    lab.at = dataclasses.replace(lab.at, secrets=lab.secrets)
    return {service: reply["changed"] for service, reply in (await _reload(lab)).items()}


async def _reload(lab: Launch) -> dict[str, dict[str, Any]]:
    replies: dict[str, dict[str, Any]] = {}
    for name in CONFIGURED:
        child = lab.children.by_name.get(name)
        if child is None or child.ended.done():
            continue  # it reads the files when it starts
        url, headers = f"{lab.at.url(name)}/lab/reload", {"X-Lab-Operator": lab.secrets.operator}
        status, reply = await asyncio.to_thread(post_json, url, headers, RELOAD_SECONDS)
        if status != 200:
            raise LabError(f"{name} did not read its configuration again (HTTP {status}).")
        replies[name] = reply
    return replies


def _unknown(changes: Mapping[str, str | None], replies: Mapping[str, Mapping[str, Any]]) -> str | None:
    declared = {f"{prefix}{name}" for reply in replies.values() for name in reply["declared"] for prefix in _PREFIXES}
    for name in changes:
        if declared and name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            return f"no service has a setting {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    return None


def _refused(changes: Mapping[str, str | None], replies: Mapping[str, Mapping[str, Any]]) -> str | None:
    for service, reply in replies.items():
        for name, problem in reply["rejected"].items():
            if name == "files" or any(f"{prefix}{name}" in changes for prefix in _PREFIXES):
                return f"{service} refuses: {problem}"
    return None


ANSWER_SECONDS = 90.0


async def serve(lab: Launch, path: Path, told_to_end: asyncio.Future[str]) -> asyncio.Server:
    """Answer one JSON line per connection.

    ``{"do": "stop"}`` ends the lab; ``{"do": …, "service": name}`` disturbs one part; ``{"do": "configure",
    "settings": {…}}`` and ``{"do": "rotate", "secret": name}`` change the services' settings; ``{"do": "recompose",
    "plan": {…}}`` starts them again after another plan.
    """
    order = asyncio.Lock()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply: dict[str, Any] = {"ok": True}
        try:
            request = json.loads(await reader.readline())
            if request.get("do") == "stop" and "service" not in request:
                if not told_to_end.done():
                    told_to_end.set_result("control")
            else:
                async with order:
                    reply["done"] = await _carry_out(lab, request)
                    lab.directory.write_state(lab.state())
        except Exception as error:  # the caller gets the error; the lab goes on
            reply = {"error": str(error) or type(error).__name__}
        writer.write(json.dumps(reply).encode() + b"\n")
        writer.close()

    os.umask(0o177)
    try:
        return await asyncio.start_unix_server(answer, path)
    finally:
        os.umask(0o077)


async def _carry_out(lab: Launch, request: dict[str, Any]) -> Any:
    match request.get("do"):
        case "configure":
            return await configure(lab, request["settings"])
        case "rotate":
            return await rotate(lab, str(request["secret"]))
        case "recompose":
            return await lab.recompose(lab.plan.changed(request["plan"]))
        case act:
            return await _disturb(lab, str(act), str(request.get("service")))


async def _disturb(lab: Launch, act: str, name: str) -> None:
    child = lab.children.by_name.get(name)
    if child is None:
        raise LabError(f"the lab has no service {name!r}; there are: {', '.join(lab.children.by_name)}")
    running = not child.ended.done()
    match act:
        case "suspend" if running:
            child.signal(signal.SIGSTOP)
        case "resume" if running:
            child.signal(signal.SIGCONT)
        case "kill" if running:
            child.expected_to_end = True
            child.signal(signal.SIGKILL)
            await lab.stop_one(name)
        case "stop" if running:
            await lab.stop_one(name)
        case "start" if not running:
            await lab.start_again(name)
        case "restart":
            if running:
                await lab.stop_one(name)
            await lab.start_again(name)
        case _:
            raise LabError(f"cannot {act} {name}, which is {'running' if running else 'stopped'}")


def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to a lab's control socket and return its answer; LabError when the lab is gone or refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except OSError as error:
            raise LabError("The lab does not answer on its control socket: it has ended. Start another.") from error
    reply: dict[str, Any] = json.loads(line or b'{"error": "the lab ended meanwhile"}')
    if "error" in reply:
        raise LabError(f"The lab could not do that: {reply['error']}")
    return reply
