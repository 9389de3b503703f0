"""A lab is told new settings while it runs: clocks jump, lifetimes shrink, secrets rotate; nothing bad is taken."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import jwt
import pytest
from backend_client import PATIENCE, Socket, register_in, rest
from people import Person

from netra_probe.lab import Lab, LabError, start_lab

CHANGED = ("ACCESS_TOKEN_SECONDS", "CLOCK_OFFSET_SECONDS", "MESSAGE_BYTES", "SECRET_OVERLAP_SECONDS")


@pytest.fixture(scope="module")
def running() -> Iterator[Lab]:
    """A lab to change, with refresh tokens of an odd length."""
    with start_lab(settings={"REFRESH_TOKEN_SECONDS": "777"}, without=("oidc",)) as lab:
        yield lab


@pytest.fixture
def pliable(running: Lab) -> Iterator[Lab]:
    """The same, changed back afterwards."""
    yield running
    running.configure(dict.fromkeys(CHANGED))


def client_of(lab: Lab) -> httpx.AsyncClient:
    """A client of the auth service."""
    return httpx.AsyncClient(base_url=lab.parameters["auth_url"], timeout=PATIENCE)


async def statuses(lab: Lab, who: Person) -> tuple[int, int]:
    """What the auth service and a backend say to somebody's token."""
    async with client_of(lab) as auth, rest(lab, who) as client:
        answers = await asyncio.gather(auth.get("/auth/me", headers=who.headers), client.get("/api/threads"))
    return answers[0].status_code, answers[1].status_code


