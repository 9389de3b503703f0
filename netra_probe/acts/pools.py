"""Pools: what one request leaves behind on a connection that the next one borrows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netra_probe import nemesis
from netra_probe.acts.offers import backend_client, offered
from netra_probe.acts.outcome import Outcome, names
from netra_probe.acts.tabs import QUESTION, answered, open_tab, tabs, until_run_begins
from netra_probe.clients.agent import Run
from netra_probe.clients.backend import BackendClient
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Reply, Unreachable
from netra_probe.history import actions
from netra_probe.permission import permit
from netra_probe.target import Mode

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation
    from netra_probe.users import User

#: Seconds after the last byte of a request at which it is hung up on: while it is read, authenticated, at the cache, at
#: the database, and about to be answered.
MOMENTS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03)
#: Routes whose answer is the user's own, and that a hung-up client leaves in the middle of something.
READS = ("/api/threads", "/api/users/me", "/api/user/me", "/api/spend", "/api/chat/messages")
BATCH = "/api/spend/batch"
SPEND = "/api/spend"
STREAM = "/api/chat/stream"
#: Records of one batch: enough to be in the middle of it, few enough for the list of all to be whole.
RECORDS = 60


async def cancel_and_volley(
    probe: Investigation,
    canceller: User,
    others: Sequence[User] = (),
    *,
    moments: Sequence[float] = MOMENTS,
    backend: int = 0,
) -> Outcome:
    """Hang up on requests at various moments, and after each let everybody read their own, one after the other.

    A command that was cancelled must leave no answer (P3), no transaction and no setting (P1) on the connection that
    the next request borrows.
    """
    permit(probe, Mode.ATTACK, "hanging up on requests")
    others = list(others) or [user for user in probe.users if user is not canceller]
    reads = [route for candidate in READS if (route := offered(probe, "GET", candidate))]
    everybody = [canceller, *others]
    clients = {user.name: backend_client(probe, user, backend) for user in everybody}
    threads = {user.name: await _thread(user, clients[user.name]) for user in everybody}
    read = hung_up = 0
    for moment in moments:
        for route in reads:
            outcome = await clients[canceller.name].http.abandon("GET", route, after=moment)
            hung_up += isinstance(outcome, Unreachable | Answered)
            read += await _volley(others, clients, threads, reads[:2])
        read += await _volley(everybody, clients, threads, reads)
    await _close(clients)
    return Outcome(act="cancel and volley", users=names(everybody), counts={"hung up": hung_up, "read": read})


async def cut_replies(
    probe: Investigation, victim: User, others: Sequence[User] = (), *, rounds: int = 3, backend: int = 0
) -> Outcome:
    """Lose the reply to a request that has been carried out, then let everybody read their own on the same backend."""
    others = list(others) or [user for user in probe.users if user is not victim]
    read = cut = 0
    async with nemesis.between(probe, victim) as link:
        clients = {user.name: backend_client(probe, user, backend) for user in (victim, *others)}
        threads = {user.name: await _thread(user, clients[user.name]) for user in (victim, *others)}
        http = clients[victim.name].http
        for _ in range(rounds):
            await link.hold_replies(http)
            asking = probe.start([http.request("GET", "/api/threads")])
            if await link.reply_held(http):
                await link.cut(http)
                cut += 1
            await link.resume(http)
            await asking
            read += await _volley([*others, victim], clients, threads, ["/api/threads"])
        await _close(clients)
    return Outcome(act="cut replies", users=names((victim, *others)), counts={"cut": cut, "read": read})


async def half_done(
    probe: Investigation,
    users: Sequence[User] = (),
    *,
    moments: Sequence[float] = MOMENTS[2:],
    backend: int = 0,
) -> Outcome:
    """Hang up in the middle of writes of many rows, and look whether all of the rows are there afterwards, or none.

    Each batch is a transaction: its rows are one register that goes from nothing to all. Who reads a part of them reads
    what was never committed, or what somebody else has committed with it (P2).
    """
    permit(probe, Mode.ATTACK, "hanging up on requests")
    users = list(users) or probe.users
    if not (offered(probe, "POST", BATCH) and offered(probe, "GET", SPEND)):
        return Outcome(act="half-done writes", users=names(users), missing=f"POST {BATCH}")
    clients = {user.name: backend_client(probe, user, backend) for user in users}
    batches: dict[str, list[str]] = {user.name: [] for user in users}
    committed = hung_up = 0
    for number, moment in enumerate((None, *moments)):
        for position, user in enumerate(users):
            # The first batch of each is the control; then they take turns at being cut off: no list may overflow.
            if moment is not None and number % len(users) != position:
                continue
            service = f"batch-{number}"
            batches[user.name].append(service)
            done = await _batch(probe, user, clients[user.name].http, service, moment)
            committed += done and moment is None
            hung_up += moment is not None
            await asyncio.gather(
                *(_look(probe, other, clients[other.name].http, batches[other.name]) for other in users)
            )
    await _close(clients)
    return Outcome(act="half-done writes", users=names(users), counts={"committed": committed, "hung up": hung_up})


async def saturate(
    probe: Investigation, users: Sequence[User] = (), *, width: int = 12, rounds: int = 2, backend: int = 0
) -> Outcome:
    """Have more requests under way than a pool has connections: each must still get the answer to their own."""
    users = list(users) or probe.users
    reads = [route for candidate in READS if (route := offered(probe, "GET", candidate))]
    clients = {user.name: backend_client(probe, user, backend) for user in users}
    threads = {user.name: await _thread(user, clients[user.name]) for user in users}
    read = 0
    for _ in range(rounds):
        replies = await asyncio.gather(
            *(_read(clients[user.name], reads, threads[user.name], number) for number in range(width) for user in users)
        )
        read += sum(map(bool, replies))
        read += await _volley(users, clients, threads, reads)
    await _close(clients)
    return Outcome(act="saturated pool", users=names(users), counts={"read": read})


async def churn(
    probe: Investigation,
    users: Sequence[User] = (),
    *,
    cycles: int = 5,
    size: int = 3,
    backend: int = 0,
    streams: bool = True,
) -> Outcome:
    """Come, hang up and go, cycle after cycle; measure what the target holds on to after each of them (P4).

    Each cycle opens and closes sockets, resets some of them in the middle of a run, and hangs up on requests and
    (unless ``streams`` is false) streams. What a first cycle warms up is not measured.
    """
    permit(probe, Mode.ATTACK, "hanging up on requests")
    users = list(users) or probe.users
    stream = offered(probe, "POST", STREAM) if streams else ""
    connected = 0
    runs: list[Run] = []
    for cycle in range(-1, cycles):
        clients = {user.name: backend_client(probe, user, backend) for user in users}
        for user in users:
            sockets = [await open_tab(user, backend=backend) for _ in range(size)]
            connected += sum(socket is not None for socket in sockets)
            await asyncio.gather(*(socket.close() for socket in sockets if socket is not None))
            http = clients[user.name].http
            await asyncio.gather(*(http.abandon("GET", "/api/threads", after=0.01) for _ in range(size)))
            if stream:
                await http.abandon("POST", stream, after=0.03, json={"request": QUESTION, "message": QUESTION})
        async with tabs(users, backend=backend) as open_now:
            asking = probe.start(
                user.ask(QUESTION, socket=open_now[user.name]) for user in users if user.name in open_now
            )
            dying = next((open_now[user.name] for user in users if user.name in open_now), None)
            if dying is not None:
                await until_run_begins(probe, dying)
                await _abort(probe, users[0], dying.name)
                await dying.abort()
            runs += await asking
        await _close(clients)
        if cycle >= 0:
            await probe.gauge(cycle)
    return Outcome(
        act="churn", users=names(users), counts={"cycles": cycles, "connected": connected, "answered": answered(runs)}
    )


async def _thread(user: User, client: BackendClient) -> str:
    """A thread whose title is a secret of the user's, made at this client's backend."""
    reply = await client.create_thread(f"Budget {user.canary('title', 'rest')}")
    return str(reply.body.get("id", "")) if isinstance(reply, Answered) and isinstance(reply.body, dict) else ""


async def _volley(
    users: Sequence[User], clients: dict[str, BackendClient], threads: dict[str, str], routes: Sequence[str]
) -> int:
    """Everybody in turn reads what is theirs, so that each is the next one after somebody else; how often it worked."""
    read = 0
    for number, route in enumerate((*routes, "")):
        for user in users:
            read += bool(await _read(clients[user.name], routes, threads[user.name], number if route else len(routes)))
    return read


async def _read(client: BackendClient, routes: Sequence[str], thread: str, number: int) -> Reply:
    """One of the routes, or after them all the thread itself, by number."""
    choice = number % (len(routes) + bool(thread))
    return await client.thread(thread) if choice == len(routes) else await client.http.request("GET", routes[choice])


async def _batch(probe: Investigation, user: User, http: Http, service: str, moment: float | None) -> bool:
    """Send a batch and wait for the answer, or hang up on it after so many seconds; recorded as a transaction."""
    key = f"{user.name} {service}"
    body = {"records": [{"service": service, "amount_usd": 1, "note": ""} for _ in range(RECORDS)]}
    writes = [["w", key, "a part"], ["w", key, "all"]]
    call = probe.history.invoke(actions.TXN, user=user.name, surface="rest", detail={"txn": writes})
    if moment is None:
        reply = await http.request("POST", BATCH, json=body)
    else:
        reply = await http.abandon("POST", BATCH, after=moment, json=body)
    outcome: Any = "ok" if reply else "info" if isinstance(reply, Unreachable) else "fail"
    probe.history.complete(call, outcome, detail={"txn": writes})
    return bool(reply)


async def _look(probe: Investigation, user: User, http: Http, services: Sequence[str]) -> None:
    """Read how much there is of each of a user's batches; recorded as one transaction."""
    call = probe.history.invoke(actions.TXN, user=user.name, surface="rest", detail={"txn": []})
    reply = await http.request("GET", SPEND)
    records = reply.body.get("records") if isinstance(reply, Answered) and isinstance(reply.body, dict) else None
    if not isinstance(records, list):
        probe.history.complete(call, "fail", detail={"txn": []})
        return
    found = [record.get("service") for record in records if isinstance(record, dict)]
    reads = [["r", f"{user.name} {name}", _extent(found.count(name))] for name in services]
    probe.history.complete(call, "ok", detail={"txn": reads})


def _extent(count: int) -> str | None:
    return None if count == 0 else "all" if count >= RECORDS else "a part"


async def _abort(probe: Investigation, user: User, connection: str) -> None:
    probe.history.observe(
        actions.DISTURB, user=user.name, connection=connection, detail={"what": "cut", "target": connection}
    )


async def _close(clients: dict[str, BackendClient]) -> None:
    await asyncio.gather(*(client.http.close() for client in clients.values()))
