"""Pools: what one request leaves behind on a connection that the next one borrows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe import nemesis
from netra_probe.clients.agent import Run
from netra_probe.clients.replies import Answered, Reply, Unreachable, body_of
from netra_probe.clients.rest import BackendClient
from netra_probe.history import actions
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.tabs import QUESTION, answered, open_tab, tabs, until_run_begins
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, cut_short, names
from netra_probe.workloads.permissions import workload
from netra_probe.workloads.websocket.resume import come_back, resume_point

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


#: Seconds after the last byte of a request at which it is hung up on: while it is read, authenticated, at the cache, at
#: the database, and about to be answered.
MOMENTS = (0.005, 0.0, 0.01, 0.02, 0.03)
#: Routes whose answer is the user's own, and that a hung-up client leaves in the middle of something.
READS = ("/api/threads", "/api/users/me", "/api/user/me", "/api/spend", "/api/chat/messages")
STREAM = "/api/chat/stream"
_NO_READS = f"a read of one's own: none of GET {', '.join(READS)}"
#: Requests at once, of everybody together, that make a pool grow.
RUSH = 36


@workload(Mode.ATTACK, "hanging up on requests", title="Cancelled requests, then reads")
async def cancel_then_read(
    probe: Investigation,
    canceller: User,
    others: Sequence[User] = (),
    *,
    moments: Sequence[float] = MOMENTS,
    backend: int = 0,
) -> Outcome:
    """Hang up on requests at various moments, and after each let everybody read their own, one after the other.

    A command that was cancelled must leave no answer (fault P3), no transaction and no setting (fault P1) on the
    connection that the next request borrows.
    """
    others = list(others) or [user for user in probe.users if user is not canceller]
    acting = names((canceller, *others))
    everybody = [canceller, *others]
    reads, clients, threads = await _prepared(probe, everybody, backend)
    if not reads:
        await _close(clients)
        return Outcome(users=acting, missing=_NO_READS)
    read = hung_up = 0
    for moment in moments:
        for route in reads:
            outcome = await clients[canceller.name].http.abandon("GET", route, after=moment)
            hung_up += isinstance(outcome, Unreachable | Answered)
            read += await _volley(others, clients, threads, reads[:2])
            others.reverse()
        read += await _volley(everybody, clients, threads, reads)
        everybody.reverse()
    await _close(clients)
    return Outcome(users=acting, counts={"aborted": hung_up, "read": read})


@workload(Mode.ATTACK, "disturbing connections")
async def cut_replies(
    probe: Investigation, victim: User, others: Sequence[User] = (), *, rounds: int = 3, backend: int = 0
) -> Outcome:
    """Lose the reply to a request that has been carried out, then let everybody read their own on the same backend."""
    others = list(others) or [user for user in probe.users if user is not victim]
    read = cut = 0
    async with nemesis.between(probe, victim) as link:
        _, clients, threads = await _prepared(probe, (victim, *others), backend)
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
    cut_short(probe, "cut replies", done=cut, planned=rounds, why="no reply could be held back")
    return Outcome(users=names((victim, *others)), counts={"cut": cut, "read": read})


@workload(title="Pooled connections in turn")
async def borrow_in_turn(
    probe: Investigation, users: Sequence[User] = (), *, rounds: int = 3, backend: int = 0
) -> Outcome:
    """One after the other, on one backend, everybody reads what is theirs and then writes.

    A pool hands out the connection that was used last: whoever reads borrows the one that somebody else has just
    written on, with what was set on it (fault P1). What is read was never read before, so that nothing comes from a
    cache.
    """
    users = list(users) or probe.users
    reads, clients, threads = await _prepared(probe, users, backend)
    if not reads:
        await _close(clients)
        return Outcome(users=names(users), missing=_NO_READS)
    read = 0
    for _ in range(rounds):
        for route in reads:
            for user in users:
                read += bool(await clients[user.name].http.request("GET", route))
                await refresh_pool(user, clients[user.name], threads[user.name])
    await _close(clients)
    return Outcome(users=names(users), counts={"read": read})


@workload(title="More requests than connections")
async def saturate(
    probe: Investigation, users: Sequence[User] = (), *, width: int = 12, rounds: int = 2, backend: int = 0
) -> Outcome:
    """Have more requests under way than a pool has connections: each must still get the answer to their own."""
    users = list(users) or probe.users
    reads, clients, threads = await _prepared(probe, users, backend)
    if not reads:
        await _close(clients)
        return Outcome(users=names(users), missing=_NO_READS)
    read = 0
    for _ in range(rounds):
        replies = await asyncio.gather(
            *(_read(clients[user.name], reads, threads[user.name], number) for number in range(width) for user in users)
        )
        read += sum(map(bool, replies))
        read += await _volley(users, clients, threads, reads)
    await _close(clients)
    return Outcome(users=names(users), counts={"read": read})


@workload(Mode.ATTACK, "hanging up on requests")
async def churn(
    probe: Investigation,
    users: Sequence[User] = (),
    *,
    cycles: int = 4,
    size: int = 3,
    backend: int = 0,
    streams: bool = True,
) -> Outcome:
    """Come, hang up and go, cycle after cycle; measure what the target holds on to after each of them (fault P4).

    Each cycle opens and closes sockets, resets some of them in the middle of a run, and hangs up on requests and
    (unless ``streams`` is false) streams. What a first cycle and a rush before it warm up is not measured.
    """
    users = list(users) or probe.users
    stream = supported_route(probe, "POST", STREAM) if streams else ""
    connected = 0
    runs: list[Run] = []
    await saturate_pool(probe, users)
    async for _ in probe.cycles(cycles):
        clients = {user.name: backend_client(probe, user, backend) for user in users}
        for user in users:
            sockets = [await open_tab(user, backend=backend) for _ in range(size)]
            connected += sum(socket is not None for socket in sockets)
            await asyncio.gather(*(socket.close() for socket in sockets if socket is not None))
            http = clients[user.name].http
            await asyncio.gather(*(http.abandon("GET", "/api/threads", after=0.01) for _ in range(size)))
            if stream:
                await http.abandon("POST", stream, after=0.03, json={"request": QUESTION, "message": QUESTION})
        if not probe.patience.is_hopeless:
            runs += await _cut_one_run(probe, users, backend)
        await _close(clients)
    return Outcome(users=names(users), counts={"cycles": cycles, "connected": connected, "answered": answered(runs)})


async def _prepared(
    probe: Investigation, users: Sequence[User], backend: int
) -> tuple[list[str], dict[str, BackendClient], dict[str, str]]:
    """The routes by which everybody reads what is theirs, a client and a thread for each at this backend."""
    reads = [route for candidate in READS if (route := supported_route(probe, "GET", candidate))]
    clients = {user.name: backend_client(probe, user, backend) for user in users}
    threads = {user.name: await _thread(user, clients[user.name]) for user in users}
    return reads, clients, threads


async def _thread(user: User, client: BackendClient) -> str:
    """A thread whose title is a secret of the user's, made at this client's backend."""
    reply = await client.create_thread(f"Budget {user.canary('title', 'rest')}")
    return str(body_of(reply).get("id", ""))


async def _volley(
    users: Sequence[User], clients: dict[str, BackendClient], threads: dict[str, str], routes: Sequence[str]
) -> int:
    """Everybody in turn reads what is theirs, so that each is the next one after somebody else; how often it worked."""
    read = 0
    for number in range(len(routes) + 1):
        for user in users:
            read += bool(await _read(clients[user.name], routes, threads[user.name], number))
    return read


async def refresh_pool(user: User, client: BackendClient, thread: str) -> None:
    """Give one of the user's threads a new secret for a title: what is read of it now was never read before."""
    if thread:
        await client.rename_thread(thread, f"Budget {user.canary('title', 'rest')}")


