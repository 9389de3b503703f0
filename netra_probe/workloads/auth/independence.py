"""What a service listens on and is connected to, which role it has at the database, and whether it speaks WebSocket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from netra_probe.clients.replies import Refused
from netra_probe.history.secret import Secret
from netra_probe.target.lab import lab_behind

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "bmV0cmEtcHJvYmUtc29jaw==",
}


@dataclass(frozen=True, kw_only=True)
class OpenPorts:
    """The TCP ports of one process, by the service that they belong to; ``port of nobody`` for any other.

    Arguments:
        listening: what it accepts connections on.
        connected: what it has opened connections to.
    """

    listening: Sequence[str]
    connected: Sequence[str]


def open_ports(probe: Investigation, service: str) -> OpenPorts | None:
    """The ports of a service of the lab, such as ``auth``; ``None`` for any other deployment."""
    running = lab_behind(probe.target) if probe.wire.live else None
    if running is None:
        return None
    services: dict[str, dict[str, Any]] = running.status()["services"]
    known = {_port(one["url"]): name for name, one in services.items()}
    listening, connected = set[str](), set[str]()
    found = psutil.Process(services[service]["pid"]).net_connections("tcp")
    own = {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
    for one in found:
        if one.status == psutil.CONN_LISTEN:
            listening.add(known.get(one.laddr.port, "port of nobody"))
        elif one.raddr and one.laddr.port not in own:
            connected.add(known.get(one.raddr.port, "port of nobody"))
    return OpenPorts(listening=sorted(listening), connected=sorted(connected))


def service_roles(probe: Investigation) -> dict[str, Secret]:
    """The lab's database as ``auth`` and ``backend`` log in to it; elsewhere the case is not applicable."""
    running = lab_behind(probe.target) if probe.wire.live else None
    if running is None:
        if probe.wire.live:
            probe.notes.withhold("logging in to the database as its services: possible on the embedded lab only")
        return {}
    return {name: Secret(url) for name, url in running.state["roles"].items()}


async def try_upgrade(probe: Investigation, path: str) -> bool:
    """Whether the auth service refuses to speak WebSocket at a path."""
    http = probe.wire.http(probe.target.auth_url, surface="auth")
    try:
        return isinstance(await http.request("GET", path, headers=_UPGRADE, anonymous=True), Refused)
    finally:
        await http.close()


def _port(url: str) -> int:
    """The port of ``http://127.0.0.1:8081``, or of ``127.0.0.1:5434``."""
    return int(url.rpartition(":")[2])
