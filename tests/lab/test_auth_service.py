"""Accounts and sessions: register, log in, refresh once, log out for good, leave without a trace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import asyncpg
import httpx
import pytest
import redis.asyncio as redis
from people import PASSWORD, Person, Register

from netra_probe.lab import Lab

PAIR = {"access_token", "refresh_token", "token_type", "expires_in", "user"}


async def test_registering_gives_tokens_and_an_account(auth: httpx.AsyncClient, register: Register) -> None:
    alice = await register("alice")
    me = (await auth.get("/auth/me", headers=alice.headers)).json()
    assert (me["user_id"], me["email"], me["name"]) == (alice.id, alice.email, "Alice")
    assert me["permissions"] == ["read", "write"]
    expected = {"created_at", "last_login_at", "is_verified", "auth_provider", "token_expires_at"}
    assert expected <= set(me)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "a@b.example"},
        {"password": PASSWORD},
        {"email": "not an address", "password": PASSWORD},
        {"email": "two@@signs.example", "password": PASSWORD},
        {"email": "nul\x00@b.example", "password": PASSWORD},
        {"email": "half\ud800@b.example", "password": PASSWORD},
        {"email": "a@b.example", "password": "short"},
        {"email": "a@b.example", "password": "x" * 300},
        {"email": "a@b.example", "password": PASSWORD, "name": "line\nbreak"},
        {"email": "a@b.example", "password": PASSWORD, "name": "n" * 300},
        {"email": ["a@b.example"], "password": PASSWORD},
        [],
        "text",
    ],
)
async def test_registrations_that_cannot_be_are_refused_in_one_line(auth: httpx.AsyncClient, body: object) -> None:
    import json

    answer = await auth.post("/auth/register", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)
    assert PASSWORD not in answer.text


async def test_an_address_is_taken_in_whatever_case_it_is_written(
    auth: httpx.AsyncClient, unique_email: Callable[[str], str]
) -> None:
    email = unique_email("alice")
    spellings = [email, email.upper(), email.title(), email]
    answers = await asyncio.gather(
        *(auth.post("/auth/register", json={"email": spelling, "password": PASSWORD}) for spelling in spellings)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_logging_in_needs_the_right_password(auth: httpx.AsyncClient, register: Register) -> None:
    alice = await register("alice")
    right = await auth.post("/auth/login", json={"email": alice.email.upper(), "password": PASSWORD})
    assert right.status_code == 200
    assert set(right.json()) == PAIR
    assert right.json()["user"]["id"] == alice.id
    for email, password in ((alice.email, "wrong password"), ("nobody@netra-probe.example", PASSWORD)):
        wrong = await auth.post("/auth/login", json={"email": email, "password": password})
        assert (wrong.status_code, wrong.json()) == (401, {"detail": "Invalid credentials"})
    half = await auth.post(
        "/auth/login",
        content='{"email": "\\ud800@b.example", "password": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert half.status_code == 401


async def test_guessing_is_stopped_for_one_account_only(auth: httpx.AsyncClient, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    guesses = [
        (await auth.post("/auth/login", json={"email": alice.email, "password": f"guess {number}"})).status_code
        for number in range(11)
    ]
    assert guesses == [401] * 10 + [429]
    right = await auth.post("/auth/login", json={"email": alice.email, "password": PASSWORD})
    assert right.status_code == 429
    assert int(right.headers["retry-after"]) > 0
    assert (await auth.post("/auth/login", json={"email": bob.email, "password": PASSWORD})).status_code == 200
    await auth.delete(f"/auth/users/{alice.id}", headers=alice.headers)
    gone = await auth.post("/auth/login", json={"email": alice.email, "password": PASSWORD})
    assert gone.status_code == 401


@pytest.mark.parametrize("name", ["refresh_token", "refreshToken", "token"])
async def test_refreshing_rotates(auth: httpx.AsyncClient, register: Register, name: str) -> None:
    alice = await register("alice")
    first = await auth.post("/auth/refresh", json={name: alice.refresh_token})
    assert set(first.json()) == PAIR
    fresh = {"Authorization": f"Bearer {first.json()['access_token']}"}
    assert (await auth.get("/auth/me", headers=fresh)).json()["user_id"] == alice.id
    assert (await auth.post("/auth/refresh", json={name: alice.refresh_token})).status_code == 401
    second = await auth.post("/auth/refresh", json={name: first.json()["refresh_token"]})
    assert second.status_code == 200, "a race within a moment must not end the session"


async def test_of_parallel_refreshes_exactly_one_wins(auth: httpx.AsyncClient, register: Register) -> None:
    for person in [await register("alice"), await register("bob")]:
        answers = await asyncio.gather(
            *(auth.post("/auth/refresh", json={"refresh_token": person.refresh_token}) for _ in range(12))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 11
        (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert winner["user"]["id"] == person.id


async def test_a_refresh_token_in_two_hands_ends_the_session(auth: httpx.AsyncClient, register: Register) -> None:
    alice = await register("alice")
    tokens = [alice.refresh_token]
    for _ in range(2):
        tokens.append((await auth.post("/auth/refresh", json={"token": tokens[-1]})).json()["refresh_token"])
    assert (await auth.post("/auth/refresh", json={"token": tokens[0]})).status_code == 401
    assert (await auth.post("/auth/refresh", json={"token": tokens[2]})).status_code == 401
    assert (await auth.get("/auth/me", headers=alice.headers)).status_code == 401


@pytest.mark.parametrize("body", [{}, {"refresh_token": ""}, {"refresh_token": None}])
async def test_refreshing_needs_a_token(auth: httpx.AsyncClient, body: dict[str, str]) -> None:
    assert (await auth.post("/auth/refresh", json=body)).status_code == 422


async def test_an_access_token_does_not_refresh_and_a_refresh_token_opens_nothing(
    auth: httpx.AsyncClient, register: Register
) -> None:
    alice = await register("alice")
    assert (await auth.post("/auth/refresh", json={"token": alice.access_token})).status_code == 401
    headers = {"Authorization": f"Bearer {alice.refresh_token}"}
    assert (await auth.get("/auth/me", headers=headers)).status_code == 401


async def test_logging_out_revokes_the_token_and_its_session_but_no_other(
    auth: httpx.AsyncClient, register: Register
) -> None:
    alice, bob = await register("alice"), await register("bob")
    other = (await auth.post("/auth/login", json={"email": alice.email, "password": PASSWORD})).json()
    assert (await auth.post("/auth/logout", headers=alice.headers)).json()["status"] == "success"
    assert (await auth.get("/auth/me", headers=alice.headers)).status_code == 401
    assert (await auth.post("/auth/refresh", json={"token": alice.refresh_token})).status_code == 401
    verdict = (await auth.post("/auth/check-blacklist", json={"token": alice.access_token})).json()
    assert verdict["blacklisted"] is True
    for token in (other["access_token"], bob.access_token):
        assert (await auth.get("/auth/me", headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_a_disabled_account_is_out_at_once(
    auth: httpx.AsyncClient, register: Register, service_headers: dict[str, str]
) -> None:
    alice, mallory = await register("alice"), await register("mallory")
    disable = f"/auth/users/{alice.id}/disable"
    assert (await auth.post(disable, headers=mallory.headers)).status_code == 403
    assert (await auth.post(disable)).status_code == 401
    assert (await auth.post(disable, headers=service_headers)).status_code == 200
    assert (await auth.get("/auth/me", headers=alice.headers)).status_code == 401
    assert (await auth.post("/auth/refresh", json={"token": alice.refresh_token})).status_code == 401
    login = {"email": alice.email, "password": PASSWORD}
    assert (await auth.post("/auth/login", json=login)).status_code == 403
    assert (await auth.post(f"/auth/users/{alice.id}/enable", headers=service_headers)).status_code == 200
    assert (await auth.post("/auth/login", json=login)).status_code == 200
    assert (await auth.get("/auth/me", headers=alice.headers)).status_code == 401, "old sessions stay ended"


async def test_others_see_nothing_of_an_account(
    auth: httpx.AsyncClient, register: Register, service_headers: dict[str, str]
) -> None:
    alice, bob = await register("alice"), await register("bob")
    path = f"/auth/users/{alice.id}"
    assert (await auth.get(path, headers=alice.headers)).json()["email"] == alice.email
    refused = await auth.get(path, headers=bob.headers)
    assert refused.status_code == 403
    assert alice.email not in refused.text
    assert (await auth.get("/auth/users/nobody", headers=bob.headers)).status_code == 403, "no oracle for ids"
    assert (await auth.get(path)).status_code == 401
    assert (await auth.get(path, headers=service_headers)).json()["email"] == alice.email
    wrong = {**service_headers, "X-Service-Secret": "guess"}
    assert (await auth.get(path, headers={**alice.headers, **wrong})).status_code == 401


async def test_leaving_removes_every_row_and_key(lab: Lab, auth: httpx.AsyncClient, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    assert await traces(lab, alice)
    assert (await auth.delete(f"/auth/users/{alice.id}", headers=bob.headers)).status_code == 403
    assert (await auth.delete(f"/auth/users/{alice.id}", headers=alice.headers)).status_code == 200
    assert await traces(lab, alice) == []
    assert (await auth.get("/auth/me", headers=alice.headers)).status_code == 401
    assert (await auth.get("/auth/me", headers=bob.headers)).status_code == 200


async def test_fifty_people_register_at_once(register: Register) -> None:
    people = await asyncio.gather(*(register(f"user{number}") for number in range(50)))
    assert len({person.id for person in people}) == 50


async def test_development_login_is_off(auth: httpx.AsyncClient) -> None:
    assert (await auth.post("/auth/dev/login", json={})).status_code == 403


async def test_health_names_its_stores(auth: httpx.AsyncClient) -> None:
    for path in ("/health", "/health/ready", "/auth/status", "/auth/health"):
        answer = await auth.get(path)
        assert answer.status_code == 200
        assert {"status", "service", "version"} <= set(answer.json())


async def test_the_front_end_configuration_holds_no_secret(lab: Lab, auth: httpx.AsyncClient) -> None:
    answer = await auth.get("/auth/config")
    assert {"google_client_id", "oauth_enabled", "development_mode", "endpoints"} <= set(answer.json())
    assert lab.parameters["service_secret"] not in answer.text
    assert "secret" not in answer.text


async def test_answers_are_for_their_caller_only(auth: httpx.AsyncClient, register: Register) -> None:
    alice = await register("alice")
    answer = await auth.get("/auth/me", headers={**alice.headers, "Origin": "https://evil.example"})
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    friendly = await auth.get("/auth/me", headers={**alice.headers, "Origin": "http://localhost:3000"})
    assert friendly.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("size", [70_000, 400_000])
async def test_large_bodies_on_one_connection_belong_to_their_own_request(
    lab: Lab, register: Register, size: int
) -> None:
    people = [await register("alice"), await register("bob")]
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=lab.parameters["auth_url"], limits=limits) as one_connection:
        for person in people * 3:
            padding = {"token": "x" * size}
            assert (await one_connection.post("/auth/validate", json=padding)).json()["valid"] is False
            me = await one_connection.get("/auth/me", headers=person.headers)
            assert me.json()["user_id"] == person.id


async def test_bodies_beyond_every_need_are_refused(auth: httpx.AsyncClient) -> None:
    assert (await auth.post("/auth/validate", content=b"x" * 2_000_000)).status_code == 413


async def test_errors_echo_neither_tokens_nor_insides(auth: httpx.AsyncClient) -> None:
    headers = {"Authorization": "Bearer secret-looking-text"}
    for method, path in (("GET", "/auth/me"), ("POST", "/auth/logout"), ("GET", "/auth/users/%00"), ("GET", "/nope")):
        answer = await auth.request(method, path, headers=headers)
        assert answer.status_code in (401, 404)
        assert "secret-looking" not in answer.text
        assert "Traceback" not in answer.text


async def traces(lab: Lab, person: Person) -> list[str]:
    """Where a person's id or address is stored in the auth service's schema and in Redis database 1."""
    found: list[str] = []
    connection = await asyncpg.connect(lab.parameters["database_url"])
    try:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'auth_service'"
        )
        for table in tables:
            name = f"auth_service.{table['table_name']}"
            rows = await connection.fetch(f"SELECT t::text AS row FROM {name} t")
            found += [name for row in rows if person.id in row["row"] or person.email in row["row"]]
    finally:
        await connection.close()
    client = redis.Redis.from_url(lab.parameters["redis_url"].rsplit("/", 1)[0] + "/1", decode_responses=True)
    try:
        async for found_key in client.scan_iter():
            key = str(found_key)
            kind = await client.type(key)
            value = await (client.hgetall(key) if kind == "hash" else client.get(key) if kind == "string" else _none())
            if person.id in f"{key} {value!r}":
                found.append(key)
    finally:
        await client.aclose()
    return found


async def _none() -> None:
    return None


async def test_tokens_live_as_long_as_the_environment_says(auth: httpx.AsyncClient, register: Register) -> None:
    import jwt

    alice = await register("alice")
    lifetimes = {"access": 300, "refresh": 86_400}
    for token in (alice.access_token, alice.refresh_token):
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == lifetimes[claims["type"]]
        assert abs(claims["iat"] - time.time()) < 60
        assert (claims["iss"], claims["aud"]) == ("netra-auth-service", "netra-platform")
        assert {"sub", "token_type", "jti", "env", "svc_id"} <= set(claims)
