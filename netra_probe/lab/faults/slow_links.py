"""Small send buffers for sockets, so that a peer that does not read is felt after kilobytes and not after megabytes."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from netra_probe.lab.shared.faults import Parts

SEND_BUFFER = 4096
"""Of the kernel and of the event loop, in bytes, as on a small gateway in front of many idle sockets."""


class NarrowSendBuffers:
    """Middleware that narrows the buffers of each WebSocket as it is opened; HTTP is left alone."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            if transport is not None:
                transport.set_write_buffer_limits(high=SEND_BUFFER)
                with contextlib.suppress(OSError, AttributeError):
                    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        await self._app(scope, receive, send)


def narrow_send_buffers(parts: Parts) -> None:
    """Put the middleware in front of everything."""
    parts["middleware"] = [NarrowSendBuffers, *parts["middleware"]]
