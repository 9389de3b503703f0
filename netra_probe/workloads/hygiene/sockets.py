"""Odd handshakes and messages of the announced size; looks at health, and quotas used up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from netra_probe.checkers.hygiene.base import (
    AFTER_SIZES,
    BAD_TOKEN,
    FOREIGN_ORIGIN,
    FULL_SIZE,
    HEALTH,
    MARK,
    NO_TOKEN,
    OVER_QUOTA,
    OVERSIZED,
    OWN_HANDSHAKE,
    QUERY_TOKEN,
    QUOTA,
    USE,
)
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Reply
from netra_probe.clients.websocket import Handshake, Opened, Received, Socket
from netra_probe.forgery.tokens import subprotocols
from netra_probe.history.operation import Operation
from netra_probe.history.secret import Secret
from netra_probe.history.untrusted import number
from netra_probe.investigation.survey import Survey, survey
from netra_probe.target.deployment import Mode
from netra_probe.workloads.hygiene.sessions import ELSEWHERE
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


#: What the platform announces where a welcome says nothing of it (netra-wire §4) is not tried: nothing was promised.
LARGEST_TRIED = 1_000_000


@workload(Mode.PROBE, "trying handshakes")
async def try_handshakes(probe: Investigation, user: User) -> Outcome:
    """Open sockets as other pages, nobody, and old clients do; the user's own handshake goes first and last.

    >>> await try_handshakes(probe, alice)   # doctest: +SKIP
    Try handshakes (alice): 6 tried, 1 opened, 2 own sockets

    Two bad handshakes between good ones are far from what trips a breaker (netra-wire §1).
    """
    token = user.auth.access
    if not await _own(probe, user):
        return Outcome(users=(user.name,), missing="a socket of the user's own that answers")
    results = []
    for origin in (ELSEWHERE, "null"):
        mark = {MARK: FOREIGN_ORIGIN, "origin": origin}
        results.append(await _opens(probe, user, token=token, origin=origin, attempt=mark))
    spoken = subprotocols(token) if token else ()
    mark = {MARK: FOREIGN_ORIGIN, "origin": ELSEWHERE}
    results.append(await _opens(probe, user, token=token, origin=ELSEWHERE, subprotocols=spoken, attempt=mark))
    query = {"token": token.reveal() if token else ""}
    results.append(await _opens(probe, user, query=query, attempt={MARK: QUERY_TOKEN}))
    results.append(await _opens(probe, None, backend=user.backend_number, attempt={MARK: NO_TOKEN}))
    tampered = Secret(f"{token.reveal()[:-6]}AAAAAA") if token else None
    results.append(await _opens(probe, user, token=tampered, attempt={MARK: BAD_TOKEN}))
    counts = {"tried": len(results), "opened": sum(results), "own sockets": 1 + await _own(probe, user)}
    return Outcome(users=(user.name,), counts=counts)


@workload(Mode.PROBE, "sending messages over the announced size")
async def try_sizes(probe: Investigation, user: User) -> Outcome:
    """Send a message of almost the size that the welcome announces, then one beyond it, then a heartbeat.

    >>> await try_sizes(probe, alice)   # doctest: +SKIP
    Try sizes (alice): 8192 announced bytes
    """
    opened = await _open(probe, user, token=user.auth.access)
    if not isinstance(opened, Socket):
        return Outcome(users=(user.name,), missing="a handshake that lets the user in")
    try:
        config = opened.welcome.body.get("config") if opened.welcome is not None else None
        limit = config.get("max_message_size") if isinstance(config, dict) else None
        if not isinstance(limit, int) or not 100 < limit <= LARGEST_TRIED:
            return Outcome(users=(user.name,), missing="an announced message size that can be tried")
        await _send_and_wait(opened, _ping(limit - 1), FULL_SIZE, ("pong", "error"))
        if opened.closed is None:
            await opened.send_text(_ping(limit + 1), attempt={MARK: OVERSIZED})
            heartbeat = json.dumps({"type": "heartbeat"})
            await _send_and_wait(opened, heartbeat, AFTER_SIZES, ("heartbeat_ack", "ack"))
    finally:
        await opened.close()
    return Outcome(users=(user.name,), counts={"announced bytes": limit})


def _ping(size: int) -> str:
    """A ping of exactly so many bytes."""
    bare = json.dumps({"type": "ping", "padding": ""})
    return json.dumps({"type": "ping", "padding": "x" * (size - len(bare))})


async def _send_and_wait(socket: Socket, text: str, trial: str, answers: tuple[str, ...]) -> None:
    start = len(socket.received)
    await socket.send_text(text, attempt={MARK: trial})
    await socket.until(lambda frame: frame.name in answers, within=socket.timeouts.pong, start=start)


async def _own(probe: Investigation, user: User) -> bool:
    """The user's own handshake, and whether the socket lives: the control of all others."""
    opened = await _open(probe, user, token=user.auth.access, attempt={MARK: OWN_HANDSHAKE})
    if not isinstance(opened, Socket):
        return False
    try:
        return isinstance(await opened.fence(), Received)
    finally:
        await opened.close()


