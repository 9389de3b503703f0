"""Writes whose sender hangs up in the middle, all of them or none; and bodies that keep a connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Refused, Reply, Unreachable, body_of
from netra_probe.clients.rest import BackendClient
from netra_probe.history import actions
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.target.deployment import Mode
from netra_probe.workloads.database.pools import refresh_pool
from netra_probe.workloads.outcome import Outcome, cut_short, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


BATCH = "/api/spend/batch"
SPEND = "/api/spend"
#: Records of one batch, and undisturbed batches: enough to be in the middle of, few enough to be listed on one page.
RECORDS = 90
BATCHES = 2
#: How often to hang up; and when at first, as a share of what an undisturbed batch takes from sending to answer. A
#: batch that was committed all the same was hung up on too late, one that left nothing perhaps too early.
TRIES, SHARE, SOONER, LATER = 12, 0.45, 0.75, 1.2


@dataclass(kw_only=True)
class _Books:
    """One user's batches, and the client that keeps them."""

    user: User
    client: BackendClient
    batches: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    #: Rows that the last list showed.
    rows: int = 0


@workload(Mode.ATTACK, "hanging up on requests", title="Aborted batch writes")
async def half_done(
    probe: Investigation, users: Sequence[User] = (), *, tries: int = TRIES, backend: int = 0
) -> Outcome:
    """Hang up in the middle of writes of many rows, and let everybody look at their own rows after each of them.

    Each batch is a transaction, and its rows are one register that goes from nothing to all. Who reads a part of them
    reads what was never committed, or what somebody else's request has committed with its own (fault P2). The first
    user's batches are not cut off: they show how long one takes, and that a list shows so many rows.
    """
    users = list(users) or probe.users
    if not (supported_route(probe, "POST", BATCH) and supported_route(probe, "GET", SPEND)):
        return Outcome(users=names(users), missing=f"POST {BATCH}")
    control, *books = [_Books(user=user, client=backend_client(probe, user, backend)) for user in users]
    try:
        # What a user's first write costs more than the next ones is no part of the measure.
        await asyncio.gather(*(_batch(probe, book, None, records=1) for book in (control, *books)))
        took = [seconds for _ in range(BATCHES) if (seconds := await _batch(probe, control, None)) is not None]
        listed = await _listed(control)
        room = len(listed or ())
        whole = all(listed.count(name) == RECORDS for name in control.batches[1:]) if listed is not None else False
        if len(took) < BATCHES or not whole:
            return Outcome(users=names(users), missing="a list of all rows that were written")
        await asyncio.gather(*(_look(probe, book, room) for book in (control, *books)))
        share, shortest = SHARE, min(took)
        for number in range(tries):
            free = [book for book in books if book.rows + RECORDS <= room]
            if not free:
                # Some have to be carried out to find the moment; nearly all of them are no test.
                why = "lists show no more rows"
                cut_short(probe, "half-done writes", done=number, planned=tries // 2, why=why, unit="tries")
                break
            chosen = free[number % len(free)]
            before = chosen.rows
            # An answer that was quicker than our hanging up tells that the control was slowed down by other work.
            shortest = min(shortest, await _batch(probe, chosen, share * shortest) or shortest)
            # The first to look may borrow what was left open, and the next ones see what became of it.
            for book in (control, *books):
                await _look(probe, book, room)
            await asyncio.gather(*(_look(probe, book, room) for book in books))
            share *= SOONER if chosen.rows > before else LATER
    finally:
        await asyncio.gather(*(book.client.http.close() for book in (control, *books)))
    return Outcome(users=names(users), counts={"committed": len(took)})


async def _batch(probe: Investigation, book: _Books, moment: float | None, *, records: int = RECORDS) -> float | None:
    """Send a batch and wait for the answer, or hang up on it after so many seconds; recorded as a transaction.

    Returns the seconds it took, or None when it was not carried out.
    """
    service = f"batch-{len(book.batches) + 1}"
    book.batches.append(service)
    book.sizes[service] = records
    writes = [["w", _key(book, service), "a part"], ["w", _key(book, service), "all"]]
    body = {"records": [{"service": service, "amount_usd": 1, "note": ""} for _ in range(records)]}
    call = probe.history.invoke(actions.TXN, user=book.user.name, surface="rest", detail={"txn": writes})
    begin = time.monotonic()
    if moment is None:
        reply = await book.client.http.request("POST", BATCH, json=body)
    else:
        reply = await book.client.http.abandon("POST", BATCH, after=moment, json=body)
    took = time.monotonic() - begin
    outcome: Any = "ok" if reply else "info" if isinstance(reply, Unreachable) else "fail"
    probe.history.complete(call, outcome, detail={"txn": writes})
    return took if reply else None


async def _look(probe: Investigation, book: _Books, room: int) -> None:
    """Read how much there is of each of the user's batches; recorded as a transaction, unless a page may end there."""
    call = probe.history.invoke(actions.TXN, user=book.user.name, surface="rest", detail={"txn": []})
    listed = await _listed(book)
    if listed is None or len(listed) > room:
        probe.history.complete(call, "fail", detail={"txn": []})
        return
    book.rows = len(listed)
    reads = [["r", _key(book, name), _extent(listed.count(name), book.sizes[name])] for name in book.batches]
    probe.history.complete(call, "ok", detail={"txn": reads})


async def _listed(book: _Books) -> list[str] | None:
    """To which batch each of the user's listed rows belongs; None when there is no list."""
    reply = await book.client.http.request("GET", SPEND)
    records = body_of(reply).get("records")
    if not isinstance(records, list):
        return None
    return [str(record.get("service")) for record in records if isinstance(record, dict)]


def _key(book: _Books, service: str) -> str:
    return f"{book.user.name} {service}"


def _extent(count: int, whole: int) -> str | None:
    return None if count == 0 else "all" if count >= whole else "a part"


#: Servers read bodies in pieces of 65,536 bytes, and go on reading in another task for what is larger.
LARGE = 70_000
#: Routes that say who one is, or show what one has.
OWN_THINGS = ("/api/threads", "/api/users/me", "/api/user/me")
#: Routes that take a large body of one's own; where there is none, a new thread does.
PROFILES = ("/api/users/me", "/api/user/me")


@workload(Mode.PROBE, "sending large bodies", title="Shared keep-alive connection")
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
    return Outcome(users=names(users), counts=counts)


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
