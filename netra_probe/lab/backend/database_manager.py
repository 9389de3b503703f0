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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

import asyncpg

from netra_probe.lab.backend.circuit_breakers import AWAY, DatabaseBreaker
from netra_probe.lab.backend.connection_string import check_connection_string
from netra_probe.lab.backend.database_failures import DatabaseEvents, is_lost, refusal_for
from netra_probe.lab.backend.errors import DependencyDown, RateLimited
from netra_probe.lab.backend.migrations import ADVISORY_LOCK, MIGRATIONS, SchemaTooNew

if TYPE_CHECKING:
    from netra_probe.lab.backend.settings import Limits

RETRY_PAUSE_SECONDS = 0.05
HEALTH_SECONDS = 2.0


class DatabaseManager:
    """One pool per process; `connect` before use, `close` at the end.

    It promises:

    a. A session carries the rights of its user only, and leaves nothing on its connection for the next one.
    b. The pool never grows above its maximum, waiters are served in the order in which they came, and no user takes
       more than their share of it.
    c. A session is one transaction, with all that several agents do in it; one inside of it ends on its own.
    d. `health` says what a query would meet now, also while users hold the whole pool.
    e. However a block ends, its connection is back in the pool; what was cancelled is rolled back.
    f. A connection string means what PostgreSQL's manual says. One that cannot be used is refused at once, and never
       shown; TLS that is required is never done without.
    g. Each migration is done once, whole or not at all, however many processes start. A schema that is newer than the
       service is refused.
    h. A user's rows are found by an index, and no statement outlasts the time-out.
    i. A connection is tried for again, a statement never. The breaker opens when the database cannot be reached,
       whatever users do, and closes with the first connection that is had.
    j. What fails is logged with the user whose session it was, and without values.
    """

    connection_class: type[asyncpg.Connection] = asyncpg.Connection
    breaker_class: ClassVar[type[DatabaseBreaker]] = DatabaseBreaker
    events_class: ClassVar[type[DatabaseEvents]] = DatabaseEvents
    migrations: ClassVar[Sequence[tuple[int, str, str]]] = MIGRATIONS

    def __init__(self, url: str, *, name: str, limits: Limits, breaker: DatabaseBreaker | None = None) -> None:
        self._url = check_connection_string(url)
        self._name = name
        self._limits = limits
        self._events = self.events_class(name)
        self._breaker = breaker or self.breaker_class(self._events.record)
        self._pool: Any = None
        #: User → how many more connections they may have; forgotten with the last session of theirs.
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

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
            server_settings=self._server_settings(),
        )

    def _server_settings(self) -> dict[str, str]:
        return {
            "application_name": self._name,
            "statement_timeout": str(self._limits.statement_milliseconds),
            "lock_timeout": str(self._limits.statement_milliseconds),
            "idle_in_transaction_session_timeout": str(2 * self._limits.statement_milliseconds),
        }

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
        """Bring the schema up to date; safe when several processes start at once.

        Raises:
            SchemaTooNew: a newer version of the service was here.
        """
        async with self._pool.acquire() as connection, self._alone(connection):
            try:
                await self._migrate(connection)
            except (SchemaTooNew, asyncpg.PostgresError) as error:
                self._events.failed("migration_failed", error)
                raise

    @asynccontextmanager
    async def _alone(self, connection: Any) -> AsyncIterator[None]:
        """While no other process migrates."""
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)

    async def _migrate(self, connection: Any) -> None:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS backend_migrations "
            "(version integer PRIMARY KEY, what text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row["version"] for row in await connection.fetch("SELECT version FROM backend_migrations")}
        self._refuse_newer(max(done, default=0))
        for version, what, statements in self.migrations:
            if version not in done:
                await self._apply(connection, version, what, statements)
                self._events.record("migrated", level=logging.INFO, version=version)

    def _refuse_newer(self, version: int) -> None:
        newest = self.migrations[-1][0]
        if version > newest:
            raise SchemaTooNew(
                f"the schema is at version {version}, this service knows it up to {newest}; start a newer one"
            )

    async def _apply(self, connection: Any, version: int, what: str, statements: str) -> None:
        async with connection.transaction():
            await connection.execute(statements)
            await connection.execute("INSERT INTO backend_migrations (version, what) VALUES ($1, $2)", version, what)

    # Sessions

    @asynccontextmanager
    async def get_session(self, user_id: str | None = None) -> AsyncIterator[Any]:
        """One transaction with the rights of `user_id`; without one, row-level security shows no user's rows.

        Raises:
            DependencyDown: PostgreSQL cannot be reached or has no free connection in time.
            RateLimited: this user has all the connections that one user may have, and none came back in time.
        """
        async with self._transaction(user_id) as connection:
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
    async def _transaction(self, user_id: str | None = None) -> AsyncIterator[Any]:
        async with self._connection(user_id) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _connection(self, user_id: str | None = None) -> AsyncIterator[Any]:
        """A connection of the pool; its failures become refusals, and it goes back whatever happens."""
        if self._pool is None:
            raise DependencyDown("The database is not connected; try again in a moment.")
        async with self._share(user_id):
            connection = await self._acquire(user_id)
            try:
                yield connection
            except asyncio.CancelledError:
                self._events.record("session_cancelled", level=logging.INFO, user=user_id)
                raise
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
                if is_lost(connection):
                    self._events.failed("connection_lost", error, user_id=user_id)
                    self._breaker.unreachable()
                else:
                    self._tell(error, user_id)
                refusal = refusal_for(error)
                if refusal is None:
                    raise
                raise refusal from error
            finally:
                await self._release(connection)

    async def _release(self, connection: Any) -> None:
        # asyncpg shields this from cancellation, resets the session and replaces a connection in doubt
        try:
            await self._pool.release(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # It died after its work was done, and is out of the pool: the caller has lost nothing.
            self._events.failed("connection_died_on_return", error)

    def _tell(self, error: Exception, user_id: str | None) -> None:
        """Log why a session failed."""
        self._events.session_failed(error, user_id)

    @asynccontextmanager
    async def _share(self, user_id: str | None) -> AsyncIterator[None]:
        """A place among the connections that one user may have; what the service does for nobody has no bound."""
        if user_id is None:
            yield
            return
        share = self._shares.get(user_id)
        if share is None:
            share = self._shares[user_id] = asyncio.Semaphore(self._limits.user_connections)
        try:
            async with asyncio.timeout(self._limits.acquire_seconds):
                await share.acquire()
        except TimeoutError as error:
            self._events.record("user_share_exhausted", user=user_id)
            raise RateLimited(
                "Too many of your requests are at the database; try again when one of them is done.", retry_after=1.0
            ) from error
        try:
            yield
        finally:
            share.release()

    async def _acquire(self, user_id: str | None = None) -> Any:
        """A connection; one that cannot be made is tried for again until the retry time is over."""
        deadline = time.monotonic() + self._limits.database_retry_seconds
        while True:
            failure: Exception | None = None
            if self._breaker.may_ask():
                try:
                    connection = await self._pool.acquire(timeout=self._limits.acquire_seconds)
                except TimeoutError as error:
                    self._events.record("pool_exhausted", user=user_id, **self.pool_state())
                    raise DependencyDown("The database is too busy; try again in a moment.") from error
                except AWAY as error:
                    failure = error
                    self._events.failed("unreachable", error)
                    self._breaker.unreachable()
                except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    self._events.failed("unreachable", error)
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
        """Whether a fresh query is answered now, and how long it took; a pool in full use is no reason for illness."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._ask()
        except (DependencyDown, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._events.failed("unhealthy", error)
            return {"status": "unhealthy", "error": type(error).__name__}
        return {"status": "healthy", "latency_ms": round((time.perf_counter() - started) * 1000, 2)}

    async def _ask(self) -> None:
        pool = self.pool_state()
        if not pool or pool["in_use"] < pool["max"]:
            async with self._transaction() as connection:
                await connection.fetchval("SELECT 1")
            return
        connection = await asyncpg.connect(self._url, server_settings=self._server_settings())
        try:
            await connection.fetchval("SELECT 1")
        finally:
            await connection.close()

    def pool_state(self) -> dict[str, int]:
        """Sizes of the pool, for the operator."""
        if self._pool is None:
            return {}
        size, idle = self._pool.get_size(), self._pool.get_idle_size()
        return {"size": size, "idle": idle, "in_use": size - idle, "max": self._pool.get_max_size()}
