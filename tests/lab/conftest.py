"""One lab for the whole session, and people to meet in it."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from backend_client import http
from people import PASSWORD, Person, Register

from netra_probe.lab import Lab, attach, start_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A healthy lab with all its parts: the one of the session where there is one, else one of our own."""
    if shared := os.environ.get("NETRA_PROBE_LAB"):
        yield attach(shared)
        return
    with start_lab() as running:
        yield running


@pytest.fixture
async def auth(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the auth service."""
    async with http(lab.parameters["auth_url"]) as client:
        yield client


@pytest.fixture
def service_headers(lab: Lab) -> dict[str, str]:
    """What authenticates a service."""
    return {"X-Service-ID": lab.parameters["service_id"], "X-Service-Secret": lab.parameters["service_secret"]}


@pytest.fixture
def unique_email() -> Callable[[str], str]:
    """E-mail addresses that nobody has used before."""
    run, numbers = f"{os.getpid():x}{secrets.token_hex(3)}", itertools.count(1)
    return lambda name: f"probe+{run}{next(numbers)}.{name}@netra-probe.example"


@pytest.fixture
def register(auth: httpx.AsyncClient, unique_email: Callable[[str], str]) -> Register:
    """Register somebody."""

    async def registered(name: str = "alice") -> Person:
        answer = await auth.post(
            "/auth/register", json={"email": unique_email(name), "password": PASSWORD, "name": name.title()}
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return Person(
            id=body["user"]["id"],
            email=body["user"]["email"],
            access_token=body["access_token"],
            refresh_token=body["refresh_token"],
        )

    return registered
