"""The faults of data access, pools and caches: triggered over the wire and seen there, and not on a healthy lab."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import redis.asyncio
from backend_client import Socket, register_in, rest
from faulty_labs import Drive, proofs
from waiting import wait_until
from wire_acts import enrol, hang_up, text_of, thread_of

from netra_probe.lab import Lab

BATCH = 150
MOST_SHIFTED = 4
"""How many answers may wait on a line, of this test's hang-up and of others'."""


async def d1(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    thread_id = await thread_of(lab, alice, "only alice's")
    async with rest(lab, alice) as client:
        messages = (await client.get(f"/api/threads/{thread_id}/messages")).json()["messages"]
    read = [
        await text_of(lab, bob, path)
        for path in (f"/api/threads/{thread_id}", f"/api/chat/messages/{messages[0]['id']}")
    ]
    return ["only alice's" in text for text in read]


async def d2(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    thread_id = await thread_of(lab, alice, "as alice wrote it")
    own = await thread_of(lab, bob, "a present")
    async with rest(lab, bob) as client:
        await client.put(f"/api/threads/{thread_id}", json={"title": "as bob likes it"})
        changed = "as bob likes it" in await text_of(lab, alice, f"/api/threads/{thread_id}")
        await client.put(f"/api/threads/{own}", json={"metadata": {"user_id": alice.id}})
        given = "a present" in await text_of(lab, alice, f"/api/threads/{own}")
        await client.delete(f"/api/threads/{thread_id}")
    gone = not await text_of(lab, alice, f"/api/threads/{thread_id}")
    return [changed, given, gone]


async def d3(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    word = f"word{uuid.uuid4().hex}"
    await thread_of(lab, alice, word)
    seen = [word in await text_of(lab, bob, path) for path in ("/api/threads?limit=500", f"/api/search?q={word}")]
    return [*seen, '"count":0' not in await text_of(lab, bob, "/api/threads/count")]


async def d5(lab: Lab) -> list[bool]:
    alice = await register_in(lab)
    async with rest(lab, alice) as client:
        before = (await client.post("/api/credits/use", json={"amount": 1})).json()["balance"]
        uses = await asyncio.gather(*(client.post("/api/credits/use", json={"amount": 10}) for _ in range(8)))
        spent = sum(10 for answer in uses if answer.status_code == 200)
        return [before - spent != (await client.get("/api/credits")).json()["balance"]]


async def p1(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    await thread_of(lab, bob, "bob's own")
    await thread_of(lab, alice, "alice was here")
    return ["alice was here" in await text_of(lab, bob)]


async def p2(lab: Lab) -> list[bool]:
    bob = await register_in(lab, "bob")
    batch = {"records": [{"service": "batch", "amount_usd": "1.00"} for _ in range(BATCH)]}
    whole = await hang_up(lab, bob, "POST", "/api/spend/batch", batch)
    alice = await register_in(lab, "alice")
    await thread_of(lab, alice, "makes her profile")
    await hang_up(lab, alice, "POST", "/api/spend/batch", batch, after=whole / 2)
    await text_of(lab, bob, "/api/spend")
    kept = (await text_of(lab, alice, "/api/spend")).count('"batch"')
    return [0 < kept < BATCH]


def asked_of_the_cache(lab: Lab) -> int | None:
    """How many questions a line that may be out of step was asked; None where there is none."""
    return lab.status()["faults"].get("P3", {}).get("reached")


async def p3(lab: Lab) -> list[bool]:
    """Alice hangs up while the backend stands still: it finds her request and its end at once, and cancels for sure."""
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    await thread_of(lab, alice, "alice's secret")
    await thread_of(lab, bob, "bob's secret")
    for who in (alice, bob):
        await text_of(lab, who)  # now their threads are in the cache
    asked = asked_of_the_cache(lab)
    lab.suspend_service("backend-1")
    try:
        await hang_up(lab, alice, "GET", "/api/threads", after=0)
    finally:
        lab.resume_service("backend-1")
    if asked is not None:  # whoever reads before that takes her turn at the cache
        wait_until(lambda: asked_of_the_cache(lab) != asked, what="the request that was hung up on asks the cache")
    # Whoever is out of step gets what was asked some questions ago.
    seen = [await text_of(lab, who) for who in (alice, *[bob] * MOST_SHIFTED)]
    return [any("alice's secret" in text for text in seen[1:])]


async def p4(lab: Lab) -> list[bool]:
    alice, cycles = await register_in(lab), 8
    url: str = lab.parameters["redis_url"]
    async with redis.asyncio.Redis.from_url(url) as store:

        async def clients() -> int:
            listed: list[Any] = await store.client_list()
            return len(listed)

        async with Socket(lab, alice):
            before = await clients()
        for _ in range(cycles):
            async with Socket(lab, alice):
                pass
        return [await clients() - before >= cycles - 1]


async def k1(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    async with rest(lab, bob) as client:
        await client.put("/api/users/me", json={"name": "Bob himself"})
    await thread_of(lab, alice, "alice's title")
    async with rest(lab, alice) as client:
        await client.put("/api/users/me", json={"name": "Alice herself"})
    for path in ("/api/threads", "/api/users/me"):
        await text_of(lab, alice, path)
    return ["alice's title" in await text_of(lab, bob), "Alice herself" in await text_of(lab, bob, "/api/users/me")]


async def k2(lab: Lab) -> list[bool]:
    run = uuid.uuid4().hex
    anna, ann, other = [
        await enrol(lab, f"probe+{run}.{name}@netra-probe.example") for name in ("anna", "ann", "other")
    ]
    async with rest(lab, anna) as client:
        await client.put("/api/users/me", json={"name": "Anna herself"})
    seen = {who.email: await text_of(lab, who, "/api/users/me") for who in (anna, other, ann)}
    assert "Anna herself" in seen[anna.email] and "Anna herself" not in seen[other.email]
    return ["Anna herself" in seen[ann.email]]


async def k3(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    await thread_of(lab, alice, "alice's title")
    seen = [await text_of(lab, who) for who in (alice, bob, None)]
    assert "alice's title" in seen[0]
    return ["alice's title" in text for text in seen[1:]]


DRIVES: dict[str, Drive] = {
    "D1": d1, "D2": d2, "D3": d3, "D5": d5, "P1": p1, "P2": p2, "P3": p3, "P4": p4, "K1": k1, "K2": k2, "K3": k3,
}  # fmt: skip
GROUPS = (("D1", "P1", "P4", "K2"), ("D2", "P3"), ("D3", "D5"), ("K1", "P2"), ("K3",))


test_a_fault_is_triggered_and_seen, test_a_healthy_lab_shows_no_symptom = proofs(DRIVES, GROUPS)
