"""Different users do the same thing, one after the other: what was made for the first must not come to the second.

Equal questions, threads of the same name, and the same requests with more and with less in them: sequentially, so that
only what is *kept* can leak, and nothing that merely overlaps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import quantiles
from typing import TYPE_CHECKING

from netra_probe.checkers.noninterference import OTHERS, PIECE, SECRETS, VARIANT
from netra_probe.clients.agent import Run, ask
from netra_probe.clients.replies import body_of
from netra_probe.clients.websocket import Received, Socket
from netra_probe.history import actions
from netra_probe.investigation.survey import survey
from netra_probe.openapi.arguments import COMMON
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.tabs import QUESTION, answered, tabs
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: The name of everybody's thread.
LABEL = "Quarterly budget"
#: One question in several wordings.
ALIKE = (
    "Which service costs me most {mark}?",
    "Please tell me which service costs me the most {mark}.",
    "WHICH SERVICE COSTS ME MOST, {mark}",
    "{mark}: which service, please, costs me most?",
)
#: Characters of a question: caches keep long beginnings only; it goes out in three spellings, in frames of 8,192 bytes.
LENGTH = 2_100
#: Pairs that are compared: ten for the rank test, and two that may fail.
PAIRS = 12
#: On a machine whose first pieces come more unevenly than this (quartiles, in seconds), so many times as many.
UNEVEN, MORE = 0.05, 3
#: Seconds in which a job that goes on in the background must have come to something.
JOB = 3.0
#: Routes by which one asks for something that is made in the background, and the word for it in events and answers.
_JOBS = re.compile(r"export|report|job|task|backup|digest", re.IGNORECASE)


@workload(title="Identical questions")
async def identical_prompts(
    probe: Investigation, users: Sequence[User] = (), *, question: str = QUESTION, rounds: int = 2
) -> Outcome:
    """Everybody asks the identical question, one after the other; no secret in it, each with data of their own.

    A completion that is kept under the question alone is the first asker's for all. Triggers G5. No other investigation
    asks these words: an answer that is left of one would hide that.
    """
    return await _ask_in_turn(probe, "identical_prompts", users, [f"{question} ({probe.mark})"], rounds=rounds)


@workload(title="Similar questions")
async def similar_prompts(probe: Investigation, users: Sequence[User] = (), *, rounds: int = 1) -> Outcome:
    """Everybody asks the same in words of their own, one after the other; no secret in it, each with data of their own.

    A cache that finds completions again by what questions mean gives one user's answer to another whose question is
    not equal. Triggers G7.
    """
    wordings = [wording.format(mark=probe.mark) for wording in ALIKE]
    return await _ask_in_turn(probe, "similar_prompts", users, wordings, rounds=rounds)


async def _ask_in_turn(
    probe: Investigation, act: str, users: Sequence[User], wordings: Sequence[str], *, rounds: int
) -> Outcome:
    """Everybody asks one after the other, each with the next of the wordings."""
    party = list(users) or probe.users
    runs: list[Run] = []
    async with tabs(party, backend=0) as sockets:
        for user in party:
            await have_data(probe, user)
        for number in range(1, rounds + 1):
            for position, user in enumerate(party):
                if user.name in sockets:
                    question, nonce = wordings[position % len(wordings)], f"{user.name}-{act}-{number}"
                    thread = await user.new_thread()
                    runs.append(await _ask(probe, user, sockets[user.name], question, thread=thread, nonce=nonce))
    if not sockets:
        return Outcome(users=names(party), missing="a connection")
    return Outcome(users=names(party), counts={"asked": len(runs), "answered": answered(runs)})


@workload(title="Threads with the same label")
async def use_one_label(probe: Investigation, users: Sequence[User] = (), *, rounds: int = 2) -> Outcome:
    """Everybody asks in a thread of their own that has everybody's name, and in one that has none.

    What an agent remembers of a thread is its owner's, whatever the thread is called. Triggers G3.
    """
    party = list(users) or probe.users
    runs: list[Run] = []
    async with tabs(party, backend=0) as sockets:
        threads = {user.name: [await _thread(user, title) for title in (LABEL, None)] for user in party}
        for _ in range(rounds):
            for user in party:
                for thread in threads[user.name]:
                    if thread and user.name in sockets:
                        runs.append(await user.ask(QUESTION, socket=sockets[user.name], thread=thread))
    if not runs:
        return Outcome(users=names(party), missing="a thread and a connection")
    return Outcome(users=names(party), counts={"asked": len(runs), "answered": answered(runs)})


@workload(Mode.PROBE, "creating objects", title="Sequential background jobs")
async def sequential_jobs(
    probe: Investigation, users: Sequence[User] = (), *, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """One user makes everything with all that can be said, the next with no more than has to be, and so on in turn.

    What the service fills in must be nobody's: a default that all requests share collects what others said (fault X4).
    What is made in the background is waited for: a worker that keeps its first caller works in that one's name (fault
    X3).
    """
    party = list(users) or probe.users
    walk = ApiCrawler(probe, await survey(probe), tuple(party), budget=budget or Budget(), backend=backend)
    jobs = done = 0
    try:
        async with tabs(party, backend=backend) as sockets:
            for number, user in enumerate(party):
                await walk.create_all(user.name, sparsely=number % 2 == 1, runs=False)
            for user in (*party, party[0]):
                for route in walk.routes:
                    if route.method == "POST" and not route.braces and _JOBS.search(route.path):
                        socket = sockets.get(user.name)
                        start = len(socket.received) if socket is not None else 0
                        arguments = walk.fill(route, user.name)
                        if arguments is None or not await walk.call(user.name, route, arguments):
                            continue
                        jobs += 1
                        if socket is not None:
                            told = await socket.until(
                                lambda frame: bool(_JOBS.search(frame.name)), within=JOB, start=start
                            )
                            done += isinstance(told, Received)
            for user in party:
                for route in walk.routes:
                    arguments = walk.fill(route, user.name) if route.reads else None
                    if arguments is not None:
                        await walk.send(user.name, route, arguments)
    finally:
        await walk.close()
    made = sum(1 for user in party for thing in walk.things.of(user.name) if thing.made)
    return Outcome(users=names(party), counts={"made": made, "jobs": jobs, "jobs completed": done})


async def _ask(probe: Investigation, user: User, socket: Socket, question: str, *, thread: str, nonce: str) -> Run:
    """A question exactly as it is given, with nothing of the user's in it."""
    return await ask(
        probe.history,
        socket,
        question,
        nonce=nonce,
        thread_id=thread,
        kind=probe.generator,
        patience=probe.patience,
    )


