"""When a store is away nobody is let in on a guess; when it is back, what was revoked stays revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from people import PASSWORD

from netra_probe.lab import Lab, start_lab


@pytest.fixture(scope="module")
def lonely() -> Iterator[Lab]:
    """An auth service with its stores and nothing else, development login on."""
    without = ("backend-1", "backend-2", "llm", "oidc")
    settings = {"AUTH_DEV_LOGIN": "true", "STORE_SECONDS": "1"}
    with start_lab(without=without, settings=settings) as running:
        yield running


@pytest.fixture
async def alone(lonely: Lab) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that auth service."""
    async with httpx.AsyncClient(base_url=lonely.parameters["auth_url"], timeout=10) as client:
        yield client


async def newcomer(client: httpx.AsyncClient, name: str) -> dict[str, str]:
    """The headers of somebody who has just registered."""
    body = {"email": f"{name}@netra-probe.example", "password": PASSWORD}
    answer = await client.post("/auth/register", json=body)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_the_service_stands_alone(alone: httpx.AsyncClient) -> None:
    alice = await newcomer(alone, "alice")
    assert (await alone.get("/auth/me", headers=alice)).status_code == 200
    assert (await alone.post("/auth/logout", headers=alice)).status_code == 200, "no backend to tell: no matter"


async def test_login_with_a_provider_that_is_away_says_so(alone: httpx.AsyncClient) -> None:
    assert (await alone.get("/auth/login")).status_code == 503


async def test_development_login_works_where_it_is_switched_on(alone: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await alone.post("/auth/dev/login", json={})).json()["user"]["id"] == "dev-user-001"


@pytest.mark.parametrize("store", ["redis", "postgres"])
async def test_without_a_store_nobody_gets_in_and_afterwards_everybody_does(
    lonely: Lab, alone: httpx.AsyncClient, store: str
) -> None:
    alice = await newcomer(alone, f"alice-{store}")
    bob = await newcomer(alone, f"bob-{store}")
    assert (await alone.post("/auth/logout", headers=bob)).status_code == 200
    lonely.kill_service(store)
    try:
        token = alice["Authorization"].removeprefix("Bearer ")
        assert (await alone.get("/health/ready")).status_code == 503
        assert (await alone.get("/health/live")).status_code == 200
        assert (await alone.get("/auth/me", headers=bob)).status_code in (401, 503)
        answers = [
            await alone.get("/auth/me", headers=alice),
            await alone.post("/auth/validate", json={"token": token}),
            await alone.post("/auth/check-blacklist", json={"token": token}),
            await alone.post("/auth/logout", headers=alice),
            await alone.post("/auth/login", json={"email": f"alice-{store}@netra-probe.example", "password": PASSWORD}),
        ]
        assert [answer.status_code for answer in answers] == [503] * len(answers)
        assert all("Traceback" not in answer.text for answer in answers)
    finally:
        lonely.start_service(store)
    assert (await alone.get("/health/ready")).status_code == 200
    assert (await alone.get("/auth/me", headers=alice)).status_code == 200
    assert (await alone.get("/auth/me", headers=bob)).status_code == 401, "a restart brings no token back to life"


async def test_a_frozen_store_is_an_outage_not_a_hang(lonely: Lab, alone: httpx.AsyncClient) -> None:
    alice = await newcomer(alone, "alice-frozen")
    lonely.suspend_service("redis")
    try:
        assert (await alone.get("/auth/me", headers=alice)).status_code == 503
    finally:
        lonely.resume_service("redis")
    assert (await alone.get("/auth/me", headers=alice)).status_code == 200


def test_a_service_with_wrong_settings_says_all_that_is_wrong_and_no_secret() -> None:
    from netra_probe.lab import LabError

    settings = {"JWT_SECRET_KEY": "tooshort!", "LOGIN_MAX_FAILURES": "many"}
    with pytest.raises(LabError) as refused:
        start_lab(without=("backend-1", "backend-2", "llm", "oidc"), settings=settings)
    text = str(refused.value)
    assert "JWT_SECRET_KEY must have at least 32 bytes" in text
    assert "LOGIN_MAX_FAILURES must be a whole number" in text
    assert "tooshort!" not in text
