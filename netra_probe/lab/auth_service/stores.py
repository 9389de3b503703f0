"""Connections to PostgreSQL and Redis, with named time-outs; an outage becomes `Unavailable`, never a stack trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from netra_probe.lab.auth_service.errors import BadInput, Unavailable

_DATABASE_OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
)


class Database:
    """A pool of connections to the auth service's schema."""

    def __init__(self, *, url: str, size: int, seconds: float) -> None:
        self._url = url
        self._size = size
        self._seconds = seconds
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Open the pool."""
        self._pool = await asyncpg.create_pool(
            self._url, min_size=2, max_size=max(2, self._size), timeout=self._seconds, command_timeout=self._seconds
        )

    async def close(self) -> None:
        """Close the pool, at once if it does not want to."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 1.0)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection; `Unavailable` when there is none in time or the server is gone."""
        assert self._pool is not None, "open() comes first"
        try:
            async with self._pool.acquire(timeout=self._seconds) as connection:
                yield connection
        except (asyncpg.DataError, UnicodeEncodeError) as error:
            raise BadInput("a value cannot be stored: it holds characters or numbers that no account has") from error
        except _DATABASE_OUTAGES as error:
            raise Unavailable("The account store does not answer; try again shortly.") from error

    async def fetchrow(self, statement: str, *values: Any) -> asyncpg.Record | None:
        """The first row of a statement."""
        async with self.connection() as connection:
            return await connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        """The first value of a statement."""
        async with self.connection() as connection:
            return await connection.fetchval(statement, *values)

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of a statement."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *values)
            return rows

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a statement; how many rows it touched."""
        async with self.connection() as connection:
            tag: str = await connection.execute(statement, *values)
        last = tag.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    def numbers(self) -> dict[str, int]:
        """Size and idle connections, for the operator."""
        if self._pool is None:
            return {}
        return {"size": self._pool.get_size(), "idle": self._pool.get_idle_size(), "maximum": self._pool.get_max_size()}


class Cache:
    """Redis, database 1."""

    def __init__(self, *, url: str, seconds: float) -> None:
        self.client: redis.Redis = redis.Redis.from_url(
            url,
            decode_responses=True,
            # Time-outs and limits
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            max_connections=64,
            protocol=2,  # with RESP3 redis-py 8 takes an idle connection that the server has closed for a good one
            # one more try, at once: a connection that was idle while Redis restarted is dead, the next one is not
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[RedisConnectionError],
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    @contextmanager
    def guarded(self) -> Iterator[redis.Redis]:
        """The client; `Unavailable` when Redis does not answer."""
        try:
            yield self.client
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("The session store does not answer; try again shortly.") from error


_MIGRATION_LOCK = 0x6E657472  # "netr": several processes may start at once

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE auth_users (
        id              text PRIMARY KEY,
        email           text NOT NULL,
        name            text NOT NULL DEFAULT '',
        password_hash   text,
        auth_provider   text NOT NULL DEFAULT 'local',
        is_active       boolean NOT NULL DEFAULT true,
        is_verified     boolean NOT NULL DEFAULT true,
        is_admin        boolean NOT NULL DEFAULT false,
        locked_until    timestamptz,
        created_at      timestamptz NOT NULL DEFAULT now(),
        last_login_at   timestamptz
    );
    CREATE UNIQUE INDEX auth_users_email ON auth_users (lower(email));

    CREATE TABLE auth_identities (
        issuer          text NOT NULL,
        subject         text NOT NULL,
        user_id         text NOT NULL REFERENCES auth_users (id) ON DELETE CASCADE,
        created_at      timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (issuer, subject)
    );
    CREATE INDEX auth_identities_user ON auth_identities (user_id);

    CREATE TABLE auth_sessions (
        id              text PRIMARY KEY,
        user_id         text NOT NULL REFERENCES auth_users (id) ON DELETE CASCADE,
        refresh_jti     text NOT NULL,
        previous_jti    text,
        rotated_at      timestamptz NOT NULL DEFAULT now(),
        address         text NOT NULL DEFAULT '',
        user_agent      text NOT NULL DEFAULT '',
        created_at      timestamptz NOT NULL DEFAULT now(),
        expires_at      timestamptz NOT NULL,
        revoked_at      timestamptz
    );
    CREATE INDEX auth_sessions_user ON auth_sessions (user_id);

    -- what Redis forgets when it restarts
    CREATE TABLE auth_revoked_tokens (
        jti             text PRIMARY KEY,
        expires_at      timestamptz NOT NULL
    );

    CREATE TABLE auth_audit_logs (
        id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id         text,
        event           text NOT NULL,
        success         boolean NOT NULL,
        address         text NOT NULL DEFAULT '',
        created_at      timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX auth_audit_logs_user ON auth_audit_logs (user_id);
    """,
)


async def migrate(connection: asyncpg.Connection) -> int:
    """Bring the schema up to date and return its version; safe when several processes do it at once."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS auth_schema_version (version integer NOT NULL)")
        version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM auth_schema_version")
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            await connection.execute(statements)
            await connection.execute("INSERT INTO auth_schema_version VALUES ($1)", number)
        return len(MIGRATIONS)


class AuditLog:
    """Appends to ``auth_audit_logs``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, event: str, *, user_id: str | None, success: bool = True, address: str = "") -> None:
        """Note an event."""
        await self._database.execute(
            "INSERT INTO auth_audit_logs (user_id, event, success, address) VALUES ($1, $2, $3, $4)",
            user_id,
            event,
            success,
            address,
        )
