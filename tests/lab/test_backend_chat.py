"""A message becomes a run: events in order, an answer from the user's own data, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from backend_client import LAST, ORDER, RUN_EVENTS, Socket, register_in, rest
from composing import Composed
from people import Person, Register

from netra_probe.lab import Lab


async def test_a_run_has_the_promised_events_in_order_without_gaps(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with Socket(lab, alice) as socket:
        await socket.say("start_agent", user_request="Where do I overspend?")
        events = await socket.until_ended()
    assert [event["type"] for event in events] == ORDER
    assert [event["seq"] for event in events] == list(range(1, len(ORDER) + 1))
    assert {(event["run_id"], event["thread_id"]) for event in events} == {
        (events[0]["run_id"], events[0]["thread_id"])
    }
    assert all(set(event) >= {"type", "run_id", "thread_id", "agent_name", "timestamp", "payload"} for event in events)


async def test_the_answer_holds_the_request_and_the_users_own_rows(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as client, Socket(lab, alice, 1) as socket:
        spend = {"service": "gpu-rental", "amount_usd": 123456, "note": "note-of-alice"}
        assert (await client.post("/api/spend", json=spend)).status_code == 200
        profile = {"name": "Alice", "preferences": {"tone": "tone-of-alice"}}
        assert (await client.put("/api/users/me", json=profile)).status_code == 200
        await socket.say("chat", content="Reduce my costs, words-of-alice")
        report = (await socket.until_ended())[-1]["payload"]
    for planted in ("words-of-alice", "note-of-alice", "tone-of-alice"):
        assert planted in report["result"]
    assert "gpu-rental" in report["recommendations"][0]
    assert report["agents"] == ["triage", "cost_specialist"]


async def test_pieces_of_the_answer_concatenate_to_the_answer(lab: Lab, register: Register) -> None:
    async with Socket(lab, await register("alice")) as socket:
        await socket.say("user_message", content="Why is it slow?")
        events = await socket.until_ended()
    pieces = [event["payload"] for event in events if event["type"] == "partial_result"]
    assert [piece["is_final"] for piece in pieces] == [False, False, True]
    assert "".join(piece["content"] for piece in pieces) == events[-1]["payload"]["result"]


async def test_message_run_steps_and_answer_are_stored(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as client, Socket(lab, alice) as socket:
        await socket.say("chat", content="Remember this")
        event = (await socket.until_ended())[-1]
        run = (await client.get(f"/api/runs/{event['run_id']}")).json()
        steps = (await client.get(f"/api/runs/{event['run_id']}/steps")).json()["steps"]
        messages = (await client.get(f"/api/threads/{event['thread_id']}/messages")).json()["messages"]
    assert run["status"] == "completed"
    assert [(step["agent_name"], step["type"]) for step in steps] == [
        ("triage", "handoff"),
        ("general_specialist", "answer"),
    ]
    assert steps[1]["step_details"]["parent_request_id"] == steps[0]["step_details"]["request_id"]
    assert [(message["role"], message["run_id"]) for message in messages] == [
        ("user", event["run_id"]),
        ("assistant", event["run_id"]),
    ]


async def test_ten_users_at_once_each_get_only_their_own_runs(lab: Lab, register: Register) -> None:
    people = await asyncio.gather(*(register(f"user{number}") for number in range(10)))

    async def chat(number: int, person: Person) -> str:
        async with Socket(lab, person, number % 2) as socket:
            for turn in range(2):
                await socket.say("chat", content=f"cost of secret-{number}-here turn {turn}")
            events = await socket.until_ended(runs=2)
            events += await socket.quiet()
            assert len(events) == 2 * len(ORDER)
            return json.dumps(socket.frames)

    seen = await asyncio.gather(*(chat(number, person) for number, person in enumerate(people)))
    for reader, text in enumerate(seen):
        assert {number for number in range(10) if f"secret-{number}-here" in text} == {reader}
        assert not any(person.id in text for number, person in enumerate(people) if number != reader)


async def test_every_connection_of_a_user_on_either_backend_gets_the_events(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with Socket(lab, alice, 0) as one, Socket(lab, alice, 1) as other:
        await one.say("chat", content="Tell both")
        assert await one.until_ended() == await other.until_ended()


async def test_a_run_is_streamed_over_rest(lab: Lab, register: Register) -> None:
    async with rest(lab, await register("alice")) as client:
        answer = await client.post("/api/chat/stream", json={"message": "Stream this"})
    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert kinds == ORDER


async def test_an_event_stream_ends_when_its_token_is_revoked(lab: Lab, register: Register, auth: Any) -> None:
    alice = await register("alice")
    async with (
        rest(lab, alice) as client,
        client.stream("POST", "/api/chat/stream", json={"message": "#model-stall# wait"}) as answer,
    ):
        lines = answer.aiter_lines()
        assert "event: agent_started" in [await anext(lines), await anext(lines)]
        await auth.post("/auth/logout", headers=alice.headers)
        rest_of_it = [line async for line in lines]
    assert any("TOKEN_REVOKED" in line for line in rest_of_it)


async def test_a_client_finds_its_own_ids_in_the_first_event(lab: Lab, register: Register) -> None:
    async with Socket(lab, await register("alice")) as socket:
        await socket.say("start_agent", user_request="Mine", mid="m-1", run_id="claimed-run")
        events = await socket.until_ended()
    assert events[0]["payload"]["message_id"] == "m-1"
    assert events[0]["payload"]["client_run_id"] == "claimed-run"
    assert events[0]["run_id"] != "claimed-run"


async def test_the_turn_of_an_agent_request_is_in_all_of_its_events(lab: Lab, register: Register) -> None:
    async with Socket(lab, await register("alice")) as socket:
        await socket.say("agent_request", message="Turn", turn_id="turn-7")
        events = await socket.until_ended()
    assert {event["payload"]["turn_id"] for event in events} == {"turn-7"}


async def test_a_stopped_run_ends_with_one_error_on_whichever_backend_it_works(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with Socket(lab, alice, 0) as socket, rest(lab, alice, 1) as client:
        await socket.say("chat", content="#model-stall# think for long")
        started = await socket.until_type("agent_started")
        stopped = await client.post(f"/api/runs/{started['run_id']}/stop")
        assert stopped.json() == {"run_id": started["run_id"], "stopped": True}
        end = await socket.until(lambda frame: frame["type"] in LAST)
        assert (end["type"], end["payload"]["error_code"]) == ("agent_error", "CANCELLED")
        assert not [frame for frame in await socket.quiet() if frame["type"] in RUN_EVENTS]
        assert (await client.get(f"/api/runs/{started['run_id']}")).json()["status"] == "cancelled"
        assert (await client.post(f"/api/runs/{started['run_id']}/stop")).status_code == 409


async def test_stopping_somebody_elses_run_is_refused_and_has_no_effect(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with Socket(lab, alice) as socket, Socket(lab, bob) as attacker:
        await socket.say("chat", content="#model-stall# undisturbed")
        run_id = (await socket.until_type("agent_started"))["run_id"]
        await attacker.say("stop_agent", run_id=run_id)
        assert (await attacker.until_type("error_message"))["error_code"] == "FORBIDDEN"
        await socket.say("stop_agent", run_id=run_id)
        assert (await socket.until_type("agent_error"))["run_id"] == run_id


async def test_a_failed_model_is_explained_and_the_next_run_succeeds(lab: Lab, register: Register) -> None:
    async with Socket(lab, await register("alice")) as socket:
        await socket.say("chat", content="#model-error# please")
        failed = (await socket.until_ended())[-1]
        assert failed["payload"]["error_code"] == "MODEL_UNAVAILABLE"
        assert "again" in failed["payload"]["error_message"]
        await socket.say("chat", content="Now without it")
        assert (await socket.until_ended())[-1]["type"] == "final_report"


async def test_a_reference_to_a_foreign_thread_brings_nothing_into_the_answer(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with rest(lab, alice) as client:
        thread = (await client.post("/api/threads", json={"title": "title-of-alice"})).json()["id"]
    async with Socket(lab, bob) as socket:
        await socket.say("chat", content="Look there", references=[thread])
        events = await socket.until_ended()
    lookups = [event["payload"] for event in events if event["payload"].get("tool_name") == "thread_lookup"]
    assert lookups[1]["success"] is False
    assert "title-of-alice" not in json.dumps(socket.frames)


async def test_identical_questions_of_two_users_are_answered_from_their_own_data(lab: Lab, register: Register) -> None:
    reports = []
    for person in (await register("alice"), await register("bob")):
        async with Socket(lab, person) as socket:
            await socket.say("chat", content="Where do I overspend?")
            reports.append((await socket.until_ended())[-1]["payload"])
    assert reports[0]["data"]["spend_summary"] != reports[1]["data"]["spend_summary"]
    assert reports[0]["result"] != reports[1]["result"]


async def test_threads_announce_themselves_and_switching_shows_their_history(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with Socket(lab, alice, 0) as socket, rest(lab, alice, 1) as client:
        await socket.say("create_thread", title="First")
        thread_id = (await socket.until_type("thread_created"))["thread_id"]
        await client.post(f"/api/threads/{thread_id}/messages", json={"content": "kept words"})
        await client.put(f"/api/threads/{thread_id}", json={"title": "Second"})
        assert (await socket.until_type("thread_renamed"))["payload"]["title"] == "Second"
        for kind, answer in (("switch_thread", "thread_switched"), ("get_thread_history", "thread_history")):
            await socket.say(kind, thread_id=thread_id)
            messages = (await socket.until_type(answer))["payload"]["messages"]
            assert [message["content"] for message in messages] == ["kept words"]


async def test_a_logged_in_user_is_told_of_a_finished_oauth_login(
    lab: Lab, register: Register, service_headers: dict[str, str]
) -> None:
    alice = await register("alice")
    async with Socket(lab, alice, 1) as socket, rest(lab, None) as client:
        event = {"event": "oauth_completed", "user_id": alice.id}
        assert (await client.post("/internal/auth-events", json=event)).status_code == 401
        assert (await client.post("/internal/auth-events", json=event, headers=service_headers)).status_code == 200
        assert (await socket.until_type("oauth_completed"))["payload"]["user_id"] == alice.id


async def test_an_unreachable_model_is_announced_and_so_is_its_return(compose: Composed) -> None:
    lab = compose()
    alice = await register_in(lab)
    async with Socket(lab, alice) as socket:
        await asyncio.to_thread(lab.kill_service, "llm")
        degraded = None
        while degraded is None:
            await socket.say("chat", content="Anybody there?")
            events = await socket.until_ended()
            assert events[-1]["type"] == "agent_error"
            degraded = next((f for f in socket.frames if f.get("data", {}).get("event") == "service_degraded"), None)
        await asyncio.to_thread(lab.start_service, "llm")
        while True:
            await socket.say("chat", content="And now?")
            if (await socket.until_ended())[-1]["type"] == "final_report":
                break
        await socket.quiet()
    assert any(frame.get("data", {}).get("event") == "service_recovered" for frame in socket.frames)


@pytest.mark.parametrize("end", ["kill_service", "restart_service"])
async def test_a_run_that_its_backend_did_not_survive_ends_with_an_error_for_its_user(
    compose: Composed, end: str
) -> None:
    lab = compose()
    alice = await register_in(lab)
    async with Socket(lab, alice, 1) as socket:
        async with rest(lab, alice, 0) as client:
            body = {"message": "#model-stall# and die"}
            run_id = (await client.post("/api/agents/execute", json=body)).json()["run_id"]
        await socket.until(lambda frame: frame["type"] == "agent_thinking" and frame["payload"]["step_number"] == 3)
        await asyncio.to_thread(getattr(lab, end), "backend-1")
        if end == "kill_service":
            await asyncio.to_thread(lab.start_service, "backend-1")
        await socket.until_ended()
    events = [frame for frame in socket.frames if frame["type"] in RUN_EVENTS]
    assert events[-1]["payload"]["error_code"] == "RUN_INTERRUPTED"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    async with rest(lab, alice, 1) as client:
        assert (await client.get(f"/api/runs/{run_id}")).json()["status"] == "failed"
