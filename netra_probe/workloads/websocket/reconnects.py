"""Coming, going and coming back: what people do with their connections, and what must not get lost in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe import nemesis
from netra_probe.clients.agent import Run
from netra_probe.clients.replies import Silent
from netra_probe.clients.websocket import Received, Socket
from netra_probe.history import actions
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.tabs import (
    QUESTION,
    answered,
    everybody_asks,
    long_question,
    mark_of,
    open_tab,
    tab,
    tabs,
    until_run_begins,
)
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import SILENT, Outcome, cut_short, names
from netra_probe.workloads.permissions import workload
from netra_probe.workloads.websocket.resume import RUN_ROUTES, ask_over_rest, come_back, resume_point

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

ONLY_LAB = "only a lab's stores are interrupted"


@workload(answers=True)
async def reconnect_storm(probe: Investigation, user: User, *, rounds: int = 3, backend: int | None = None) -> Outcome:
    """Connect and close quickly, many at once, and the new one before the old one goes; then ask, on what is left.

    A registry that keeps one connection per user forgets a living one here (fault W3); one that replays without asking
    where the reader stopped repeats itself (fault W9).
    """
    connected = done = 0
    runs: list[Run] = []
    async with tabs(_others(probe, user), backend=backend) as watching:
        for _ in range(rounds):
            socket = await open_tab(user, backend=backend)
            connected += socket is not None
            if socket is not None:
                await socket.close()
        crowd = [await open_tab(user, backend=backend) for _ in range(rounds)]
        connected += sum(socket is not None for socket in crowd)
        await asyncio.gather(*(socket.close() for socket in crowd if socket is not None))
        for _ in range(rounds):
            old = await open_tab(user, backend=backend)
            async with tab(user, backend=backend) as new:
                connected += new is not None
                if old is not None:
                    await old.close()
                if new is not None:
                    runs.append(await user.ask(QUESTION, socket=new))
            done += 1
            if _fell_silent(runs):
                break
        cut_short(probe, "reconnect storm", done=done, planned=rounds, why=SILENT)
        if not probe.patience.is_hopeless:
            runs += await everybody_asks(_others(probe, user), watching)
    return Outcome(users=(user.name,), counts={"connected": connected, "answered": answered(runs)})


@workload(Mode.ATTACK, "disturbing connections", answers=True)
async def late_close(probe: Investigation, user: User, *, rounds: int = 2, backend: int | None = None) -> Outcome:
    """Lose a connection without the target's noticing, come back, and only then let it notice.

    What the late news of the old one's end takes away from the new one shows in the runs that follow (fault W3).
    """
    done, runs = 0, list[Run]()
    async with nemesis.between(probe, user) as link, tabs(_others(probe, user), backend=backend) as watching:
        for _ in range(rounds):
            old = await open_tab(user, backend=backend)
            if old is None:
                continue
            await link.freeze(old)
            await old.abort()
            async with tab(user, backend=backend) as new:
                if new is None:
                    continue
                await link.resume(old)
                for _ in range(2):
                    runs.append(await user.ask(QUESTION, socket=new))
                    if _fell_silent(runs):
                        break
            done += 1
            if _fell_silent(runs):
                break
        cut_short(probe, "late close", done=done, planned=rounds, why=f"{SILENT}, or no connection was accepted")
        runs += await everybody_asks(_others(probe, user), watching)
    return Outcome(users=(user.name,), counts={"answered": answered(runs)})


@workload(answers=True)
async def two_tabs(
    probe: Investigation, user: User, *, backends: tuple[int | None, int | None] = (None, None)
) -> Outcome:
    """Keep two connections open at once, ask on each and on both together; close one and ask on the other.

    ``copies`` counts the runs that were seen on a tab to their end, with all events that the other tab saw: on a target
    that serves all tabs alike, two for each run. Tabs at two backends show what a registry in each process misses
    (fault F4).
    """
    runs: list[Run] = []
    copies = 0
    async with tabs(_others(probe, user)) as watching, tab(user, backend=backends[0]) as first:
        async with tab(user, backend=backends[1]) as second:
            if first is None or second is None:
                return Outcome(users=(user.name,), missing="two connections of one user")
            both = (first, second)
            runs += [await user.ask(QUESTION, socket=socket) for socket in both]
            runs += await asyncio.gather(*(user.ask(QUESTION, socket=socket, new_thread=True) for socket in both))
            for run in runs:
                ended = [await _saw(probe, socket, run) for socket in both]
                seen = [_names_of(socket, run) for socket in both]
                copies += sum(end and names == seen[0] | seen[1] for end, names in zip(ended, seen, strict=True))
        runs.append(await user.ask(QUESTION, socket=first))
        runs += await everybody_asks(_others(probe, user), watching)
    return Outcome(users=(user.name,), counts={"answered": answered(runs), "copies": copies})


@workload(answers=True)
async def leave_and_join(
    probe: Investigation, leaver: User, joiners: Sequence[User] = (), *, backend: int | None = None
) -> Outcome:
    """Leave while one's run goes on, let others connect to the same backend, and come back for the rest.

    What was kept for the one who is away must wait for them, and for nobody else (fault W6).
    """
    joiners = list(joiners) or _others(probe, leaver)
    socket = await open_tab(leaver, backend=backend)
    if socket is None:
        return Outcome(users=(leaver.name,), missing="a connection")
    asking = probe.start([leaver.ask(QUESTION, socket=socket)])
    await until_run_begins(probe, socket)
    await socket.close()
    (run,) = await asking
    # Only now is it known what came last: events go on arriving until the close is complete.
    point = resume_point(socket)
    async with tabs(joiners, backend=backend) as joined:
        # Their runs began after the one that goes on without its user: when they are over, so is that.
        others = await everybody_asks(joiners, joined)
    async with tabs(joiners, backend=backend):
        pass  # Whoever connects now is the next one, and has asked for nothing.
    ended = await come_back(probe, leaver, run, point, backend=backend)
    counts = {"joined": len(joined), "answered": answered(others), "ended": int(ended)}
    return Outcome(users=(leaver.name, *names(joiners)), counts=counts)


@workload(Mode.ATTACK, "disturbing connections", answers=True)
async def cut_and_resume(
    probe: Investigation,
    user: User,
    *,
    rounds: int = 2,
    by: str = "cursor",
    backends: tuple[int | None, int | None] = (None, None),
) -> Outcome:
    """Lose the connection in the middle of a run and come back, saying where one stopped reading.

    Arguments:
        by: ``cursor`` (``?resume_cursor=``), ``sequence`` (``?resume_run=&resume_seq=``) or ``nothing``; a target that
            numbers neither is not told anything.
        backends: where the connection was, and where to come back.

    Nothing may come twice (fault W9), and nothing be missing.
    """
    cut = ended = resumed = 0
    async with tabs(_others(probe, user)) as watching, nemesis.between(probe, user) as link:
        for _ in range(rounds):
            socket = await open_tab(user, backend=backends[0])
            if socket is None:
                continue
            asking = probe.start([user.ask(QUESTION, socket=socket)])
            await until_run_begins(probe, socket)
            await link.cut(socket)
            cut += 1
            (run,) = await asking
            point = resume_point(socket, by=by)
            resumed += bool(point)
            ended += await come_back(probe, user, run, point, backend=backends[1])
        others = await everybody_asks(_others(probe, user), watching)
    cut_short(probe, "cut and resume", done=cut, planned=rounds, why="no connection was accepted")
    counts = {"cut": cut, "resumed": resumed, "ended": ended, "answered": answered(others)}
    return Outcome(users=(user.name,), counts=counts)


@workload(answers=True, title="Runs at every backend")
async def across_backends(probe: Investigation, users: Sequence[User] = (), *, rounds: int = 1) -> Outcome:
    """Everybody listens at one backend, and has runs worked on at each of them at once.

    A registry in each process loses about 1 − 1/n of what n backends do (fault F4).
    """
    users = list(users) or probe.users
    route = supported_route(probe, "POST", *RUN_ROUTES)
    backends = range(len(probe.target.backend_urls))
    if len(backends) < 2 or not route:
        missing = "a second backend" if route else "a route that starts a run"
        return Outcome(users=names(users), missing=missing)
    clients = [(user, backend_client(probe, user, number)) for user in users for number in backends]
    async with tabs(users) as ears:
        runs = await everybody_asks(users, ears)
        # A run that was started elsewhere is known by its id alone.
        named = bool(runs) and all(run.run_id for run in runs)
        done = 0
        for _ in range(rounds if named else 0):
            runs += await asyncio.gather(
                *(
                    ask_over_rest(probe, user, ears[user.name], client.http, route)
                    for user, client in clients
                    if user.name in ears
                )
            )
            done += 1
            if any(isinstance(run.outcome, Silent) for run in runs):
                break
        cut_short(probe, "across backends", done=done, planned=rounds if named else 0, why=SILENT)
    await asyncio.gather(*(client.http.close() for _, client in clients))
    if not named:
        return Outcome(users=names(users), missing="runs with an id")
    return Outcome(users=names(users), counts={"answered": answered(runs)})


async def _saw(probe: Investigation, socket: Socket, run: Run) -> bool:
    """Whether a tab gets to see a run to its end; it is given a moment, since another tab may be ahead of it."""
    end, mark = run.names[-1] if run and run.names else "", mark_of(run)
    seen = await socket.until(
        lambda frame: frame.name == end and mark in (frame.run, frame.ids.get("turn_id")),
        within=probe.timeouts.grace if end else 0.0,
    )
    return isinstance(seen, Received)


def _names_of(socket: Socket, run: Run) -> Counter[str]:
    """How often each event of a run came to a tab."""
    mark = mark_of(run)
    return Counter(
        seen.frame.name for seen in socket.received if mark and mark in (seen.frame.run, seen.frame.ids.get("turn_id"))
    )


def _fell_silent(runs: Sequence[Run]) -> bool:
    """Whether the last run never ended: then nothing is connected any more, lest a later connection get its events."""
    return bool(runs) and isinstance(runs[-1].outcome, Silent)


def _others(probe: Investigation, *users: User) -> list[User]:
    return [other for other in probe.users if other not in users]


@workload(answers=True, title="Overlapping conversations of one user")
async def two_conversations(probe: Investigation, user: User, *, rounds: int = 1) -> Outcome:
    """One user asks in one thread and, before the answer is there, in another one; then reads both.

    Over one connection, as who changes the conversation does, and over two, as who has two tabs. A place that knows
    only one current conversation for a user or a connection mixes them up (fault X7).
    """
    runs: list[Run] = []
    threads = [await user.new_thread() for _ in range(2)]
    async with tab(user) as one, tab(user) as other:
        if one is None or other is None or not all(threads):
            return Outcome(users=(user.name,), missing="threads and a connection")
        for _ in range(rounds):
            for second in (one, other):
                runs += await _overlapping(probe, user, threads, (one, second))
    read = sum([bool(await user.rest.messages(thread)) for thread in threads])
    return Outcome(
        users=(user.name,),
        counts={"asked": len(runs), "answered": answered(runs), "read": read},
    )


async def _overlapping(
    probe: Investigation, user: User, threads: list[str], sockets: tuple[Socket, Socket]
) -> list[Run]:
    """A long question in the first thread, and a short one in the second as soon as the first one's run has begun."""
    start = len(sockets[0].received)
    first = probe.start([user.ask(long_question(), socket=sockets[0], thread=threads[0])])
    await until_run_begins(probe, sockets[0], start=start, thread=threads[0])
    second = await user.ask(QUESTION, socket=sockets[1], thread=threads[1])
    return [*await first, second]


@workload(answers=True, title="Subscriptions at the cache interrupted")
async def interrupt_listeners(probe: Investigation, users: Sequence[User] = ()) -> Outcome:
    """Cut all subscriptions at the cache, as a fail-over does, while sockets are open; then everybody asks over them.

    Sockets that answer pings and get no events any more are the sign of a listener that did not come back (fault W14).
    """
    party = list(users) or probe.users
    if not probe.rules.lab:
        probe.notes.withhold(ONLY_LAB)
        return Outcome(users=names(party), missing=ONLY_LAB)
    if probe.cache is None:
        return Outcome(users=names(party), missing="access to the cache")
    async with tabs(party) as sockets:
        runs = await everybody_asks(party, sockets)
        # Whoever else investigates this lab would be disturbed as well.
        await probe.turn.alone()
        try:
            probe.history.observe(actions.DISTURB, detail={"what": "interrupt", "target": "subscriptions at the cache"})
            await probe.cache.cut_subscriptions()
            await asyncio.gather(*(socket.fence() for socket in sockets.values()))
            runs += await everybody_asks(party, sockets)
        finally:
            await probe.turn.measured()
    return Outcome(users=names(party), counts={"asked": len(runs), "answered": answered(runs)})
