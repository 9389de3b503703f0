"""Ids that are somebody else's, or somebody else's as well: claimed, named, equal, and asked for in a burst."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe.clients.agent import Run
from netra_probe.clients.replies import Silent
from netra_probe.clients.websocket import Received, Socket
from netra_probe.history import actions
from netra_probe.plans.messages import NAMING, foreign, say
from netra_probe.plans.routes import backend_client
from netra_probe.plans.tabs import (
    QUESTION,
    answered,
    long_question,
    tab,
    tabs,
    until_any_run_begins,
    until_run_begins,
)
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import SILENT, Outcome, cut_short, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


@workload(Mode.ATTACK, "claiming another user's id", answers=True, title="Claimed identity")
async def claim_identity(probe: Investigation, claimant: User, victim: User, *, backend: int | None = None) -> Outcome:
    """Claim to be somebody else in the URL and in every message, and to ask in their thread; then let them ask.

    The user is who the token says; a target that goes by what the client claims sends the victim's stream to the
    claimant (fault W2).
    """
    query = {"user_id": victim.id, "client_id": victim.id}
    async with tab(victim) as own, tab(claimant, backend=backend, query=query) as posing:
        if own is None or posing is None:
            return Outcome(users=names((claimant, victim)), missing="a connection")
        thread = await victim.new_thread()
        foreign_thread = ("thread", thread, victim)
        runs = [await victim.ask(QUESTION, socket=own, thread=thread)]
        posed = [
            await claimant.ask(
                QUESTION,
                socket=posing,
                claims={"user_id": victim.id, "sender_id": victim.id},
                attempt=foreign("claim a user id in a question", *foreign_thread),
            )
        ]
        intruded = await claimant.ask(
            QUESTION,
            socket=posing,
            thread=thread,
            claims={"user_id": victim.id},
            attempt=foreign("claim a thread in a question", *foreign_thread),
        )
        asking = probe.start([victim.ask(QUESTION, socket=own, thread=thread)])
        run = await _own_run(probe, victim, own)
        if run:
            posed.append(
                await claimant.ask(
                    QUESTION,
                    socket=posing,
                    claims={"run_id": run},
                    attempt=foreign("claim a run in a question", "run", run, victim),
                )
            )
        runs += await asking
        runs.append(await victim.ask(QUESTION, socket=own, thread=thread))
        await posing.fence()
    return Outcome(
        users=names((claimant, victim)),
        counts={
            "answered": answered(runs),
            "answered as the caller": answered(posed),
            "accepted in the thread": answered([intruded]),
        },
    )


@workload(Mode.ATTACK, "following another user's thread", answers=True, title="Subscriptions to another user's thread")
async def follow_foreign(probe: Investigation, intruder: User, owner: User, *, backend: int | None = None) -> Outcome:
    """Subscribe to, switch to and read the history of another user's thread and run; then let them ask in it.

    The owner does the same first, as the positive control. Who is let in without a check gets the owner's live events
    (fault W4).
    """
    async with tab(owner) as own, tab(intruder, backend=backend) as peeping:
        if own is None or peeping is None:
            return Outcome(users=names((intruder, owner)), missing="a connection")
        thread = await owner.new_thread()
        run = await owner.ask(QUESTION, socket=own, thread=thread)
        _note_own_run(probe, owner, run.run_id)
        objects = [("thread", thread), ("run", run.run_id)]
        granted = refused = 0
        for kind, id in objects:
            for message, word in NAMING.items():
                if not id or (kind == "run" and message != "subscribe"):
                    continue
                named = {f"{kind}_id": id}
                await say(probe, own, message, named)
                attempt = foreign(f"{word} a foreign {kind}", kind, id, owner)
                reply = await say(probe, peeping, message, named, attempt=attempt)
                granted += isinstance(reply, Received) and reply.frame.name not in ("error", "ack")
                refused += isinstance(reply, Received) and reply.frame.name == "error"
        after = await owner.ask(QUESTION, socket=own, thread=thread)
        await peeping.fence()
    return Outcome(
        users=names((intruder, owner)),
        counts={"granted": granted, "refused": refused, "answered": answered([run, after])},
    )


@workload(answers=True, title="Stop of one's own run")
async def stop_own_run(
    probe: Investigation, stopper: User, bystanders: Sequence[User] = (), *, backend: int = 0
) -> Outcome:
    """Stop one's own run while runs of others, begun later, work in the same process.

    A stop that hits the newest run, or all of them, ends somebody else's (fault G4).
    """
    bystanders = list(bystanders) or [user for user in probe.users if user is not stopper]
    async with tabs((stopper, *bystanders), backend=backend) as sockets:
        if stopper.name not in sockets:
            return Outcome(users=(stopper.name,), missing="a connection")
        socket = sockets[stopper.name]
        threads = {user.name: await user.new_thread() for user in (stopper, *bystanders)}
        mine = probe.start([stopper.ask(long_question(), socket=socket, thread=threads[stopper.name])])
        begun = await until_run_begins(probe, socket, thread=threads[stopper.name])
        theirs = probe.start(
            user.ask(long_question(), socket=sockets[user.name], thread=threads[user.name])
            for user in bystanders
            if user.name in sockets
        )
        if later := {sockets[user.name]: threads[user.name] for user in bystanders if user.name in sockets}:
            await until_any_run_begins(probe, later)
        run = begun.frame.ids.get("run_id", "") if isinstance(begun, Received) else ""
        await say(probe, socket, "stop_agent", {"thread_id": threads[stopper.name], "run_id": run})
        stopped, others = await mine, await theirs
    counts = {"ended": answered(stopped), "answered": answered(others)}
    return Outcome(users=(stopper.name, *names(bystanders)), counts=counts)


@workload(Mode.ATTACK, "stopping another user's run", answers=True, title="Stop of another user's run")
async def stop_foreign_run(probe: Investigation, stopper: User, victim: User, *, backend: int = 0) -> Outcome:
    """Try to stop somebody else's run by its id: it must go on to its end (faults G4, W2)."""
    async with tabs((stopper, victim), backend=backend) as sockets:
        if len(sockets) < 2:
            return Outcome(users=names((stopper, victim)), missing="a connection")
        thread = await victim.new_thread()
        asking = probe.start([victim.ask(QUESTION, socket=sockets[victim.name], thread=thread)])
        run = await _own_run(probe, victim, sockets[victim.name])
        if run:
            attempt = foreign("stop a foreign run", "run", run, victim)
            await say(probe, sockets[stopper.name], "stop_agent", {"run_id": run}, attempt=attempt)
        runs = await asking
        runs.append(await stopper.ask(QUESTION, socket=sockets[stopper.name]))
    counts = {"tried": int(bool(run)), "answered": answered(runs)}
    return Outcome(users=names((stopper, victim)), counts=counts)


