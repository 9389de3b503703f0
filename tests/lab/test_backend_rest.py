"""REST: who may see and change what, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import httpx
import pytest
from backend_client import Socket, register_in, rest
from composing import Composed
from people import Person, Register
from redis.asyncio import Redis

from netra_probe.lab import Lab


async def objects_of(lab: Lab, person: Person) -> dict[str, str]:
    """One object of each kind, and a path to it."""
    async with rest(lab, person) as client, Socket(lab, person) as socket:
        thread = (await client.post("/api/threads", json={"title": "secret title"})).json()["id"]
        message = (await client.post(f"/api/threads/{thread}/messages", json={"content": "secret"})).json()["id"]
        spend = (await client.post("/api/spend", json={"service": "s", "amount_usd": 1, "note": "secret"})).json()["id"]
        await socket.say("chat", content="secret", thread_id=thread)
        run = (await socket.until_ended())[-1]["run_id"]
    return {
        f"/api/threads/{thread}": thread,
        f"/api/threads/{thread}/messages": thread,
        f"/api/chat/messages?thread_id={thread}": thread,
        f"/api/chat/messages/{message}": message,
        f"/api/spend/{spend}": spend,
        f"/api/runs/{run}": run,
        f"/api/runs/{run}/steps": run,
        f"/api/runs/{run}/state": run,
        f"/api/runs?thread_id={thread}": thread,
    }


async def test_the_owner_reads_what_others_are_refused_and_strangers_must_sign_in(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    paths = await objects_of(lab, alice)
    async with rest(lab, alice) as owner, rest(lab, bob, 1) as other, rest(lab, None) as nobody:
        for path, identifier in paths.items():
            missing = path.replace(identifier, identifier[:-4] + "0000")
            statuses = [
                (await owner.get(path)).status_code,
                (await other.get(path)).status_code,
                (await owner.get(missing)).status_code,
                (await nobody.get(path)).status_code,
            ]
            assert statuses == [200, 403, 404, 401], path


async def test_foreign_objects_cannot_be_changed_or_deleted(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    paths = list(await objects_of(lab, alice))
    async with rest(lab, alice) as owner, rest(lab, bob) as other:
        before = [(await owner.get(path)).text for path in paths]
        for method, path, body in (
            ("PUT", paths[0], {"title": "taken", "metadata": {"user_id": bob.id}}),
            ("POST", paths[1], {"content": "planted"}),
            ("DELETE", paths[0], None),
            ("DELETE", paths[3], None),
            ("DELETE", paths[4], None),
            ("POST", paths[5] + "/stop", None),
        ):
            assert (await other.request(method, path, json=body)).status_code == 403, path
        assert [(await owner.get(path)).text for path in paths] == before


async def test_an_owner_in_the_metadata_of_a_thread_has_no_effect(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    async with rest(lab, alice) as client, rest(lab, bob) as other:
        body = {"title": "t", "metadata": {"user_id": bob.id, "status": "deleted", "colour": "red"}, "user_id": bob.id}
        thread = (await client.post("/api/threads", json=body)).json()
        changed = (await client.put(f"/api/threads/{thread['id']}", json=body)).json()
        assert thread["metadata"]["user_id"] == changed["metadata"]["user_id"] == alice.id
        assert changed["metadata"] == {"user_id": alice.id, "status": "active", "title": "t", "colour": "red"}
        assert (await other.get("/api/threads")).json() == []


async def test_lists_counts_and_searches_show_only_the_callers_rows(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    await objects_of(lab, alice)
    async with rest(lab, bob) as client:
        for path in ("/api/threads", "/api/chat/messages", "/api/runs", "/api/spend", "/api/search?q=secret"):
            assert "secret" not in (await client.get(path)).text
        assert (await client.get("/api/threads/count")).json() == {"count": 0}


async def test_a_deleted_thread_is_missing_with_all_that_hung_on_it(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    paths = list(await objects_of(lab, alice))
    async with rest(lab, alice) as client:
        assert (await client.delete(paths[0])).status_code == 200
        for path in (*paths[:4], *paths[5:]):
            assert (await client.get(path)).status_code == 404, path
        assert "secret" not in (await client.get("/api/search?q=secret")).text


async def test_what_is_read_is_what_was_written_last(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as one, rest(lab, alice, 1) as other:
        for number in range(10):
            writer, reader = (one, other) if number % 2 else (other, one)
            await reader.get("/api/users/me")
            await writer.put("/api/users/me", json={"name": f"name {number}"})
            assert (await reader.get("/api/users/me")).json()["name"] == f"name {number}"


async def test_credits_cannot_be_spent_twice(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as one, rest(lab, alice, 1) as other:
        answers = await asyncio.gather(
            *(
                client.post("/api/credits/use", json={"amount": 30, "reason": "burst"})
                for client in (one, other)
                for _ in range(5)
            )
        )
        ledger = (await one.get("/api/credits")).json()
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [409] * 7
    assert ledger["balance"] == 10
    assert sorted(entry["balance_after"] for entry in ledger["transactions"]) == [10, 40, 70]


async def test_tools_obey_the_permissions_of_their_caller(lab: Lab, register: Register) -> None:
    alice = await register("alice")
    async with rest(lab, alice) as client:
        names = {tool["name"] for tool in (await client.get("/api/tools")).json()["tools"]}
        refused = await client.post("/api/tools/execute", json={"tool_name": "credit_ledger"})
        unknown = await client.post("/api/tools/execute", json={"tool_name": "nothing"})
        allowed = await client.post("/api/tools/execute", json={"tool_name": "spend_summary"})
    assert "spend_summary" in names and "credit_ledger" not in names
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert unknown.status_code == 404
    assert allowed.json()["result"]["total_usd"] > 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/spend", {"service": "a\u0000b", "amount_usd": 1}),
        ("POST", "/api/spend", {"service": "a\ud800", "amount_usd": 1}),
        ("POST", "/api/spend", {"service": "a", "amount_usd": -1}),
        ("POST", "/api/spend", {"service": "a", "amount_usd": "NaN"}),
        ("POST", "/api/threads", {"title": "x" * 501}),
        ("PUT", "/api/users/me", {"preferences": {"k": "\u0000"}}),
        ("POST", "/api/credits/use", {"amount": 0}),
        ("POST", "/api/agents/execute", {"message": "   "}),
        ("POST", "/api/agents/execute", {}),
        ("GET", "/api/threads?limit=0", None),
        ("GET", "/api/threads/%00", None),
        ("GET", "/api/search?q=%20", None),
    ],
)
async def test_unusable_values_are_refused_with_a_reason(
    lab: Lab, register: Register, method: str, path: str, body: dict[str, Any] | None
) -> None:
    async with rest(lab, await register("alice")) as client:
        content = None if body is None else json.dumps(body).encode()
        answer = await client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error_code"]


async def test_refusals_echo_no_header_and_no_body(lab: Lab, register: Register) -> None:
    async with rest(lab, await register("alice")) as client:
        wrong = await client.post("/api/spend", json={"service": 7, "note": "private words", "amount_usd": "x"})
        forged = await client.get("/api/users/me", headers={"Authorization": "Bearer secret.token.here"})
        broken = await client.post("/api/threads", content=b"{", headers={"Content-Type": "application/json"})
    assert (wrong.status_code, forged.status_code, broken.status_code) == (422, 401, 422)
    assert "private words" not in wrong.text and "secret" not in forged.text
    assert forged.headers["www-authenticate"] == "Bearer"


async def test_large_bodies_on_one_connection_keep_each_request_with_its_own_user(lab: Lab, register: Register) -> None:
    people = [await register("alice"), await register("bob")]
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    async with httpx.AsyncClient(base_url=lab.parameters["backend_urls"][0], limits=limits, timeout=10) as client:
        for number in range(6):
            person = people[number % 2]
            body = {"name": "n", "preferences": {"text": f"{person.id} " * 3000}}
            changed = await client.put("/api/users/me", json=body, headers=person.headers)
            assert changed.json()["id"] == person.id
            assert (await client.get("/api/users/me", headers=person.headers)).json()["id"] == person.id
            assert (await client.get("/api/users/me")).status_code == 401


async def test_a_body_over_one_megabyte_is_refused_and_answers_are_never_cached(lab: Lab, register: Register) -> None:
    async with rest(lab, await register("alice")) as client:
        answer = await client.put("/api/users/me", json={"preferences": {"text": "x" * 1_100_000}})
        me = await client.get("/api/users/me")
    assert answer.status_code == 413
    assert me.headers["cache-control"] == "no-store" and "Authorization" in me.headers["vary"]


async def test_erasing_oneself_leaves_no_row_and_no_key_and_ends_sockets_and_runs(lab: Lab, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    await objects_of(lab, alice)
    await objects_of(lab, bob)
    async with Socket(lab, alice, 1) as socket, rest(lab, alice, 0) as client:
        await socket.say("chat", content="#model-stall# in progress")
        await socket.until_type("agent_started")
        erased = await client.delete("/api/users/me")
        assert (erased.status_code, erased.json()["erased"]["users"]) == (200, 1)
        assert (await socket.until_closed()).rcvd is not None
    assert await traces(lab, alice.id) == []
    assert await traces(lab, bob.id) != []


async def traces(lab: Lab, user_id: str) -> list[str]:
    """Tables of the backend and keys that hold a user's id."""
    found: list[str] = []
    connection = await asyncpg.connect(lab.parameters["database_url"])
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            if await connection.fetchval(
                f"SELECT count(*) FROM {table} AS row WHERE row::text LIKE $1", f"%{user_id}%"
            ):
                found.append(table)
    finally:
        await connection.close()
    redis: Any = Redis.from_url(lab.parameters["redis_url"], decode_responses=True)
    try:
        found += [key async for key in redis.scan_iter(match=f"*{user_id}*")]
    finally:
        await redis.aclose()
    return found


async def test_the_published_interface_names_every_route_of_a_user(lab: Lab) -> None:
    async with rest(lab, None) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/api/threads/{thread_id}", "/api/chat/stream", "/api/users/me", "/api/spend/{record_id}"} <= set(paths)
    assert "delete" in paths["/api/users/me"]
    assert not [path for path in paths if path.startswith(("/lab", "/internal"))]


async def test_health_is_honest_about_dead_stores(compose: Composed) -> None:
    lab = compose()
    alice = await register_in(lab)
    async with rest(lab, alice) as client:
        assert (await client.get("/health")).json()["status"] == "healthy"
        for store, name in (("redis", "redis"), ("postgres", "postgresql")):
            await asyncio.to_thread(lab.kill_service, store)
            answer = await client.get("/health/ready")
            assert answer.status_code == 503
            assert answer.json()["dependencies"][name]["status"] == "unhealthy"
            assert (await client.post("/api/threads")).status_code in (401, 503)
            await asyncio.to_thread(lab.start_service, store)
            while (await client.get("/health/ready")).status_code != 200:
                pass
        assert (await client.get("/health/live")).status_code == 200
