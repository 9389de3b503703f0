"""Run one service: uvicorn on uvloop and httptools, on a socket that the supervisor bound, ending with the supervisor.

    # netra_probe/lab/<service>/__main__.py
    from netra_probe.lab.shared.serving import serve

    def create_app():
        from netra_probe.lab.<service>.composition import create_app
        return create_app()

    if __name__ == "__main__":
        serve(create_app)

Environment: ``LAB_LISTEN_FD`` (an inherited, bound TCP socket) or ``LAB_PORT`` (0 picks one) or ``PORT``;
``LAB_START_FD`` (an inherited pipe: start-up goes on at its end of file, once databases are ready); ``LAB_PARENT_PID``
(end with that process); ``LAB_SERVER_LOOP`` (another event loop) and ``LAB_SERVER_RESETS_CONTEXT=0`` (requests begin in
whatever context their connection is in).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from netra_probe.lab.shared.clock import clock
from netra_probe.lab.shared.isolated_environment import get_env

SHUTDOWN_SECONDS = 1
"""How long requests and sockets may take to end after SIGTERM before they are cancelled."""

_PR_SET_PDEATHSIG = 1


class Dated:
    """Stamps answers with the time of the service, which can be wrong when somebody wants it to be."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(clock.now(), usegmt=True).encode()
                message["headers"] = [*message.get("headers", []), (b"date", date)]
            await send(message)

        await self._app(scope, receive, stamped if scope["type"] == "http" else send)


class ServingProblem(RuntimeError):
    """A service cannot listen; says where and why."""


def end_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux); exits at once if that has happened already."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def listening_socket() -> socket.socket:
    """The socket that the environment names: inherited, or bound here on 127.0.0.1."""
    environment = get_env()
    descriptor = environment.get("LAB_LISTEN_FD")
    if descriptor is not None:
        try:
            return socket.socket(fileno=int(descriptor))
        except (OSError, ValueError) as error:
            raise ServingProblem(f"LAB_LISTEN_FD={descriptor} is not an inherited socket ({error})") from error
    port = environment.get("LAB_PORT") or environment.get("PORT") or "0"
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", int(port)))
    except (OSError, ValueError, OverflowError) as error:
        listener.close()
        raise ServingProblem(f"cannot listen on port {port} of 127.0.0.1 ({error}); choose another LAB_PORT") from error
    return listener


def wait_for_start() -> None:
    """Block until the supervisor says that the databases are ready (end of file on ``LAB_START_FD``)."""
    descriptor = get_env().get("LAB_START_FD")
    if descriptor is None:
        return
    try:
        while os.read(int(descriptor), 64):
            pass
        os.close(int(descriptor))
    except (OSError, ValueError) as error:
        raise ServingProblem(f"LAB_START_FD={descriptor} is not an inherited pipe ({error})") from error


def serve(create_app: Callable[[], Any], **options: Any) -> None:
    """Build the application, wait for the databases, and serve until SIGTERM; `options` go to ``uvicorn.Config``."""
    parent = get_env().get("LAB_PARENT_PID")
    end_with_parent(int(parent) if parent else None)
    get_env().enable_isolation()
    listener = listening_socket()

    import uvicorn

    application: Any = create_app()
    if options.get("interface") != "wsgi":
        application = Dated(application)
    wait_for_start()
    config = uvicorn.Config(
        application,
        **{
            "loop": get_env().get("LAB_SERVER_LOOP") or ("uvloop" if sys.platform != "win32" else "asyncio"),
            "http": "httptools",
            "ws": "websockets-sansio",
            "lifespan": "on",
            "access_log": False,
            "log_level": "warning",
            "server_header": False,
            "date_header": options.get("interface") == "wsgi",
            "proxy_headers": False,
            # a request must never see the context variables of the one before it on the same connection
            "reset_contextvars": get_env().get("LAB_SERVER_RESETS_CONTEXT") != "0",
            "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
            **options,
        },
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again after a clean shutdown
        sys.exit(0)
