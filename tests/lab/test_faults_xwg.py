"""Faults of execution and agents: driven over the wire, each is reached, triggered and seen; healthy labs are clean."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

import httpx
from backend_client import Socket, backend_url, register_in, rest
from faulty_labs import Drive, proofs
from people import Person

from netra_probe.lab import Lab

GROUPS = (("X2", "X3", "X4", "G3", "G4", "G5", "G6"), ("X6", "G1", "G2"))


async def pair(lab: Lab) -> tuple[Person, Person]:
    """Two people who have not met."""
    return await register_in(lab, "alice"), await register_in(lab, "bob")


async def context_after_a_large_body(lab: Lab) -> list[bool]:
    """X2: one connection carries a large request of Alice, then one of Bob, then one of nobody."""
    alice, bob = await pair(lab)
    async with httpx.AsyncClient(base_url=backend_url(lab), limits=httpx.Limits(max_connections=1)) as connection:
        small = await connection.get("/api/users/me", headers=alice.headers)
        before = await connection.get("/api/users/me", headers=bob.headers)
        assert (small.json()["id"], before.json()["id"]) == (alice.id, bob.id)
        body = {"preferences": {"blob": "x" * 70_000}}
        assert (await connection.put("/api/users/me", headers=alice.headers, json=body)).status_code == 200
        after = await connection.get("/api/users/me", headers=bob.headers)
        anonymous = await connection.get("/api/threads")
    return [after.json()["id"] != bob.id, anonymous.status_code == 200]


async def second_job_of_the_worker(lab: Lab) -> list[bool]:
    """X3: Alice asks for an export, then Bob does; who is told, and whose data it is."""
    alice, bob = await pair(lab)
    async with rest(lab, alice) as hers, rest(lab, bob) as his, Socket(lab, alice) as one, Socket(lab, bob) as other:
        first = (await hers.post("/api/exports", json={"label": "hers"})).json()
        assert (await one.until_type("export_ready"))["payload"]["export_id"] == first["id"]
        assert (await hers.get(f"/api/exports/{first['id']}")).json()["document"]["label"] == "hers"
        assert (await his.get(f"/api/exports/{first['id']}")).status_code == 403
        second = (await his.post("/api/exports", json={"label": "his"})).json()
        waiting = [asyncio.create_task(socket.until_type("export_ready")) for socket in (one, other)]
        done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        told = {task.result()["payload"]["user_id"] for task in done}
        status = (await his.get(f"/api/exports/{second['id']}")).json()["status"]
    return [waiting[0] in done, told != {bob.id}, status == "queued"]


async def metadata_of_earlier_threads(lab: Lab) -> list[bool]:
    """X4: Alice makes a thread with metadata, then Bob makes one without."""
    alice, bob = await pair(lab)
    secret = secrets.token_hex(8)
    async with rest(lab, alice) as hers, rest(lab, bob) as his:
        await hers.post("/api/threads", json={"metadata": {f"note-{secret}": secret}})
        made = await his.post("/api/threads", json={})
        listed = await his.get("/api/threads")
    return [secret in made.text, secret in listed.text]


async def ids_of_a_burst(lab: Lab) -> list[bool]:
    """X6: several people start a run at once."""
    people = [await register_in(lab) for _ in range(6)]
    sockets = [Socket(lab, person, number % 2) for number, person in enumerate(people)]
    for socket in sockets:
        await socket.__aenter__()
    await asyncio.gather(*(socket.say("chat", content="All at once") for socket in sockets))
    runs = [
        {event["run_id"] for event in events} for events in await asyncio.gather(*(s.until_ended() for s in sockets))
    ]
    for socket in sockets:
        await socket.__aexit__(None, None, None)
    return [len(set.union(*runs)) < len(people)]


async def overlapping(lab: Lab, people: list[Person], requests: list[str]) -> list[list[dict[str, Any]]]:
    """Everybody runs at the same time on one backend; the events of each."""
    sockets = [Socket(lab, person) for person in people]
    for socket in sockets:
        await socket.__aenter__()
    await asyncio.gather(*(s.say("chat", content=text) for s, text in zip(sockets, requests, strict=True)))
    events = await asyncio.gather(*(socket.until_ended() for socket in sockets))
    for socket in sockets:
        await socket.__aexit__(None, None, None)
    return list(events)


async def questions_of_overlapping_runs(lab: Lab) -> list[bool]:
    """G1: whose question each answer repeats."""
    people = [await register_in(lab) for _ in range(4)]
    words = [f"words-{secrets.token_hex(4)}" for _ in people]
    seen = await overlapping(lab, people, [f"What of {word}?" for word in words])
    answers = [json.dumps([e for e in events if e["type"] == "partial_result"]) for events in seen]
    return [any(word in answers[n] for n in range(4) for m, word in enumerate(words) if m != n)]


async def tools_of_overlapping_runs(lab: Lab) -> list[bool]:
    """G2: whose rows each tool call shows, and whether each call is completed once, in the run that made it."""
    people = [await register_in(lab) for _ in range(4)]
    foreign = unpaired = False
    seen = await overlapping(lab, people, ["What do I spend?"] * 4)
    for person, events in zip(people, seen, strict=True):
        async with rest(lab, person) as client:
            own = {record["amount_usd"] for record in (await client.get("/api/spend")).json()["records"]}
        shown = json.dumps(events[-1]["payload"]["data"]["spend_summary"]["records"])
        foreign = foreign or not all(f"{amount}" in shown for amount in own)
        kinds = [event["type"] for event in events]
        unpaired = unpaired or kinds.count("tool_completed") != kinds.count("tool_executing")
    return [foreign, unpaired]


async def history_of_the_same_label(lab: Lab) -> list[bool]:
    """G3: Alice and then Bob run in threads of the same title."""
    alice, bob = await pair(lab)
    secret, title = secrets.token_hex(8), f"Budget {secrets.token_hex(4)}"
    for person, request, number in ((alice, f"My secret is {secret}", 0), (bob, f"What do you know of {title}?", 1)):
        async with rest(lab, person) as client, Socket(lab, person, number) as socket:
            thread_id = (await client.post("/api/threads", json={"title": title})).json()["id"]
            await socket.say("chat", content=request, thread_id=thread_id)
            answer = json.dumps(await socket.until_ended())
    return [secret in answer]


async def stopping_a_run(lab: Lab) -> list[bool]:
    """G4: Alice stops her run while Bob's, begun later, works; both wait for the model until one is stopped."""
    alice, bob = await pair(lab)
    async with Socket(lab, alice) as hers, Socket(lab, bob) as his:
        runs = {}
        for socket in (hers, his):
            await socket.say("chat", content="#model-stall#")
            at_the_model = await socket.until(lambda frame: frame.get("payload", {}).get("step_number") == 3)
            runs[socket] = at_the_model["run_id"]
        await hers.say("stop_agent", run_id=runs[hers])
        ends = {socket: asyncio.create_task(socket.until_ended()) for socket in runs}
        await asyncio.wait(ends.values(), return_when=asyncio.FIRST_COMPLETED)
        stopped = [ends[socket].done() for socket in (hers, his)]
        for socket in runs:
            if not ends[socket].done():
                await socket.say("stop_agent", run_id=runs[socket])
        for end in ends.values():
            end.cancel()
        await asyncio.gather(*ends.values(), return_exceptions=True)
        return [stopped[1], not stopped[0]]