async def _read(client: BackendClient, routes: Sequence[str], thread: str, number: int) -> Reply:
    """One of the routes, or after them all the thread itself, by number."""
    choice = number % (len(routes) + bool(thread))
    return await client.thread(thread) if choice == len(routes) else await client.http.request("GET", routes[choice])


async def saturate_pool(probe: Investigation, users: Sequence[User]) -> None:
    """Many requests at once at every backend: pools grow to what they will need, and have no reason to grow later."""
    for number in range(len(probe.target.backend_urls)):
        clients = {user.name: backend_client(probe, user, number) for user in users}
        asked = [
            clients[user.name].http.request("GET", READS[0]) for _ in range(-(-RUSH // len(users))) for user in users
        ]
        await asyncio.gather(*asked)
        await _close(clients)


async def _cut_one_run(probe: Investigation, users: Sequence[User], backend: int) -> list[Run]:
    """Everybody asks; the first one is cut off in the middle, and comes back for the rest. The others' runs."""
    first = users[0]
    async with tabs(users, backend=backend) as sockets:
        dying = sockets.get(first.name)
        thread = await first.new_thread() if dying is not None else ""
        asking = probe.start(
            user.ask(QUESTION, socket=sockets[user.name], thread=thread if user is first and thread else None)
            for user in users
            if user.name in sockets
        )
        if dying is None:
            return await asking
        # Not the end of some earlier run: this one has to be in its middle.
        await until_run_begins(probe, dying, thread=thread)
        await _abort(probe, first, dying.name)
        await dying.abort()
        run, *others = await asking
    await come_back(probe, first, run, resume_point(dying), backend=backend)
    return others


async def _abort(probe: Investigation, user: User, connection: str) -> None:
    probe.history.observe(
        actions.DISTURB, user=user.name, connection=connection, detail={"what": "cut", "target": connection}
    )


async def _close(clients: dict[str, BackendClient]) -> None:
    await asyncio.gather(*(client.http.close() for client in clients.values()))
