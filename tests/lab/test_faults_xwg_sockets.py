"""Faults of sockets and scale-out: driven over the wire, each is reached, triggered, seen; healthy labs are clean."""

from __future__ import annotations

import asyncio
import json
import secrets

import httpx
from backend_client import LAST, ORDER, PATIENCE, RUN_EVENTS, Frame, Socket, register_in, rest
from faulty_labs import Drive, proofs
from people import Person

from netra_probe.lab import Lab

GROUPS = (("W2", "W4", "W10", "W11"), ("W3", "W6", "W8", "W9"), ("W5", "W13", "F4"))
SLOWNESS_SECONDS = 1.0
"""How long a slow reader does not read."""
HELD_UP_SECONDS = 3.0
"""How long an answer that is worked out may take to arrive on a busy machine."""
RUN_SECONDS = 6.0
"""Longer than any run of the healthy lab; a socket without its run's end by then will not get it."""


async def pair(lab: Lab) -> tuple[Person, Person]:
    """Two people who have not met."""
    return await register_in(lab, "alice"), await register_in(lab, "bob")


async def runs_over(lab: Lab, who: Person, number: int) -> list[str]:
    """Wait until so many runs of a user have ended, in whatever way; returns their ids."""
    async with rest(lab, who) as client, asyncio.timeout(6 * PATIENCE):  # as long as it takes on a busy machine
        while True:
            runs = (await client.get("/api/runs", params={"limit": 100})).json()["runs"]
            over = [run["id"] for run in runs if run["status"] != "in_progress"]
            if len(over) >= number:
                return over


async def ends(socket: Socket, runs: int = 1) -> bool:
    """Read on; true when so many runs end on this socket before the wait is over."""
    try:
        async with asyncio.timeout(RUN_SECONDS):
            await socket.until_ended(runs)
    except TimeoutError:
        return False
    return True


async def settled(lab: Lab, *sockets: Socket) -> None:
    """Wait until no agent works any more, then for what is in flight."""
    await asyncio.gather(*(socket.quiet() for socket in sockets))  # what was said before is being done now
    async with asyncio.timeout(6 * PATIENCE):  # agents of the tests before may be at work as well
        while any(lab.status()["services"][name]["agents"]["runs"] for name in ("backend-1", "backend-2")):
            await asyncio.gather(*(socket.quiet() for socket in sockets))
    await asyncio.gather(*(socket.quiet() for socket in sockets))


def complete(frames: list[Frame], run_id: str) -> bool:
    """Every event of the run came once and in order."""
    return [frame["seq"] for frame in frames if frame.get("run_id") == run_id] == list(range(1, len(ORDER) + 1))


async def claiming_to_be_somebody_else(lab: Lab) -> list[bool]:
    """W2: Bob claims Alice's id in the URL, Carol claims it in a message."""
    alice, bob = await pair(lab)
    carol, secret = await register_in(lab, "carol"), secrets.token_hex(8)
    async with (
        Socket(lab, alice) as hers,
        Socket(lab, bob, 1, query=f"?user_id={alice.id}") as his,
        Socket(lab, carol) as third,
    ):
        assert his.welcome["data"]["user_id"] == bob.id
        await third.say("user_typing", user_id=alice.id)
        await third.until_type("ack")
        await hers.say("chat", content=f"My secret is {secret}")
        assert (await hers.until_ended())[-1]["type"] == "final_report"
        await settled(lab, his, third)
    return [secret in json.dumps(socket.frames) for socket in (his, third)]


async def subscribing_to_a_foreign_thread(lab: Lab) -> list[bool]:
    """W4: Bob subscribes to Alice's thread, Carol switches to it."""
    alice, bob = await pair(lab)
    carol, secret = await register_in(lab, "carol"), secrets.token_hex(8)
    async with rest(lab, alice) as client:
        thread_id = (await client.post("/api/threads", json={})).json()["id"]
    async with Socket(lab, alice) as hers, Socket(lab, bob, 1) as his, Socket(lab, carol) as third:
        await his.say("subscribe", thread_id=thread_id)
        confirmed = (await his.next())["type"] == "system_message"
        await third.say("switch_thread", thread_id=thread_id)
        assert (await third.next())["error_code"] == "FORBIDDEN"
        await hers.say("chat", content=f"My secret is {secret}", thread_id=thread_id)
        assert (await hers.until_ended())[-1]["type"] == "final_report"
        await settled(lab, his, third)
    return [confirmed, *(secret in json.dumps(socket.frames) for socket in (his, third))]