async def have_data(probe: Investigation, user: User) -> None:
    """Give the user something that agents find when they look at the user's own data."""
    http = backend_client(probe, user, 0).http
    profile = supported_route(probe, "PUT", "/api/users/me", "/api/user/me")
    spend = supported_route(probe, "POST", "/api/spend")
    if profile:
        await http.request("PUT", profile, json={"name": f"{user.name.title()} {user.canary('name', 'rest')}"})
    if spend:
        body = {"service": f"{COMMON} {user.canary('service', 'rest')}", "amount_usd": 1}
        await http.request("POST", spend, json=body)
    await http.close()


async def _thread(user: User, title: str | None) -> str:
    """A thread with exactly this title, or with none; "" when the target makes none."""
    reply = await user.rest.http.request("POST", "/api/threads", json={} if title is None else {"title": title})
    id = body_of(reply).get("id")
    if not isinstance(id, str):
        return ""
    user.rest.http.history.observe(
        actions.OWN, user=user.name, ids={"thread_id": id}, detail={"kind": "thread", "id": id}
    )
    return id


@workload(answers=True, title="Time to the first piece of an answer")
async def first_pieces(probe: Investigation, watcher: User, other: User, *, pairs: int = PAIRS) -> Outcome:
    """One user asks what another one has asked before, and what nobody has, in turns; all questions are equally long.

    The two are compared by the time to the first piece (``checkers.noninterference``). A cache of prefixes that all
    tenants share answers the former sooner (fault K6), so that others' questions can be guessed.
    """
    runs: list[Run] = []
    async with tabs((watcher, other), backend=watcher.backend_number) as sockets:
        if len(sockets) < 2:
            return Outcome(users=(watcher.name, other.name), missing="a connection")
        runs += await probe.together(
            _ask_at_length(probe, other, sockets[other.name], "shared", number) for number in range(pairs)
        )
        # Whoever comes first in a pair changes, so that nothing that gets slower all the time looks like a difference.
        for number in range(MORE * pairs):
            if number == pairs:
                if not probe.wire.live or not _are_uneven(runs[pairs:]):
                    break
                runs += await probe.together(
                    _ask_at_length(probe, other, sockets[other.name], "shared", more)
                    for more in range(pairs, MORE * pairs)
                )
            for variant in (OTHERS, SECRETS) if number % 2 else (SECRETS, OTHERS):
                probe.history.observe(VARIANT, detail={"variant": variant})
                await other.rest.threads()
                kind = "shared" if variant == SECRETS else "new"
                runs.append(await _ask_at_length(probe, watcher, sockets[watcher.name], kind, number))
    return Outcome(users=(watcher.name, other.name), counts={"asked": len(runs), "answered": answered(runs)})


def _are_uneven(runs: Sequence[Run]) -> bool:
    """Whether the waits for first pieces differ so much that a few pairs tell nothing."""
    waits = []
    for run in runs:
        for before, seen in pairwise(run.events):
            if seen.frame.name == PIECE:
                waits.append((seen.operation.time - before.operation.time) / 1e9)
                break
    if len(waits) < 4:
        return False
    low, _, high = quantiles(waits, n=4)
    return high - low > UNEVEN


async def _ask_at_length(probe: Investigation, user: User, socket: Socket, kind: str, number: int) -> Run:
    """A long question in a thread of its own; its canary stands at the end, so that the beginnings can be equal."""
    begin = f"{probe.mark}-{kind}-{number}: where do I overspend? "
    question = (begin + "Consider every month by itself. " * (LENGTH // 32))[:LENGTH]
    return await user.ask(question, socket=socket, new_thread=True)
