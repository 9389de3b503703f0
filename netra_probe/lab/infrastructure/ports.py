"""Ports of the lab: held from the moment they are chosen until the server that listens on them has them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from netra_probe.lab.infrastructure.errors import LabError

HOST = "127.0.0.1"

SERVICES = ("postgres", "redis", "auth", "backend-1", "backend-2", "llm", "oidc")
"""All processes of a lab, by name."""

USUAL: Mapping[str, int] = {"auth": 8081, "backend-1": 8000, "backend-2": 8001, "postgres": 5434, "redis": 6381}
"""The platform's own ports for the test profile; the other services stay on free ports."""


def hold(name: str, port: int = 0, *, holder: Callable[[int], str | None] = lambda port: None) -> socket.socket:
    """Bind a port for service `name` (0: any free one) without listening, so that nobody else is given it.

    A server that sets SO_REUSEADDR, as PostgreSQL and Redis do, can bind and listen on a port held like this on Linux;
    our own services inherit the socket itself. `holder` names a running lab that uses a port, for the error.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise in_use(name, port, holder) from error
    return listener


def in_use(name: str, port: int, holder: Callable[[int], str | None]) -> LabError:
    """The error that names a port, who could hold it, and the remedy."""
    owner = holder(port) or "perhaps by a running Netra test stack or another server"
    return LabError(
        f"Port {port} for {name} is in use ({owner}): stop whatever listens on {HOST}:{port}"
        " (`netra-probe lab down` ends a lab), or start the lab on ephemeral ports."
    )


def port_of(listener: socket.socket) -> int:
    """The port a socket is bound to."""
    return int(listener.getsockname()[1])
