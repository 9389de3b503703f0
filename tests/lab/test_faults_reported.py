"""Faults from public bug reports: over the wire each is reached, triggered and seen; healthy labs show none of it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time

import redis.asyncio as redis
from backend_client import Socket, register_in, rest
from faulty_labs import Drive, proofs

from netra_probe.lab import Lab
from netra_probe.lab.llm_service.composition import PREFILL_SECONDS

GROUPS = (("X7", "K5", "T1", "G7"), ("K6", "W14"))

SILENCE = 3.0
"""Longer than the healthy lab needs to listen again."""


async def two_conversations_at_once(lab: Lab) -> list[bool]:
    """X7: Alice asks in one thread and then, before the answer has come, in another."""
    alice = await register_in(lab)
    word = secrets.token_hex(8)
    async with rest(lab, alice) as client, Socket(lab, alice) as socket:
        one, other = [(await client.post("/api/threads", json={"title": "T"})).json()["id"] for _ in range(2)]
        await socket.say("chat", content=f"Consider {word}. " * 100, thread_id=one)
        run = (await socket.until_type("agent_started"))["run_id"]
        await socket.say("chat", content="What else?", thread_id=other)
        events = await socket.until_ended(2)
        strays = [event for event in events if event["run_id"] == run and event["thread_id"] == other]
        stored = (await client.get(f"/api/threads/{other}/messages")).json()["messages"]
    return [bool(strays), any(message["run_id"] == run for message in stored)]


async def one_key_of_two_people(lab: Lab) -> list[bool]:
    """K5: Alice and then Bob make a thread, on different backends, with equal keys; Alice repeats hers."""
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    key = {"Idempotency-Key": "first-thread"}
    async with rest(lab, alice) as hers, rest(lab, bob, 1) as his:
        made = (await hers.post("/api/threads", json={"title": "hers"}, headers=key)).json()
        again = await hers.post("/api/threads", json={"title": "hers"}, headers=key)
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (made, "true")
        assert (await hers.get("/api/threads/count")).json() == {"count": 1}
        got = (await his.post("/api/threads", json={"title": "his"}, headers=key)).json()
        count = (await his.get("/api/threads/count")).json()["count"]
    return [got == made, count == 0]


async def one_tool_of_two_people(lab: Lab) -> list[bool]:
    """T1: Alice and then Bob call a tool that another server answers."""
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    answers = []
    for person in (alice, bob):
        async with rest(lab, person) as client:
            await client.post("/api/threads", json={"title": f"of {person.id}"})
            body = {"tool_name": "conversation_index"}
            answers.append((await client.post("/api/tools/execute", json=body)).json()["result"])
    assert answers[0]["account"] == alice.id
    return [answers[1]["account"] == alice.id, f"of {alice.id}" in answers[1]["titles"]]


async def the_same_in_other_words(lab: Lab) -> list[bool]:
    """G7: Alice and then Bob ask one thing in different words, on different backends."""
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    secret, topic = secrets.token_hex(8), secrets.token_hex(4)
    async with rest(lab, alice) as client:
        await client.put("/api/users/me", json={"preferences": {"goal": secret}})
    wordings = (f"Where do I overspend in {topic}?", f"Please tell me: in {topic}, where do I OVERSPEND")
    for number, (person, wording) in enumerate(zip((alice, bob), wordings, strict=True)):
        async with Socket(lab, person, number) as socket:
            await socket.say("chat", content=wording)
            events = await socket.until_ended()
    return [secret in json.dumps([event for event in events if event["type"] == "partial_result"])]


async def redis_loses_its_subscribers(lab: Lab) -> list[bool]:
    """W14: all subscriptions are cut while Alice is connected; then she asks."""
    alice = await register_in(lab)
    async with rest(lab, alice) as client, Socket(lab, alice) as socket:
        async with redis.from_url(lab.parameters["redis_url"]) as store:
            await store.client_kill_filter(_type="pubsub")
        body = {"request": "Are you there?"}
        run = (await client.post("/api/agents/execute", json=body)).json()["run_id"]
        while (await client.get(f"/api/runs/{run}")).json()["status"] == "in_progress":
            await asyncio.sleep(0.02)
        try:
            async with asyncio.timeout(SILENCE):
                await socket.until_ended()
            silent = False
        except TimeoutError:
            silent = True
            await socket.quiet()  # a ping is answered
        async with Socket(lab, alice) as later:
            kept = [event["run_id"] for event in await later.until_ended()] if silent else []
    return [silent, run in kept]


async def time_to_the_first_piece(lab: Lab) -> list[bool]:
    """K6: Bob asks, in turns, what Alice has asked and what nobody has; the least that each takes."""
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    seconds: dict[str, list[float]] = {"shared": [], "new": []}
    mark = secrets.token_hex(4)
    async with Socket(lab, alice) as hers, Socket(lab, bob) as his:
        for number in range(5):
            for kind, waits in seconds.items():
                question = f"{mark} {number} {kind} {'Consider every month. ' * 100}"
                if kind == "shared":
                    await hers.say("chat", content=question)
                    await hers.until_ended()
                await his.say("chat", content=question)
                await his.until(lambda frame: frame["payload"].get("step_number") == 3)
                begun = time.perf_counter()
                await his.until_type("partial_result")
                waits.append(time.perf_counter() - begun)
                await his.until_ended()
    shared, new = map(min, seconds.values())  # a busy machine only adds
    return [shared < new - PREFILL_SECONDS / 2]


DRIVES: dict[str, Drive] = {
    "K6": time_to_the_first_piece,
    "W14": redis_loses_its_subscribers,
    "G7": the_same_in_other_words,
    "T1": one_tool_of_two_people,
    "X7": two_conversations_at_once,
    "K5": one_key_of_two_people,
}


test_a_fault_is_triggered_and_seen, test_the_healthy_lab_shows_nothing_of_it = proofs(DRIVES, GROUPS)
