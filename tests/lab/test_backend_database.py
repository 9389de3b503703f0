"""A database that goes away is tried for again, then left alone, announced, and found again when it is back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from backend_client import Socket, register_in, rest
from composing import Composed

from netra_probe.lab import Lab
from netra_probe.lab.backend.circuit_breakers import DatabaseBreaker
from netra_probe.lab.backend.connection_string import ConnectionStringProblem, check_connection_string
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.errors import DependencyDown, RateLimited
from netra_probe.lab.backend.settings import Limits


class CountingBreaker(DatabaseBreaker):
    """Keeps what it announced and how often nobody was there."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.misses = 0
        super().__init__(self.told.append)

    def unreachable(self) -> None:
        self.misses += 1
        super().unreachable()


@asynccontextmanager
async def managed(url: str, breaker: DatabaseBreaker, **limits: Any) -> AsyncIterator[DatabaseManager]:
    """A connected manager."""
    manager = DatabaseManager(url, name="test", limits=Limits(pool_minimum=0, **limits), breaker=breaker)
    await manager.connect()
    try:
        yield manager
    finally:
        await manager.close()


async def test_who_is_away_is_left_alone_and_the_refusal_says_so() -> None:
    breaker = CountingBreaker()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # held and not listened on: connections are refused
        url = f"postgresql://somebody@127.0.0.1:{nobody.getsockname()[1]}/netra"
        async with managed(url, breaker, database_retry_seconds=0.3) as manager:
            for code in ("DATABASE_CIRCUIT_OPEN", "DATABASE_CIRCUIT_OPEN"):
                with pytest.raises(DependencyDown) as refused:
                    async with manager.get_session():
                        pass
                assert refused.value.code == code
            assert (await manager.health())["status"] == "unhealthy"
    assert breaker.misses >= breaker.failures_to_open, "it was tried for again"
    assert breaker.told == ["service_degraded"]


async def test_a_busy_pool_opens_no_circuit(lab: Lab) -> None:
    breaker = CountingBreaker()
    url = lab.parameters["database_url"]
    async with (
        managed(url, breaker, pool_maximum=1, acquire_seconds=0.5) as manager,
        manager.get_session() as session,
    ):
        for _ in range(breaker.failures_to_open + 1):
            with pytest.raises(DependencyDown, match="too busy"):
                async with manager.get_session():
                    pass
        assert await session.fetchval("SELECT 1") == 1
    assert (breaker.misses, breaker.told) == (0, [])


async def test_a_user_has_a_share_of_the_pool_and_others_have_the_rest(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    url, limits = lab.parameters["database_url"], {"pool_maximum": 3, "user_connections": 2, "acquire_seconds": 0.5}
    async with managed(url, CountingBreaker(), **limits) as manager:
        async with manager.get_session("alice"), manager.get_session("alice"):
            with pytest.raises(RateLimited):
                async with manager.get_session("alice"):
                    pass
            async with manager.get_session("bob") as session:
                assert await session.fetchval("SELECT 1") == 1
        async with manager.get_session("alice"):
            pass
        assert not manager._shares, "who has no session is forgotten"
    assert "event=user_share_exhausted service=test user=alice" in caplog.text


async def test_health_does_not_queue_up_behind_the_users(lab: Lab) -> None:
    url = lab.parameters["database_url"]
    async with managed(url, CountingBreaker(), pool_maximum=1) as manager, manager.get_session("alice"):
        assert (await manager.health())["status"] == "healthy"
        assert manager.pool_state() == {"size": 1, "idle": 0, "in_use": 1, "max": 1}


async def test_a_session_that_loses_its_connection_is_refused_and_counted(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    breaker = CountingBreaker()
    async with managed(lab.parameters["database_url"], breaker) as manager:
        with pytest.raises(DependencyDown):
            async with manager.get_session("alice") as session:
                await session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        async with manager.get_session("alice") as session:
            assert await session.fetchval("SELECT 1") == 1
    assert breaker.misses == 1 and "event=connection_lost service=test user=alice" in caplog.text


async def test_an_event_has_a_code_and_no_value(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with managed(lab.parameters["database_url"], CountingBreaker()) as manager:
        with pytest.raises(asyncpg.UndefinedTableError):
            async with manager.get_session("alice") as session:
                await session.execute("SELECT 4711 FROM cards_of_hers")
    assert "event=statement_failed service=test user=alice code=42P01 error=UndefinedTableError" in caplog.text
    assert "4711" not in caplog.text and "cards" not in caplog.text


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("host=db user=reader", "no PostgreSQL URL"),
        ("mysql://reader:hidden@db/netra", "no PostgreSQL URL"),
        ("postgresql://reader:p@hidden@db/netra", "user or password"),
        ("postgresql://reader:hid%ning@db/netra", "user or password"),
        ("postgresql://reader:hidden:more@db/netra", "user or password"),
        ("postgresql://reader:hidden@db:port/netra", "host or port"),
        ("postgresql://reader:hidden@db:65536/netra", "host or port"),
        ("postgresql://reader:hidden@[::1/netra", "host or port"),
        ("postgresql://reader:hidden@/netra", "names no host"),
        ("postgresql://reader:hidden@one,/netra", "names no host"),
        ("postgresql://reader:hidden@db", "names no database"),
        ("postgresql://reader:hidden@db/netra?sslmode=maybe", "unknown sslmode"),
    ],
)
def test_a_connection_string_is_refused_by_its_part_and_not_quoted(url: str, says: str) -> None:
    with pytest.raises(ConnectionStringProblem, match=says) as refused:
        DatabaseManager(url, name="test", limits=Limits())
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db/netra",
        "postgres://reader:p%40%3A%2Fss@[::1]:5433,db.example:5432/netra?sslmode=verify-full",
        "postgresql://reader@/netra?host=/run/postgresql",
    ],
)
def test_a_connection_string_of_any_other_form_is_taken(url: str) -> None:
    assert check_connection_string(url) == url


async def test_an_outage_is_announced_and_over_with_the_first_request_that_finds_the_database_again(
    compose: Composed,
) -> None:
    lab = compose()
    alice = await register_in(lab)
    async with rest(lab, alice) as client, Socket(lab, alice) as listening:
        assert (await client.post("/api/threads")).status_code == 200
        await asyncio.to_thread(lab.kill_service, "postgres")
        told: list[dict[str, Any]] = []
        while not told:
            # without PostgreSQL nobody can sign in either; health, which needs no user, finds it gone
            await client.get("/health")
            told = [frame["data"] for frame in await listening.quiet() if frame["type"] == "system_message"]
        assert told == [{"event": "service_degraded", "service": "database"}]
        assert (await client.get("/health")).status_code == 503
        await asyncio.to_thread(lab.start_service, "postgres")
        answers = await asyncio.gather(*(client.get("/api/threads/count") for _ in range(10)))
        assert [answer.json() for answer in answers] == [{"count": 1}] * 10
        recovered = await listening.until(lambda frame: frame.get("data", {}).get("event") == "service_recovered")
        assert recovered["data"]["service"] == "database"
