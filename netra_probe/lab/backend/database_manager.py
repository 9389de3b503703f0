"""DatabaseManager: pooled PostgreSQL sessions that carry one user's rights and leave nothing behind.

    async with database.get_session(user_id) as session:
        rows = await session.fetch("SELECT id FROM threads WHERE user_id = $1", user_id)

A session is one transaction: committed when the block ends, rolled back when it raises or is cancelled. The user's
right is a transaction-local setting, and the pool resets each connection when it comes back, so the next borrower
starts from nothing. A connection that cannot be had is tried for again for a moment, behind a circuit breaker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from netra_probe.lab.backend.errors import BackendError, Conflict, DependencyDown, InvalidRequest
from netra_probe.lab.backend.migrations import ADVISORY_LOCK, MIGRATIONS
from netra_probe.lab.backend.process_resources import AWAY, DatabaseBreaker
from netra_probe.lab.backend.settings import Limits

log = logging.getLogger(__name__)

RETRY_PAUSE_SECONDS = 0.05

_UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, statement time-out
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InterfaceError,
)


def _refusal(error: BaseException) -> BackendError | None:
    """The refusal that an error of PostgreSQL or asyncpg means for a user, None for an error of ours."""
    if isinstance(error, (asyncpg.DataError, UnicodeEncodeError)) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    ):
        return InvalidRequest("A value cannot be stored: remove NUL and unpaired surrogate characters.")
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Conflict("What this belongs to was deleted meanwhile.", code="GONE_MEANWHILE")
    if isinstance(error, _UNREACHABLE):
        return DependencyDown("The database cannot do this at the moment; try again shortly.")
    return None


class DatabaseManager:
    """One pool per process; `connect` before use, `close` at the end."""

    connection_class: type[asyncpg.Connection] = asyncpg.Connection

    def __init__(self, url: str, *, name: str, limits: Limits, breaker: DatabaseBreaker | None = None) -> None:
        self._url = url
        self._name = name
        self._limits = limits
        self._breaker = breaker or DatabaseBreaker(lambda event: None)
        self._pool: Any = None

    # Lifecycle

    async def connect(self) -> None:
        """Open the pool."""
        self._pool = await asyncpg.create_pool(
            self._url,
            connection_class=self.connection_class,
            min_size=self._limits.pool_minimum,
            max_size=self._limits.pool_maximum,
            command_timeout=self._limits.statement_milliseconds / 1000 + 2,
            timeout=self._limits.acquire_seconds,
            server_settings={
                "application_name": self._name,
                "statement_timeout": str(self._limits.statement_milliseconds),
                "lock_timeout": str(self._limits.statement_milliseconds),
                "idle_in_transaction_session_timeout": str(2 * self._limits.statement_milliseconds),
            },
        )

    async def close(self) -> None:
        """Close the pool; connections still in use are cut after a moment, so a shutdown always ends."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), timeout=1.0)
        except TimeoutError:
            self._pool.terminate()
        self._pool = None

    async def migrate(self) -> None:
        """Bring the schema up to date; safe when several processes start at once."""
        async with self._pool.acquire() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
            try:
                await connection.execute(
                    "CREATE TABLE IF NOT EXISTS backend_migrations "
                    "(version integer PRIMARY KEY, what text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
                )
                done = {row["version"] for row in await connection.fetch("SELECT version FROM backend_migrations")}
                for version, what, statements in MIGRATIONS:
                    if version in done:
                        continue
                    async with connection.transaction():
                        await connection.execute(statements)
                        await connection.execute(
                            "INSERT INTO backend_migrations (version, what) VALUES ($1, $2)", version, what
                        )
                    log.info("applied migration %s (%s)", version, what)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)

    # Sessions

    @asynccontextmanager
    async def get_session(self, user_id: str | None = None) -> AsyncIterator[Any]:
        """One transaction with the rights of `user_id`; without one, row-level security shows no user's rows.

        Raises:
            DependencyDown: PostgreSQL cannot be reached or has no free connection in time.
        """
        async with self._transaction() as connection:
            if user_id is not None:
                await connection.execute("SELECT set_config('netra.user_id', $1, true)", user_id)
            yield connection

    @asynccontextmanager
    async def get_service_session(self) -> AsyncIterator[Any]:
        """One transaction that sees all owners: only to ask whether an id exists at all."""
        async with self._transaction() as connection:
            await connection.execute("SELECT set_config('netra.scope', 'service', true)")
            yield connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection of the pool; its failures become refusals, and it goes back whatever happens."""
        if self._pool is None:
            raise DependencyDown("The database is not connected; try again in a moment.")
        connection = await self._acquire()
        try:
            yield connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            if connection.is_closed():
                self._breaker.unreachable()
            refusal = _refusal(error)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            # asyncpg shields this from cancellation, resets the session and replaces a connection in doubt
            try:
                await self._pool.release(connection)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                # It died after its work was done, and is out of the pool: the caller has lost nothing.
                log.warning("a connection died on its way back (%s)", type(error).__name__)

    async def _acquire(self) -> Any:
        """A connection; one that cannot be made is tried for again until the retry time is over."""
        deadline = time.monotonic() + self._limits.database_retry_seconds
        while True:
            failure: Exception | None = None
            if self._breaker.may_ask():
                try:
                    connection = await self._pool.acquire(timeout=self._limits.acquire_seconds)
                except TimeoutError as error:
                    raise DependencyDown("The database is too busy; try again in a moment.") from error
                except AWAY as error:
                    failure = error
                    log.warning("PostgreSQL cannot be reached (%s)", type(error).__name__)
                    self._breaker.unreachable()
                except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    raise DependencyDown("The database cannot be reached; try again in a moment.") from error
                else:
                    self._breaker.reached()
                    return connection
            if time.monotonic() + RETRY_PAUSE_SECONDS > deadline:
                code = None if self._breaker.state == "closed" else "DATABASE_CIRCUIT_OPEN"
                raise DependencyDown("The database cannot be reached; try again in a moment.", code=code) from failure
            await asyncio.sleep(RETRY_PAUSE_SECONDS)

    # Health

    async def health(self) -> dict[str, Any]:
        """Whether a fresh query is answered now, and how long it took."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(2.0), self._transaction() as connection:
                await connection.fetchval("SELECT 1")
        except (DependencyDown, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return {"status": "unhealthy", "error": type(error).__name__}
        return {"status": "healthy", "latency_ms": round((time.perf_counter() - started) * 1000, 2)}

    def pool_state(self) -> dict[str, int]:
        """Sizes of the pool, for the operator."""
        if self._pool is None:
            return {}
        size, idle = self._pool.get_size(), self._pool.get_idle_size()
        return {"size": size, "idle": idle, "in_use": size - idle, "max": self._pool.get_max_size()}
