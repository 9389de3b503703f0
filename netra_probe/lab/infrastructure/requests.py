"""Small HTTP requests for the lab's own use: one that waits for a service to come up, two for its operator."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


async def status_of(host: str, port: int, path: str) -> int:
    """The HTTP status that a service answers; waits as long as the service takes to accept the connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("closed without an answer")
        return int(line.split()[1])
    finally:
        writer.close()


def get_json(url: str, headers: Mapping[str, str], timeout: float) -> tuple[int, Any]:
    """Status and JSON body of a GET; ``(0, None)`` when nobody answers in time."""
    return _ask("GET", url, headers, timeout)


def post_json(url: str, headers: Mapping[str, str], timeout: float) -> tuple[int, Any]:
    """The same of a POST without a body."""
    return _ask("POST", url, headers, timeout)


def _ask(method: str, url: str, headers: Mapping[str, str], timeout: float) -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, parts.path or "/", headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
