"""Asking services how they are, around something that they have to do; and using up a quota that they announce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.checkers.hygiene.marks import HEALTH, MARK, OVER_QUOTA, QUOTA, USE
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Reply
from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import number
from netra_probe.investigation.survey import Survey, survey
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Where services say how they are.
HEALTH_ROUTES = ("/health", "/health/ready", "/auth/health", "/api/health")
#: An announced quota beyond this many requests is left alone.
LARGEST_QUOTA = 100
_LIMITS = ("x-ratelimit-limit", "ratelimit-limit")


@workload(Mode.OBSERVE, "asking for health")
async def ask_health(probe: Investigation, user: User) -> Outcome:
    """Ask every service how it is, have it do something that takes its stores, and ask again.

    >>> await ask_health(probe, alice)   # doctest: +SKIP
    <ask_health of alice: services 3, answers about health 12, uses 5>

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
    return Outcome(act="ask_health", users=names((user,)), counts=counts)


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
            return Outcome(act="use_up_quota", users=names((user,)), missing=missing)
        served = 0
        for number in range(limit + 1):
            trial = QUOTA if number < limit else OVER_QUOTA
            served += bool(await http.request("GET", route, attempt={MARK: trial}))
    finally:
        await http.close()
    return Outcome(act="use_up_quota", users=names((user,)), counts={"announced": limit, "served": served})


def _announced(probe: Investigation, reply: Reply) -> int:
    """The limit in a response's header; 0 where it says none."""
    if not isinstance(reply, Answered) or reply.operation < 0:
        return 0
    done: Operation = probe.history[reply.operation]
    headers = done.detail.get("headers", {})
    said = next((headers[name] for name in _LIMITS if name in headers), "")
    return int(number(str(said).split(",")[0].split(";")[0].strip()) or 0)
