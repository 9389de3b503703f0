"""Writes of many rows whose sender hangs up in the middle: all of the rows are to be there, or none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Answered, Unreachable
from netra_probe.clients.rest import BackendClient
from netra_probe.history import actions
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.target.deployment import Mode
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


@workload(Mode.ATTACK, "hanging up on requests")
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
        return Outcome(act="half-done writes", users=names(users), missing=f"POST {BATCH}")
    control, *books = [_Books(user=user, client=backend_client(probe, user, backend)) for user in users]
    try:
        # What a user's first write costs more than the next ones is no part of the measure.
        await asyncio.gather(*(_batch(probe, book, None, records=1) for book in (control, *books)))
        took = [seconds for _ in range(BATCHES) if (seconds := await _batch(probe, control, None)) is not None]
        listed = await _listed(control)
        room = len(listed or ())
        whole = all(listed.count(name) == RECORDS for name in control.batches[1:]) if listed is not None else False
        if len(took) < BATCHES or not whole:
            return Outcome(act="half-done writes", users=names(users), missing="a list of all rows that were written")
        await asyncio.gather(*(_look(probe, book, room) for book in (control, *books)))
        share = SHARE
        for number in range(tries):
            free = [book for book in books if book.rows + RECORDS <= room]
            if not free:
                # Some have to be carried out to find the moment; nearly all of them are no test.
                why = "lists show no more rows"
                cut_short(probe, "half-done writes", done=number, planned=tries // 2, why=why, unit="tries")
                break
            chosen = free[number % len(free)]
            before = chosen.rows
            await _batch(probe, chosen, share * min(took))
            # The first to look may borrow what was left open, and the next ones see what became of it.
            for book in (control, *books):
                await _look(probe, book, room)
            await asyncio.gather(*(_look(probe, book, room) for book in books))
            share *= SOONER if chosen.rows > before else LATER
    finally:
        await asyncio.gather(*(book.client.http.close() for book in (control, *books)))
    return Outcome(act="half-done writes", users=names(users), counts={"committed": len(took)})


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
    records = reply.body.get("records") if isinstance(reply, Answered) and isinstance(reply.body, dict) else None
    if not isinstance(records, list):
        return None
    return [str(record.get("service")) for record in records if isinstance(record, dict)]


def _key(book: _Books, service: str) -> str:
    return f"{book.user.name} {service}"


def _extent(count: int, whole: int) -> str | None:
    return None if count == 0 else "all" if count >= whole else "a part"
