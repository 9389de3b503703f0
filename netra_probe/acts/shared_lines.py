"""One TCP connection for several users, as a proxy in front of a backend keeps it: who is who must not depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from netra_probe.acts.offers import offered
from netra_probe.acts.outcome import Outcome, names
from netra_probe.acts.pools import freshen
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Refused, Reply
from netra_probe.permission import permit
from netra_probe.target import Mode

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation
    from netra_probe.users import User

#: Servers read bodies in pieces of 65,536 bytes, and go on reading in another task for what is larger.
LARGE = 70_000
#: Routes that say who one is, or show what one has.
OWN_THINGS = ("/api/threads", "/api/users/me", "/api/user/me", "/api/spend")
#: Routes that take a large body of one's own: the profile, a thread of one's own, a new thread.
PROFILES = ("/api/users/me", "/api/user/me")


async def share_a_line(
    probe: Investigation, users: Sequence[User] = (), *, size: int = LARGE, backend: int = 0
) -> Outcome:
    """Let users take turns on one kept-alive connection: small requests, a large body, the next user, and nobody.

    What a server keeps by connection instead of by request shows in the answer to the next one on the line (X2, P1);
    who shows no token must not be anybody. ``same line`` counts the responses that came over the very connection of
    the one before: without them nothing was tried.
    """
    permit(probe, Mode.PROBE, "sending large bodies")
    users = list(users) or probe.users
    number = backend % len(probe.target.backend_urls)
    http = probe.wire.http(
        probe.target.backend_urls[number], surface="rest", backend=f"backend-{number + 1}", pinned="shared-line/rest"
    )
    reads = [route for candidate in OWN_THINGS if (route := offered(probe, "GET", candidate))]
    profile = offered(probe, "PUT", *PROFILES)
    read = refused = large = 0
    try:
        threads = {user.name: await user.new_thread() for user in users}
        for user in users:
            read += await _read_own(http, reads, user, threads[user.name])
        for sender, successor in [*pairwise(users), (users[-1], users[0])]:
            await freshen(sender, sender.rest, threads[sender.name])
            large += bool(await _send_large(http, sender, profile, size))
            read += await _read_own(http, reads, successor, threads[successor.name])
            large += bool(await _send_large(http, sender, profile, size))
            refused += sum([isinstance(await _get(http, route, None), Refused) for route in reads])
        if profile:
            for user in users:
                await http.request("PUT", profile, json={"preferences": {}}, **_as(user))
    finally:
        await http.close()
    counts = {"read": read, "large bodies": large, "anonymous refused": refused}
    return Outcome(act="shared line", users=names(users), counts=counts)


async def _read_own(http: Http, routes: Sequence[str], user: User, thread: str) -> int:
    """Let a user read what is theirs; how often it worked."""
    read = sum([bool(await _get(http, route, user)) for route in routes])
    if thread:
        read += bool(await http.request("GET", "/api/threads/{id}", path={"id": thread}, **_as(user)))
    return read


async def _send_large(http: Http, user: User, profile: str, size: int) -> Reply:
    """A body of this size in the name of a user, to a place where only they will ever see it."""
    blob = "x" * size
    if profile:
        return await http.request("PUT", profile, json={"preferences": {"blob": blob}}, **_as(user))
    return await http.request("POST", "/api/threads", json={"title": "Budget", "metadata": {"blob": blob}}, **_as(user))


async def _get(http: Http, route: str, user: User | None) -> Reply:
    if user is not None:
        return await http.request("GET", route, **_as(user))
    return await http.request(
        "GET", route, anonymous=True, attempt={"attempt": "no token on a used connection", "expect": "refused"}
    )


def _as(user: User) -> dict[str, Any]:
    return {"token": user.rest.http.token, "principal": user.name}