async def _opens(probe: Investigation, user: User | None, **how: Any) -> bool:
    """Whether a handshake is let in; a socket that stays open without a welcome is sent a ping."""
    opened = await _open(probe, user, **how)
    if not isinstance(opened, Socket):
        return False
    try:
        if opened.welcome is not None:
            return True
        start = len(opened.received)
        await opened.send({"type": "ping"})
        await opened.until(lambda frame: frame.name == "pong", within=opened.timeouts.pong, start=start)
        return opened.closed is None
    finally:
        await opened.close()


async def _open(probe: Investigation, user: User | None, *, backend: int = 0, **how: Any) -> Opened:
    return await probe.wire.open(
        Handshake(
            name=user.connection_name() if user is not None else "nobody/ws",
            user=user.name if user is not None else None,
            backend=user.backend_number if user is not None else backend,
            **how,
        )
    )


#: Where services say how they are.
HEALTH_ROUTES = ("/health", "/health/ready", "/auth/health", "/api/health")
#: An announced quota beyond this many requests is left alone.
LARGEST_QUOTA = 100
_LIMITS = ("x-ratelimit-limit", "ratelimit-limit")


@workload(Mode.OBSERVE, "asking for health")
async def ask_health(probe: Investigation, user: User) -> Outcome:
    """Ask every service how it is, have it do something that takes its stores, and ask again.

    >>> await ask_health(probe, alice)   # doctest: +SKIP
    Ask health (alice): 3 services, 12 answers about health, 5 uses

    Nothing is disturbed here; where a store is away, what is said of it can be held against what comes of the use.
    """
    found = await survey(probe)
    answers = uses = 0
    services: list[tuple[str, str, str | None]] = [(probe.target.auth_url, "auth", None)]
    services += [(url, "rest", f"backend-{number}") for number, url in enumerate(probe.target.backend_urls, start=1)]
    if probe.target.auth_url in probe.target.backend_urls:
        del services[0]  # one service that is both is asked once
    for url, surface, backend in services:
        nobody = probe.wire.http(url, surface=surface, backend=backend)
        http = probe.wire.http(url, surface=surface, user=user.name, backend=backend)
        http.token = user.auth.access
        http.keeper = user
        try:
            answers += await _how_are_you(nobody, found, surface)
            uses += await _use(http, surface)
            answers += await _how_are_you(nobody, found, surface)
        finally:
            await nobody.close()
            await http.close()
    counts = {"services": len(services), "answers about health": answers, "uses": uses}
    return Outcome(users=names((user,)), counts=counts)


async def _how_are_you(http: Http, found: Survey, surface: str) -> int:
    """Ask at every place that the service offers; at the usual one where it publishes none."""
    interface = found.auth if surface == "auth" else found.backend
    routes = [route for route in HEALTH_ROUTES if interface.offers("GET", route)] or list(HEALTH_ROUTES[:1])
    for route in routes:
        await http.request("GET", route, anonymous=True, attempt={MARK: HEALTH})
    return len(routes)


async def _use(http: Http, surface: str) -> int:
    """What every user does all day: it takes the store of accounts, or that of threads, and sessions."""
    routes = ("/auth/me",) if surface == "auth" else ("/api/threads",)
    for route in routes:
        await http.request("GET", route, attempt={MARK: USE})
    return len(routes)


@workload(Mode.ATTACK, "using up a quota")
async def use_up_quota(probe: Investigation, user: User) -> Outcome:
    """Send one request more than a service announces as the limit; not offered where it announces none, or a large one.

    Only the user's own quota is used.
    """
    http = probe.wire.http(user.backend_url, surface="rest", user=user.name, backend=user.backend)
    http.token = user.auth.access
    http.keeper = user
    route = "/api/threads"
    try:
        limit = _announced(probe, await http.request("GET", route))
        if not 0 < limit <= LARGEST_QUOTA:
            missing = f"an announced quota of at most {LARGEST_QUOTA} requests"
            return Outcome(users=names((user,)), missing=missing)
        served = 0
        for number in range(limit + 1):
            trial = QUOTA if number < limit else OVER_QUOTA
            served += bool(await http.request("GET", route, attempt={MARK: trial}))
    finally:
        await http.close()
    return Outcome(users=names((user,)), counts={"announced": limit, "served": served})


def _announced(probe: Investigation, reply: Reply) -> int:
    """The limit in a response's header; 0 where it says none."""
    if not isinstance(reply, Answered) or reply.operation < 0:
        return 0
    done: Operation = probe.history[reply.operation]
    headers = done.detail.get("headers", {})
    said = next((headers[name] for name in _LIMITS if name in headers), "")
    return int(number(str(said).split(",")[0].split(";")[0].strip()) or 0)
