"""Faults modelled on public bug reports: triggered over the wire and seen there, and not on a healthy lab."""

from __future__ import annotations

import json
from typing import Any

from backend_client import Socket, backend_url, http, register_in, rest
from faulty_labs import Drive, proofs
from people import Person
from wire_acts import enrol, text_of, thread_of

from netra_probe.lab import Lab

QUOTA = 600


async def rows(lab: Lab, who: Person, path: str) -> list[Any]:
    """A list of somebody's."""
    return list(json.loads(await text_of(lab, who, path)))


async def p5(lab: Lab) -> list[bool]:
    busy, other = await register_in(lab, "busy"), await register_in(lab, "other")
    async with Socket(lab, busy) as mine, Socket(lab, other) as others:
        for _ in range(QUOTA):
            await mine.say("ping")
        await mine.until(lambda frame: len(mine.frames) >= QUOTA)
        await others.say("ping")
        answer = await others.until(lambda frame: frame["type"] in ("pong", "error_message"))
    return [answer["type"] == "error_message" and answer["error_code"] == "RATE_LIMITED"]


async def d7(lab: Lab) -> list[bool]:
    former = await register_in(lab, "former")
    thread = await thread_of(lab, former, "of the former one")
    async with rest(lab, former) as client, http(lab.parameters["auth_url"], headers=former.headers) as auth:
        assert (await client.delete("/api/users/me")).status_code == 200
        assert (await client.get("/api/threads")).json() == []
        assert (await auth.delete(f"/auth/users/{former.id}")).status_code == 200
    again = await enrol(lab, former.email)
    own = await thread_of(lab, again, "of the next one")
    async with rest(lab, again) as client:
        listed = {one["id"] for one in (await client.get("/api/threads")).json()}
        words = (await client.get("/api/chat/messages")).text
    assert again.id != former.id and own in listed
    return [thread in listed, "of the former one" in words]


async def d8(lab: Lab) -> list[bool]:
    owner, other = await register_in(lab, "owner"), await register_in(lab, "other")
    thread = await thread_of(lab, owner, "for my eyes only")
    path = f"/api/threads/{thread}/export"
    async with http(backend_url(lab)) as client:
        assert path not in (await client.get("/openapi.json")).text
    assert "for my eyes only" in await text_of(lab, owner, path)
    return ["for my eyes only" in await text_of(lab, who, path) for who in (other, None)]


async def a11(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    async with Socket(lab, alice) as socket, Socket(lab, alice) as own:
        await socket.say("refresh_token", token=bob.access_token)
        answer = await socket.until_type("system_message", "error_message")
        await socket.say("create_thread")
        await socket.quiet()
        made = len(await rows(lab, bob, "/api/threads"))
        await own.say("chat", content="words of alice")
        await own.until_ended()
        heard = json.dumps(await socket.quiet())
    return [answer["type"] == "system_message", made == 1 and "words of alice" in heard]


async def d6(lab: Lab) -> list[bool]:
    first, other = await register_in(lab, "first"), await register_in(lab, "other")
    books = []
    for who in (first, other):
        async with rest(lab, who) as client:
            assert (await client.post("/api/credits/use", json={"amount": 5, "reason": "own use"})).status_code == 200
    for who in (first, other):
        async with rest(lab, who) as client:
            books.append((await client.get("/api/credits")).json())
    assert [book["balance"] for book in books] == [95, 95]
    return [len(books[0]["transactions"]) == 2, books[1]["transactions"] == []]


DRIVES: dict[str, Drive] = {"A11": a11, "D6": d6, "D7": d7, "D8": d8, "P5": p5}
GROUPS = (("P5",), ("A11", "D6", "D8"), ("D7",))


test_a_fault_is_triggered_and_seen, test_a_healthy_lab_shows_no_symptom = proofs(DRIVES, GROUPS)