def lifetime(token: str) -> int:
    """How long a token lives by its own word."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    seconds: int = claims["exp"] - claims["iat"]
    return seconds


async def test_lifetimes_come_from_the_settings_at_the_start_and_later(pliable: Lab) -> None:
    before = await register_in(pliable)
    assert (lifetime(before.access_token), lifetime(before.refresh_token)) == (300, 777)
    changed = pliable.configure({"ACCESS_TOKEN_SECONDS": 9})
    assert changed == {"auth": ["ACCESS_TOKEN_SECONDS"], "backend-1": [], "backend-2": []}
    after = await register_in(pliable)
    assert lifetime(after.access_token) == 9
    assert await statuses(pliable, before) == await statuses(pliable, after) == (200, 200)


async def test_when_the_clock_jumps_tokens_expire_and_their_sockets_end(pliable: Lab) -> None:
    alice = await register_in(pliable)
    async with Socket(pliable, alice, 1) as socket:
        assert await statuses(pliable, alice) == (200, 200)
        pliable.configure({"CLOCK_OFFSET_SECONDS": 400})
        assert await statuses(pliable, alice) == (401, 401)
        closed = await socket.until_closed()
        assert closed.rcvd is not None and closed.rcvd.code == 1008
        assert socket.frames[-1]["error_code"] == "TOKEN_EXPIRED"
    assert await statuses(pliable, await register_in(pliable)) == (200, 200), "those that are issued now are good"
    async with client_of(pliable) as auth:
        renewed = await auth.post("/auth/refresh", json={"refresh_token": alice.refresh_token})
        assert renewed.status_code == 200, "refresh tokens live longer"


async def test_the_time_of_a_service_is_on_its_answers(pliable: Lab) -> None:
    async def skew() -> tuple[float, float]:
        async with client_of(pliable) as auth, rest(pliable, None) as client:
            dates = [
                parsedate_to_datetime((await one.get("/health/live")).headers["date"]).timestamp()
                for one in (auth, client)
            ]
        return dates[0] - dates[1], dates[1]

    even, now = await skew()
    assert abs(even) <= 2
    pliable.configure({"AUTH_SERVICE_CLOCK_OFFSET_SECONDS": -1000})
    try:
        uneven, later = await skew()
    finally:
        pliable.configure({"AUTH_SERVICE_CLOCK_OFFSET_SECONDS": None})
    assert abs(uneven + 1000) <= 2 and later >= now


async def test_limits_count_on_sockets_that_are_open_already(pliable: Lab) -> None:
    async with Socket(pliable, await register_in(pliable)) as socket:
        await socket.say("ping", filler="x" * 300)
        assert (await socket.next())["type"] == "pong"
        pliable.configure({"MESSAGE_BYTES": 200})
        await socket.say("ping", filler="x" * 300)
        assert (await socket.next())["error_code"] == "MESSAGE_TOO_LARGE"


async def test_a_rotated_signing_key_keeps_everybody_signed_in_for_a_while(pliable: Lab) -> None:
    alice, old = await register_in(pliable), pliable.parameters["jwt_secret"]
    async with Socket(pliable, alice) as socket:
        assert pliable.rotate_secret("JWT_SECRET_KEY")["auth"] == ["JWT_SECRET_KEY"]
        new = pliable.parameters["jwt_secret"]
        assert new != old and len(new) >= 32
        bob = await register_in(pliable)
        jwt.decode(bob.access_token, new, algorithms=["HS256"], audience="netra-platform")
        assert await statuses(pliable, alice) == await statuses(pliable, bob) == (200, 200)
        pliable.configure({"SECRET_OVERLAP_SECONDS": 0})
        pliable.rotate_secret("JWT_SECRET_KEY")
        assert await statuses(pliable, bob) == (401, 401), "without an overlap the former key is worth nothing"
        assert await statuses(pliable, alice) == (200, 200), "the one before it was promised its time"
        assert (await socket.quiet()) == []


async def test_services_go_on_trusting_each_other_while_their_secret_rotates(pliable: Lab) -> None:
    def headers(secret: str) -> dict[str, str]:
        return {"X-Service-ID": pliable.parameters["service_id"], "X-Service-Secret": secret}

    old = pliable.parameters["service_secret"]
    alice = await register_in(pliable)
    assert set(pliable.rotate_secret("SERVICE_SECRET")) == {"auth", "backend-1", "backend-2"}
    new = pliable.parameters["service_secret"]
    assert await statuses(pliable, alice) == (200, 200)
    event = {"event": "oauth_completed", "user_id": alice.id}
    async with client_of(pliable) as auth, rest(pliable, None) as client:
        for secret, expected in ((old, 200), (new, 200), ("made-up-secret-of-somebody", 401)):
            body = {"token": alice.access_token}
            answers = [
                await auth.post("/auth/validate", json=body, headers=headers(secret)),
                await client.post("/internal/auth-events", json=event, headers=headers(secret)),
            ]
            assert [answer.status_code for answer in answers] == [expected, expected]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"ACCESS_TOKEN_SECONDS": "often"}, "auth refuses: ACCESS_TOKEN_SECONDS must be a whole number"),
        ({"POOL_MINIMUM": 99}, "backend-1 refuses: POOL_MAXIMUM must be at least POOL_MINIMUM"),
        ({"ACCES_TOKEN_SECONDS": 9}, "did you mean 'ACCESS_TOKEN_SECONDS'"),
        ({"MESSAGE_BYTES": "9\nLOGIN_MAX_FAILURES=1"}, "one line each"),
    ],
)
async def test_what_a_service_refuses_changes_nothing_anywhere(
    pliable: Lab, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(LabError, match=complaint):
        pliable.configure({"MESSAGE_BYTES": 200, **settings})
    async with Socket(pliable, await register_in(pliable)) as socket:
        assert socket.welcome["data"]["config"]["max_message_size"] == 8192


def test_a_secret_that_cannot_be_rotated_is_named(running: Lab) -> None:
    with pytest.raises(LabError, match="REDIS_URL cannot be rotated; there are: JWT_SECRET_KEY, SERVICE_SECRET"):
        running.rotate_secret("REDIS_URL")


async def test_a_restarted_service_knows_what_changed_and_survives_a_broken_file(pliable: Lab) -> None:
    pliable.configure({"ACCESS_TOKEN_SECONDS": 21})
    alice = await register_in(pliable)
    pliable.rotate_secret("JWT_SECRET_KEY")
    await asyncio.to_thread(pliable.restart_service, "auth")
    assert lifetime((await register_in(pliable)).access_token) == 21
    assert await statuses(pliable, alice) == (401, 401), "what is accepted for a while is forgotten at a restart"
    file = pliable.state_file.with_name("configuration") / "runtime.env"
    file.write_text("ACCESS_TOKEN_SECONDS=now and then\n")
    await asyncio.to_thread(pliable.restart_service, "auth")
    assert lifetime((await register_in(pliable)).access_token) == 21, "as in the last good configuration"
    assert "ACCESS_TOKEN_SECONDS" in (pliable.state_file.parent / "logs" / "auth.log").read_text()
    assert pliable.configure({"ACCESS_TOKEN_SECONDS": None})["auth"] == ["ACCESS_TOKEN_SECONDS"]


def test_files_are_private_and_only_those_of_secrets_hold_any(running: Lab) -> None:
    running.rotate_secret("SERVICE_SECRET")
    directory = running.state_file.with_name("configuration")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in (path for path in directory.rglob("*") if path.is_file()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        secret = running.parameters["service_secret"] in path.read_text()
        assert secret == (path.name == "SERVICE_SECRET")


def test_the_operator_sees_that_the_signing_key_is_in_the_auth_service_only(running: Lab) -> None:
    operator, seen = {"X-Lab-Operator": running.state["operator"]["token"]}, {}
    running.rotate_secret("JWT_SECRET_KEY")
    for url in (running.parameters["auth_url"], *running.parameters["backend_urls"]):
        assert httpx.get(f"{url}/lab/environment").status_code == 404
        answer = httpx.get(f"{url}/lab/environment", headers=operator)
        assert running.parameters["jwt_secret"] not in answer.text and operator["X-Lab-Operator"] not in answer.text
        seen[url] = answer.json()
    auth, *backends = seen.values()
    (key,) = (print for name, source, print in auth["held"] if name == "JWT_SECRET_KEY" and source == "secret")
    assert not any(key == print for backend in backends for _, _, print in backend["held"])
    assert not any(key == print for service in seen.values() for _, _, print in service["child"])
    assert len({print for one in seen.values() for name, _, print in one["held"] if name == "AUTH_SERVICE_URL"}) == 1


def test_only_the_operator_makes_a_service_read_its_files(running: Lab) -> None:
    for url in (running.parameters["auth_url"], *running.parameters["backend_urls"]):
        for headers in ({}, {"X-Lab-Operator": "guess"}):
            assert httpx.post(f"{url}/lab/reload", headers=headers).status_code == 404
