"""One TCP connection for several users, as a proxy in front of a backend keeps it: who is who must not depend on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Refused, Reply
from netra_probe.plans.routes import supported_route
from netra_probe.target.deployment import Mode
from netra_probe.workloads.database.pools import refresh_pool
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Servers read bodies in pieces of 65,536 bytes, and go on reading in another task for what is larger.
LARGE = 70_000
#: Routes that say who one is, or show what one has.
OWN_THINGS = ("/api/threads", "/api/users/me", "/api/user/me")
#: Routes that take a large body of one's own; where there is none, a new thread does.
PROFILES = ("/api/users/me", "/api/user/me")


@workload(Mode.PROBE, "sending large bodies")
async def share_a_line(
    probe: Investigation, users: Sequence[User] = (), *, size: int = LARGE, backend: int = 0
) -> Outcome:
    """Let users take turns on one kept-alive connection: small requests, a large body, the next user, and nobody.

    What a server keeps by connection instead of by request shows in the answer to the next one on the line (faults X2,
    P1); who shows no token must not be anybody. Each response says in the history whether it came over the very
    connection of the one before (``line``): where none did, nothing was tried.
    """
    users = list(users) or probe.users
    threads = {user.name: await user.new_thread() for user in users}
    pairs = [*pairwise(users), (users[-1], users[0])]
    counts = {"read": 0, "refused": 0, "large bodies": 0}
    for number, (sender, successor) in enumerate(pairs, start=1):
        line = _line(probe, number, backend)
        try:
            await _take_turns(probe, line, sender, successor, threads, size, counts)
        finally:
            await line.close()
    return Outcome(act="shared line", users=names(users), counts=counts)


async def _take_turns(
    probe: Investigation,
    line: Http,
    sender: User,
    successor: User,
    threads: Mapping[str, str],
    size: int,
    counts: dict[str, int],
) -> None:
    """One user's requests on a line, each followed by one of somebody else's: small ones first, then large ones."""
    reads = [route for candidate in OWN_THINGS if (route := supported_route(probe, "GET", candidate))]
    profile = supported_route(probe, "PUT", *PROFILES)
    for large in (False, True):
        for route in reads:
            for reader in (successor, None):
                # What the sender has was never read before: an answer with it in is nobody's old answer.
                await refresh_pool(sender, sender.rest, threads[sender.name])
                body = "x" * size if large else ""
                sent = await _send(line, sender, profile, body)
                counts["large bodies"] += large and bool(sent)
                reply = await _get(line, route, reader)
                counts["read" if reader else "refused"] += bool(reply) if reader else isinstance(reply, Refused)
    if profile:
        await _send(line, sender, profile, "")


def _line(probe: Investigation, number: int, backend: int) -> Http:
    """One more connection that several users will share."""
    at = backend % len(probe.target.backend_urls)
    return probe.wire.http(
        probe.target.backend_urls[at], surface="rest", backend=f"backend-{at + 1}", pinned=f"shared-line-{number}/rest"
    )


async def _send(line: Http, user: User, profile: str, blob: str) -> Reply:
    """A body in the name of a user, to a place where only they will ever see it."""
    if profile:
        return await line.request("PUT", profile, json={"preferences": {"blob": blob}}, **_as(user))
    body = {"title": "Budget", "metadata": {"blob": blob}}
    return await line.request("POST", "/api/threads", json=body, **_as(user))


async def _get(http: Http, route: str, user: User | None) -> Reply:
    if user is not None:
        return await http.request("GET", route, **_as(user))
    return await http.request(
        "GET", route, anonymous=True, attempt={"attempt": "no token on a used connection", "expect": "refused"}
    )


def _as(user: User) -> dict[str, Any]:
    return {"token": user.rest.http.token, "principal": user.name}
