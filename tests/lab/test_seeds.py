"""Seeded data: whom one finds, in which state, with which past; and that nobody finds a password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from backend_client import PATIENCE

from netra_probe.lab import Lab, LabError, start_lab
from netra_probe.lab.backend.agents.agent import choose_specialist
from netra_probe.lab.seeds import PEOPLE, PROMPTS, THREADS, password_of, token_of

STATES = [user.state for user in PEOPLE]


@pytest.fixture(scope="module")
def seeded() -> Iterator[Lab]:
    """A lab with the data in it."""
    with start_lab(seed_data=True, without=("backend-2",)) as lab:
        yield lab


def person(lab: Lab, state: str) -> dict[str, Any]:
    """What the lab says of somebody."""
    found: dict[str, Any] = next(user for user in lab.seeds["users"] if user["state"] == state)
    return found


def auth(lab: Lab) -> httpx.Client:
    """A client of the auth service."""
    return httpx.Client(base_url=lab.parameters["auth_url"], timeout=PATIENCE)


def backend(lab: Lab, token: str) -> httpx.Client:
    """A client of the backend with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=lab.parameters["backend_urls"][0], headers=headers, timeout=PATIENCE)


def log_in(lab: Lab, state: str) -> httpx.Response:
    """Log somebody in with the derived password."""
    email = person(lab, state)["email"]
    body = {"email": email, "password": password_of(email, lab.parameters["service_secret"])}
    with auth(lab) as client:
        return client.post("/auth/login", json=body)


def token_in(lab: Lab, state: str, number: int = 0) -> str:
    """A seeded token of somebody."""
    return token_of(person(lab, state)["tokens"][number]["claims"], lab.parameters["jwt_secret"])


def test_there_is_as_much_as_promised(seeded: Lab) -> None:
    seeds = seeded.seeds
    assert STATES == [
        "active", "unverified", "disabled", "locked", "expired-token", "revoked-token", "oauth-only", "admin",
        "two-device", "fresh",
    ]  # fmt: skip
    assert [user["state"] for user in seeds["users"]] == STATES
    assert (len(seeds["prompts"]), len(seeds["threads"])) == (20, 10)
    assert len({message for thread in seeds["threads"] for message in thread["messages"]}) == 100
    assert len({user["id"] for user in seeds["users"]} | {user["email"] for user in seeds["users"]}) == 20


def test_it_is_the_same_everywhere() -> None:
    assert PEOPLE[0].id == "eb4d7632-5caa-41fa-87bd-72fae7f01445"
    assert THREADS[0].id == "thread_779e6728ece34ad5a50fa5e15642cacd"
    assert THREADS[9].messages[9].created_at == 1754813340


def test_the_description_holds_no_secret(seeded: Lab) -> None:
    text = json.dumps(seeded.seeds)
    secret = seeded.parameters["service_secret"]
    hidden = [secret, seeded.parameters["jwt_secret"], *(password_of(user.email, secret) for user in PEOPLE)]
    assert [value for value in hidden if value in text] == []
    assert "eyJ" not in text
    logs = "".join(path.read_text() for path in (seeded.state_file.parent / "logs").iterdir())
    assert [value for value in hidden if value in logs] == []


@pytest.mark.parametrize("state", STATES)
def test_logging_in_answers_what_is_described(seeded: Lab, state: str) -> None:
    assert log_in(seeded, state).status_code == person(seeded, state)["login"]


def test_the_administrator_is_one_and_nobody_else_is(seeded: Lab) -> None:
    with auth(seeded) as client:
        for state in ("admin", "active"):
            headers = {"Authorization": f"Bearer {log_in(seeded, state).json()['access_token']}"}
            answer = client.get(f"/auth/users/{person(seeded, 'fresh')['id']}", headers=headers)
            assert answer.status_code == (200 if state == "admin" else 403)


@pytest.mark.parametrize(("state", "reason"), [("expired-token", "token_expired"), ("revoked-token", "token_revoked")])
def test_the_old_and_the_revoked_token_are_refused_everywhere(seeded: Lab, state: str, reason: str) -> None:
    token = token_in(seeded, state)
    with auth(seeded) as client, backend(seeded, token) as other:
        verdict = client.post("/auth/validate", json={"token": token}).json()
        assert (verdict["valid"], verdict["error"]) == (False, reason)
        assert other.get("/api/threads").status_code == 401
    assert log_in(seeded, state).status_code == 200, "the account itself is in order"


def test_each_device_goes_on_without_the_other(seeded: Lab) -> None:
    who = person(seeded, "two-device")
    assert [entry["what"] for entry in who["tokens"]] == [f"refresh token of {device}" for device in who["devices"]]
    with auth(seeded) as client:
        pairs = []
        for number in (0, 1):
            answer = client.post("/auth/refresh", json={"refresh_token": token_in(seeded, "two-device", number)})
            assert answer.json()["user"]["id"] == who["id"]
            pairs.append({"Authorization": f"Bearer {answer.json()['access_token']}"})
        assert client.post("/auth/logout", headers=pairs[0]).status_code == 200
        assert [client.get("/auth/me", headers=pair).status_code for pair in pairs] == [401, 200]


def test_who_has_no_password_comes_through_the_provider(seeded: Lab) -> None:
    who = person(seeded, "oauth-only")
    with auth(seeded) as client:
        address = client.get("/auth/login", params={"provider": who["oauth"]["provider"]}).headers["location"]
        callback = client.post(address, data={"sub": who["oauth"]["subject"]}).headers["location"]
        landed = urlsplit(client.get(callback).headers["location"])
        token = parse_qs(landed.fragment)["access_token"][0]
        me = client.get("/auth/me", headers={"Authorization": f"Bearer {token}"}).json()
    assert (me["user_id"], me["email"], me["auth_provider"]) == (who["id"], who["email"], "google")
    with backend(seeded, token) as client:
        assert [thread["id"] for thread in client.get("/api/threads").json()] == who["threads"]


def test_everybody_reads_their_own_past_and_only_theirs(seeded: Lab) -> None:
    for state in ("active", "admin", "two-device"):
        who = person(seeded, state)
        with backend(seeded, log_in(seeded, state).json()["access_token"]) as client:
            threads = client.get("/api/threads").json()
            assert {thread["id"] for thread in threads} == set(who["threads"])
            for thread in threads:
                messages = client.get(f"/api/threads/{thread['id']}/messages").json()["messages"]
                assert [message["role"] for message in messages] == ["user", "assistant"] * 5
                assert all(f"project {who['project']}" in message["content"] for message in messages)
            foreign = next(entry for entry in seeded.seeds["threads"] if entry["user_id"] != who["id"])
            assert client.get(f"/api/threads/{foreign['id']}").status_code == 403


def test_who_is_fresh_has_no_past(seeded: Lab) -> None:
    with backend(seeded, log_in(seeded, "fresh").json()["access_token"]) as client:
        assert client.get("/api/threads").json() == []


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.text)
def test_each_prompt_goes_to_its_specialist(prompt: Any) -> None:
    assert choose_specialist(prompt.text) == prompt.answered_by


def test_a_lab_without_the_parts_that_data_needs_says_so() -> None:
    with pytest.raises(LabError, match="The seeded data needs auth and backend-1 and oidc: start them"):
        start_lab(seed_data=True, without=("auth", "backend-1", "backend-2", "llm", "oidc"))