@workload(answers=True)
async def equal_ids(probe: Investigation, users: Sequence[User] = (), *, rounds: int = 3, backend: int = 0) -> Outcome:
    """Ask at the same instant under one and the same message, turn and request id, on one backend.

    Ids that clients choose are theirs alone: a map that all clients share swaps the answers (fault W5).
    """
    users = list(users) or probe.users
    runs: list[Run] = []
    read = 0
    clients = [backend_client(probe, user, backend) for user in users]
    async with tabs(users, backend=backend) as sockets:
        threads = {user.name: await user.new_thread() for user in users}
        for number in range(1, rounds + 1):
            runs += await asyncio.gather(
                *(
                    user.ask(
                        QUESTION, socket=sockets[user.name], thread=threads[user.name], nonce=f"equal-run-{number}"
                    )
                    for user in users
                    if user.name in sockets
                )
            )
            replies = await asyncio.gather(
                *(
                    say(probe, sockets[user.name], "get_thread_history", {"thread_id": threads[user.name]},
                         id=f"equal-message-{number}")
                    for user in users
                    if user.name in sockets
                )
            )  # fmt: skip
            read += sum(isinstance(reply, Received) for reply in replies)
            lists = await asyncio.gather(
                *(client.http.request("GET", "/api/threads", nonce=f"equal-request-{number}") for client in clients)
            )
            read += sum(map(bool, lists))
            if any(isinstance(run.outcome, Silent) for run in runs):
                cut_short(probe, "equal ids", done=number, planned=rounds, why=SILENT)
                break
    await asyncio.gather(*(client.http.close() for client in clients))
    return Outcome(users=names(users), counts={"answered": answered(runs), "read": read})


@workload(answers=True)
async def burst(probe: Investigation, users: Sequence[User] = (), *, size: int = 3, rounds: int = 2) -> Outcome:
    """Everybody starts several runs, each in a thread of its own, all in the same instant.

    Ids that are made of a time, or of a counter that two processes have, come out equal here (fault X6).
    """
    users = list(users) or probe.users
    runs: list[Run] = []
    async with tabs(users) as sockets:
        here = [user for user in users if user.name in sockets]
        threads = {user.name: [await user.new_thread() for _ in range(size)] for user in here}
        for number in range(1, rounds + 1):
            runs += await asyncio.gather(
                *(
                    user.ask(QUESTION, socket=sockets[user.name], thread=thread)
                    for user in here
                    for thread in threads[user.name]
                )
            )
            if any(isinstance(run.outcome, Silent) for run in runs):
                cut_short(probe, "burst", done=number, planned=rounds, why=SILENT)
                break
    return Outcome(users=names(users), counts={"answered": answered(runs)})


async def _own_run(probe: Investigation, user: User, socket: Socket) -> str:
    """The id of the run that the user has just asked for, noted as theirs; "" when the target's events tell none."""
    begun = await until_run_begins(probe, socket, start=len(socket.received))
    run = begun.frame.ids.get("run_id", "") if isinstance(begun, Received) else ""
    _note_own_run(probe, user, run)
    return run


def _note_own_run(probe: Investigation, user: User, run: str) -> None:
    if run:
        probe.history.observe(actions.OWN, user=user.name, ids={"run_id": run}, detail={"kind": "run", "id": run})
