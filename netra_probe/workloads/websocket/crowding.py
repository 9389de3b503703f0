"""One user asks for as much as they are given; the others, who ask for little, must not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe.clients.policy import slowed_down
from netra_probe.clients.protocol import PING
from netra_probe.clients.replies import Refused
from netra_probe.clients.websocket import Socket
from netra_probe.history.frames import Frame
from netra_probe.plans.routes import backend_client
from netra_probe.plans.tabs import open_tab
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Messages and requests of the busy user, where no quota ends them before: twice what the platform allows, since a
#: quota that is counted in fixed windows may begin anew on the way.
MESSAGES, READS = 1300, 60
#: Messages that are on their way at a time.
BATCH = 50
ROUTE = "/api/threads"


@workload(Mode.ATTACK, "using up a quota", title="One user's load beside others")
async def crowd_out(
    probe: Investigation,
    busy: User | None = None,
    others: Sequence[User] = (),
    *,
    messages: int = MESSAGES,
    reads: int = READS,
    backend: int = 0,
) -> Outcome:
    """One user sends pings, then reads over HTTP, until rate-limited; after each the others ask once.

    >>> await crowd_out(probe)   # doctest: +SKIP
    One user's load beside others (dave, alice, bob, carol): 650 messages, 60 reads, 1 told to slow down, …

    A quota that does not know its users (one for all, or one for each address, behind a proxy) refuses the others
    (fault P5).

    Arguments:
        busy: whose quota is used up for a while; a further user, where one can be had.
    """
    if busy is None and not probe.target.accounts:
        (busy,) = await probe.recruit(1)
    busy = busy or probe.users[-1]
    others = list(others) or [user for user in probe.users if user is not busy]
    party = (busy, *others)
    sent, limited, refused = 0, 0, 0
    sockets = {user.name: await open_tab(user, backend=backend) for user in party}
    try:
        if (mine := sockets[busy.name]) is not None:
            sent, limited = await _flood(probe, mine, messages)
            listening = [one for name, one in sockets.items() if one is not None and name != busy.name]
            refused += (await asyncio.gather(*(_pings(probe, one, 1) for one in listening))).count(0)
    finally:
        for socket in sockets.values():
            if socket is not None:
                await socket.close()
    clients = {user.name: backend_client(probe, user, backend).http for user in party}
    asked = 0
    try:
        while asked < reads:
            replies = await asyncio.gather(*(clients[busy.name].request("GET", ROUTE) for _ in range(10)))
            asked += len(replies)
            if any(isinstance(reply, Refused) for reply in replies):
                limited += 1
                break
        replies = await asyncio.gather(*(clients[user.name].request("GET", ROUTE) for user in others))
        refused += sum(isinstance(reply, Refused) for reply in replies)
    finally:
        for http in clients.values():
            await http.close()
    # The busy user is meant to be rate-limited.
    probe.notes.lift(slowed_down(busy.name, f"GET {ROUTE}"))
    counts = {"messages": sent, "reads": asked, "told to slow down": limited, "others refused": refused}
    return Outcome(users=names(party), counts=counts)


async def _flood(probe: Investigation, socket: Socket, messages: int) -> tuple[int, int]:
    """Pings in batches, each waited for, until one is refused; how many were sent, and whether one was refused."""
    for sent in range(0, messages, BATCH):
        number = min(BATCH, messages - sent)
        if await _pings(probe, socket, number) < number:
            return sent + number, 1
    return messages, 0


async def _pings(probe: Investigation, socket: Socket, number: int) -> int:
    """Send so many pings; how many pongs there were when each was answered or refused."""
    start, pongs, answers = socket.position, 0, 0

    def last(frame: Frame) -> bool:
        nonlocal pongs, answers
        pongs += frame.name == "pong"
        answers += frame.name in ("pong", "error")
        return answers == number

    for _ in range(number):
        await socket.send_text(PING)
    await socket.until(last, within=probe.timeouts.connect, start=start)
    return pongs
