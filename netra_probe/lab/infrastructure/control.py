"""The control socket of a lab: end it, stop and start one part as disturbances do, change what services are told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.reconfiguration import configure, rotate

if TYPE_CHECKING:
    from netra_probe.lab.infrastructure.launch import Launch

ANSWER_SECONDS = 90.0


async def serve(lab: Launch, path: Path, told_to_end: asyncio.Future[str]) -> asyncio.Server:
    """Answer one JSON line per connection.

    ``{"do": "stop"}`` ends the lab; ``{"do": …, "service": name}`` disturbs one part; ``{"do": "configure",
    "settings": {…}}`` and ``{"do": "rotate", "secret": name}`` change what services are told; ``{"do": "recompose",
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
        except Exception as error:  # whoever asked is told; the lab goes on
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