async def a_slow_reader(lab: Lab) -> list[bool]:
    """W8: Alice does not read one of her sockets while ten runs are worked on, then reads on; the other is quick."""
    alice = await register_in(lab, "alice")
    async with Socket(lab, alice, 0, compression=None) as quick, Socket(lab, alice, 1, compression=None) as slow:
        slow.connection.transport.pause_reading()
        for _ in range(10):
            await quick.say("chat", content=secrets.token_hex(2500))
        runs = {event["run_id"] for event in await quick.until_ended(10)}
        assert all(complete(quick.frames, run_id) for run_id in runs)
        await asyncio.sleep(SLOWNESS_SECONDS)
        slow.connection.transport.resume_reading()
        await ends(slow, len(runs))
    missing = [run_id for run_id in runs if not complete(slow.frames, run_id)]
    ended = {frame["run_id"] for frame in slow.frames if frame["type"] in LAST}
    return [bool(missing), len(ended) < len(runs)]


async def order_of_events(lab: Lab) -> list[bool]:
    """W10: in which order the events of a few runs arrive."""
    alice = await register_in(lab, "alice")
    async with Socket(lab, alice) as socket:
        for _ in range(3):
            await socket.say("chat", content="One after the other")
            await settled(lab, socket)  # some events come after the last one
    numbers: dict[str, list[int]] = {}
    for frame in socket.frames:
        if frame["type"] in RUN_EVENTS:
            numbers.setdefault(frame["run_id"], []).append(frame["seq"])
    return [any(seen != sorted(seen) for seen in numbers.values())]


async def a_socket_after_logout(lab: Lab) -> list[bool]:
    """W11: Alice logs out with a socket open."""
    alice = await register_in(lab, "alice")
    async with Socket(lab, alice) as socket:
        async with httpx.AsyncClient(base_url=lab.parameters["auth_url"]) as auth:
            assert (await auth.post("/auth/logout", headers=alice.headers)).status_code == 200
        try:
            async with asyncio.timeout(2.0):
                await socket.until_closed()
        except TimeoutError:
            await socket.quiet()
            return [True]
    return [False]


async def several_connections(lab: Lab) -> list[bool]:
    """W3: Alice has two tabs; Bob opens a new socket before he closes the old one."""
    alice, bob = await pair(lab)
    async with Socket(lab, alice) as first, Socket(lab, alice) as second:
        await second.say("chat", content="In the second tab")
        await second.until_ended()
        tab_silent = not await ends(first)
    old = Socket(lab, bob)
    await old.__aenter__()
    async with Socket(lab, bob) as new:
        await old.__aexit__(None, None, None)
        await new.say("chat", content="After a reconnect")
        new_silent = not await ends(new)
    return [tab_silent, new_silent]


async def leaving_and_somebody_else_coming(lab: Lab) -> list[bool]:
    """W6: Alice leaves in the middle of a run, then Bob comes."""
    alice, bob = await pair(lab)
    secret = secrets.token_hex(8)
    async with Socket(lab, alice) as hers:
        await hers.say("chat", content=f"My secret is {secret}")
        await hers.until_type("agent_started")
    await runs_over(lab, alice, 1)
    await settled(lab)
    async with Socket(lab, bob, 1) as his:
        stale = await his.quiet()
    return [secret in json.dumps(stale)]


async def a_cut_in_the_middle_of_a_run(lab: Lab) -> list[bool]:
    """W9: Alice is cut off in the middle of a run and says where she stopped reading when she comes back."""
    alice = await register_in(lab, "alice")
    first = Socket(lab, alice)
    await first.__aenter__()
    await first.say("chat", content="Cut in the middle")
    await first.until_type("tool_executing")
    first.connection.transport.abort()
    async with Socket(lab, alice, query=f"?resume_cursor={first.frames[-1]['cursor']}") as second:
        await second.until(lambda frame: frame["type"] == "final_report")
    seen = [frame["cursor"] for frame in first.frames + second.frames if frame["type"] in RUN_EVENTS]
    return [len(seen) != len(set(seen))]


