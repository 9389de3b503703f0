"""Whether the services answer: status, version, how fast, and what time they think it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from netra_probe.checkers.hygiene.checker import HygieneChecker
from netra_probe.checkers.hygiene.honesty import ILL, HonestHealth
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Broken, Reply, Unreachable
from netra_probe.doctor.report import Line, Status
from netra_probe.workloads.hygiene.sockets import ask_health

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

#: Where services say how they are, the most telling first (netra-wire §2 and §7).
HEALTH = ("/health", "/health/ready", "/health/live", "/auth/status", "/openapi.json")
#: Seconds by which a clock may be off before tokens and their expiry are judged wrongly.
TOLERABLE_SKEW = 5.0
_UNWELL = ILL | {"degraded"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The answer to a question about health; ``skew`` is how far the service's clock is ahead, in seconds."""

    route: str
    reply: Reply
    milliseconds: float
    skew: float | None = None


async def look_at_services(probe: Investigation) -> list[Line]:
    """One line for the auth service and one for each backend, asked at once."""
    target = probe.target
    places = [(f"backend {number}", url) for number, url in enumerate(target.backend_urls, start=1)]
    if target.auth_url in target.backend_urls:
        # One service that is both is looked at, and spoken of, once.
        places = [(f"auth service and {name}" if url == target.auth_url else name, url) for name, url in places]
    else:
        places.insert(0, ("auth service", target.auth_url))
    return list(await asyncio.gather(*(_look(probe, subject, url) for subject, url in places)))


async def look_at_claims(probe: Investigation) -> list[Line]:
    """A line for each service that says it is well around something that it cannot do, or contradicts itself."""
    await ask_health(probe, probe.users[0])
    findings = HygieneChecker("health")(probe.history).findings
    return [
        Line(subject="health", status=Status.NOTE, text=finding.summary)
        for finding in findings
        if HonestHealth.kind in finding.kind
    ]


async def _look(probe: Investigation, subject: str, url: str) -> Line:
    http = probe.wire.http(url, surface="probe")
    try:
        asked = await _ask(http)
    finally:
        await http.close()
    reply = asked.reply
    if isinstance(reply, Unreachable):
        text = f"{url} cannot be reached ({reply.reason}): is it running, and is the URL right?"
        return Line(subject=subject, status=Status.BROKEN, text=text)
    if not isinstance(reply, Answered):
        status = Status.BROKEN if isinstance(reply, Broken) or not getattr(reply, "status", 0) else Status.NOTE
        return Line(subject=subject, status=status, text=f"{url}{asked.route}: {reply!r}")
    if reply.page:
        text = f"{url}{asked.route} was answered with {reply.page}: no answer of an API; is the URL right?"
        return Line(subject=subject, status=Status.BROKEN, text=text)
    told, status = [f"{asked.milliseconds:.0f} ms"], Status.OK
    body = reply.body if isinstance(reply.body, dict) else {}
    told.append(f"says {body.get('status', 'nothing of its health')}")
    version = body.get("version") or _version_in_openapi(body)
    told.append(f"version {version}" if version else "no version")
    if ill := _unwell(body):
        status = Status.NOTE
        told.append(f"but {', '.join(ill)}")
    if asked.skew is None:
        told.append("no clock to compare with")
    elif abs(asked.skew) > TOLERABLE_SKEW:
        status = Status.NOTE
        told.append(
            f"its clock is {abs(asked.skew):.0f} s {'ahead' if asked.skew > 0 else 'behind'}: mind token expiry"
        )
    else:
        told.append("clock agrees")
    return Line(subject=subject, status=status, text=", ".join(told))


async def _ask(http: Http) -> Asked:
    """The first health route that answers, with the server's time against ours."""
    asked: Asked | None = None
    for route in HEALTH:
        dates: list[bytes] = []

        async def trace(event: str, info: Mapping[str, Any], dates: list[bytes] = dates) -> None:
            if event.endswith("receive_response_headers.complete"):
                headers = next((part for part in info["return_value"] if isinstance(part, list)), [])
                dates += [value for name, value in headers if name.lower() == b"date"]

        wall, begin = time.time(), time.monotonic()
        reply = await http.request("GET", route, anonymous=True, extensions={"trace": trace})
        took = time.monotonic() - begin
        asked = Asked(route=route, reply=reply, milliseconds=took * 1000, skew=_skew(dates, wall + took / 2))
        if isinstance(reply, Answered | Unreachable | Broken):
            break
    assert asked is not None
    return asked


def _skew(dates: list[bytes], ours: float) -> float | None:
    """How far the ``Date`` header is ahead of our clock; it says whole seconds, so half a one is added."""
    try:
        return parsedate_to_datetime(dates[0].decode("ascii")).timestamp() + 0.5 - ours
    except (IndexError, ValueError, TypeError):
        return None


def _version_in_openapi(body: Mapping[str, Any]) -> str:
    info = body.get("info")
    return str(info.get("version", "")) if isinstance(info, dict) else ""


def _unwell(body: Mapping[str, Any], name: str = "") -> list[str]:
    """What a health answer itself says is not well, by name."""
    found = []
    for key, value in body.items():
        if isinstance(value, dict):
            found += _unwell(value, key)
        elif isinstance(value, str) and value.lower() in _UNWELL:
            found.append(f"{name or 'the service' if key == 'status' else key} is {value.lower()}")
    return found