async def the_same_question(lab: Lab) -> list[bool]:
    """G5: Alice and then Bob ask the same question in threads of different titles."""
    alice, bob = await pair(lab)
    secret, question = secrets.token_hex(8), f"Where do I overspend in {secrets.token_hex(4)}?"
    async with rest(lab, alice) as client:
        await client.put("/api/users/me", json={"preferences": {"goal": secret}})
    for person, number in ((alice, 0), (bob, 1)):
        async with rest(lab, person) as client, Socket(lab, person, number) as socket:
            thread_id = (await client.post("/api/threads", json={"title": f"Of {person.id}"})).json()["id"]
            await socket.say("chat", content=question, thread_id=thread_id)
            events = await socket.until_ended()
    return [secret in json.dumps([event for event in events if event["type"] == "partial_result"])]


async def a_foreign_thread_through_a_tool(lab: Lab) -> list[bool]:
    """G6: Bob names Alice's thread to a tool, directly and in a message."""
    alice, bob = await pair(lab)
    secret = secrets.token_hex(8)
    async with rest(lab, alice) as hers, rest(lab, bob) as his, Socket(lab, bob) as socket:
        thread_id = (await hers.post("/api/threads", json={"title": secret})).json()["id"]
        call = {"tool_name": "thread_lookup", "parameters": {"thread_id": thread_id}}
        assert secret in (await hers.post("/api/tools/execute", json=call)).text
        assert (await his.get(f"/api/threads/{thread_id}")).status_code == 403
        direct = await his.post("/api/tools/execute", json=call)
        await socket.say("chat", content="Look at this", references=[thread_id])
        events = await socket.until_ended()
    return [direct.status_code != 403 or secret in direct.text, secret in json.dumps(events)]


DRIVES: dict[str, Drive] = {
    "X2": context_after_a_large_body,
    "X3": second_job_of_the_worker,
    "X4": metadata_of_earlier_threads,
    "X6": ids_of_a_burst,
    "G1": questions_of_overlapping_runs,
    "G2": tools_of_overlapping_runs,
    "G3": history_of_the_same_label,
    "G4": stopping_a_run,
    "G5": the_same_question,
    "G6": a_foreign_thread_through_a_tool,
}


test_a_fault_is_triggered_and_seen, test_the_healthy_lab_shows_nothing_of_it = proofs(DRIVES, GROUPS)