async def a_socket_on_the_other_backend(lab: Lab) -> list[bool]:
    """F4: Alice's run works on the first backend, her socket is on the second one."""
    alice = await register_in(lab, "alice")
    async with rest(lab, alice, 0) as client, Socket(lab, alice, 0) as same, Socket(lab, alice, 1) as other:
        started = (await client.post("/api/agents/execute", json={"message": "Who hears of it?"})).json()
        await same.until_ended()
        assert complete(same.frames, started["run_id"])
        return [not await ends(other)]


async def equal_request_ids(lab: Lab) -> list[bool]:
    """W5: Alice and Bob count their requests alike."""
    people = await pair(lab)
    threads = []
    for person in people:
        async with rest(lab, person) as client:
            threads.append((await client.post("/api/threads", json={"title": f"Of {person.id}"})).json()["id"])
    async with Socket(lab, people[0]) as hers, Socket(lab, people[1]) as his:
        sockets = (hers, his)
        asked = zip(sockets, threads, strict=True)
        await asyncio.gather(*(s.say("get_thread_history", thread_id=t, mid="0") for s, t in asked))
        shown = [json.dumps(seen) for seen in await asyncio.gather(*(socket.quiet() for socket in sockets))]
        answers = any(people[1 - number].id in shown[number] for number in range(2))
        await asyncio.gather(*(s.say("agent_request", message="Who am I?", turn_id="t0") for s in sockets))
        runs = not all(await asyncio.gather(*(ends(socket) for socket in sockets)))
    return [answers, runs]


async def a_peer_that_dies(lab: Lab) -> list[bool]:
    """W13: Alice is killed, and something is on its way to her, while Bob's run waits for the model; then it ends."""
    alice, bob = await pair(lab)
    async with Socket(lab, bob) as his:
        await his.say("chat", content="#model-stall#")
        run_id = (await his.until_type("agent_started"))["run_id"]
        hers = Socket(lab, alice)
        await hers.__aenter__()
        hers.connection.transport.abort()
        async with rest(lab, alice) as client:
            await client.post("/api/threads", json={})  # announced to her: there is an event for a dead peer for sure
        await his.say("stop_agent", run_id=run_id)
        return [not await ends(his)]


async def a_peer_that_freezes(lab: Lab) -> list[bool]:
    """W13: Alice stops reading, and when all that she asked for is worked out, Bob runs beside her."""
    alice, bob = await pair(lab)
    lab.configure({"SEND_SECONDS": 20 * PATIENCE})  # she is not to be closed meanwhile
    try:
        async with Socket(lab, alice, compression=None) as hers, Socket(lab, bob) as his:
            hers.connection.transport.pause_reading()
            for _ in range(8):
                await hers.say("chat", content=secrets.token_hex(2500))
            await runs_over(lab, alice, 8)
            await his.say("chat", content="Am I held up?")
            await runs_over(lab, bob, 1)
            answered = asyncio.create_task(his.until_ended())
            await asyncio.wait((answered,), timeout=HELD_UP_SECONDS)
            held_up = not answered.done()
            hers.connection.transport.abort()
            await answered
    finally:
        lab.configure({"SEND_SECONDS": None})
    return [held_up]


async def bad_peers(lab: Lab) -> list[bool]:
    """W13: both ways of being a bad peer."""
    return [*await a_peer_that_freezes(lab), *await a_peer_that_dies(lab)]


DRIVES: dict[str, Drive] = {
    "W2": claiming_to_be_somebody_else,
    "W3": several_connections,
    "W4": subscribing_to_a_foreign_thread,
    "W5": equal_request_ids,
    "W6": leaving_and_somebody_else_coming,
    "W8": a_slow_reader,
    "W9": a_cut_in_the_middle_of_a_run,
    "W10": order_of_events,
    "W11": a_socket_after_logout,
    "W13": bad_peers,
    "F4": a_socket_on_the_other_backend,
}


test_a_fault_is_triggered_and_seen, test_the_healthy_lab_shows_nothing_of_it = proofs(DRIVES, GROUPS)
