"""Faults from public bug reports: over the wire each is reached, triggered and seen; healthy labs show none of it."""

from __future__ import annotations

import secrets

import pytest
from backend_client import Socket, register_in, rest
from composing import Composed
from faulty_labs import Drive, FaultyLabs, check

from netra_probe.lab import Lab

GROUPS = (("X7",),)


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


DRIVES: dict[str, Drive] = {"X7": two_conversations_at_once}


@pytest.fixture
def labs(compose: Composed) -> FaultyLabs:
    return FaultyLabs(compose, GROUPS)


@pytest.mark.parametrize("fault", [fault for group in GROUPS for fault in group])
async def test_a_fault_is_triggered_and_seen(labs: FaultyLabs, fault: str) -> None:
    await check(DRIVES[fault], labs.with_fault(fault), fault)


@pytest.mark.parametrize("fault", DRIVES)
async def test_the_healthy_lab_shows_nothing_of_it(lab: Lab, fault: str) -> None:
    assert not any(await DRIVES[fault](lab))
