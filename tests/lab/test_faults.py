"""Each published fault is documented, is reached and triggered, and breaks what it says it breaks."""

from __future__ import annotations

import asyncio
import json

from backend_client import Socket, register_in

from netra_probe.lab import Lab, start_lab
from netra_probe.lab.backend.composition import healthy_parts
from netra_probe.lab.shared.faults import known_faults

USERS = 4


async def overlapping_runs(lab: Lab) -> list[set[int]]:
    """Each user runs once, all at the same time; whose words each of them was sent."""
    people = [await register_in(lab) for _ in range(USERS)]
    sockets = [Socket(lab, person, number % 2) for number, person in enumerate(people)]
    for socket in sockets:
        await socket.__aenter__()
    for number, socket in enumerate(sockets):
        await socket.say("chat", content=f"costs of words-{number}-here")
    # a run whose events went astray shows no end: wait until all backends are idle, then for what is in flight
    while any(lab.status()["services"][name]["agents"]["runs"] for name in ("backend-1", "backend-2")):
        await asyncio.gather(*(socket.quiet() for socket in sockets))
    await asyncio.gather(*(socket.quiet() for socket in sockets))
    seen = [json.dumps(socket.frames) for socket in sockets]
    for socket in sockets:
        await socket.__aexit__(None, None, None)
    return [{number for number in range(USERS) if f"words-{number}-here" in text} for text in seen]


async def test_without_a_fault_everybody_sees_their_own(lab: Lab) -> None:
    assert await overlapping_runs(lab) == [{number} for number in range(USERS)]


async def test_w1_sends_everything_to_everybody() -> None:
    with start_lab(faults=("W1",)) as lab:
        assert await overlapping_runs(lab) == [set(range(USERS))] * USERS
        assert lab.status()["faults"]["W1"]["triggered"] > 0


async def test_x1_sends_a_run_to_whoever_started_last_in_the_same_process() -> None:
    with start_lab(faults=("X1",)) as lab:
        seen = await overlapping_runs(lab)
        counts = lab.status()["faults"]["X1"]
        assert counts["reached"] >= counts["triggered"] > 0
        foreign = [(reader, owner) for reader, owners in enumerate(seen) for owner in owners - {reader}]
        assert foreign and all(reader % 2 == owner % 2 for reader, owner in foreign)


def test_every_fault_says_what_it_is() -> None:
    for fault in known_faults().values():
        for field in ("layer", "title", "breaks", "trigger", "symptom", "checkers"):
            assert getattr(fault, field), f"{fault.id} does not say its {field}"
        assert (fault.__doc__ or "").startswith(f"{fault.id}: ") and "Incident:" in (fault.__doc__ or ""), fault.id


def test_every_fault_of_the_backend_replaces_something() -> None:
    of_the_backend = [fault for fault in known_faults().values() if fault.service == "backend"]
    assert len(of_the_backend) > 30
    for fault in of_the_backend:
        parts, healthy = healthy_parts(), healthy_parts()
        fault().install(parts)
        assert [name for name in parts if parts[name] != healthy[name]], fault.id
