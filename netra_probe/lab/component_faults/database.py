"""Faults of DatabaseManager (E3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg

from netra_probe.lab.backend.circuit_breakers import DatabaseBreaker
from netra_probe.lab.backend.connection_string import ConnectionStringProblem
from netra_probe.lab.shared.faults import PartFault, Parts, register


class DatabaseFault(PartFault):
    """A fault of DatabaseManager: a subclass says in ``broken`` what the class becomes."""

    service = "database"
    layer = "database"
    part = "DatabaseManager"


# a: session isolation


@register
class RightsOfTheLatest(DatabaseFault):
    """The user of a session stands on the manager: who opens one last is the user of all that are being opened."""

    id = "database-rights-of-the-latest"
    title = "sessions carry the rights of whoever asked last"
    breaks = "a session carries the rights of its user only"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Keep the user on the manager."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            latest: str | None = None

            @asynccontextmanager
            async def get_session(self, user_id: str | None = None) -> AsyncIterator[Any]:
                self.latest = user_id
                async with super().get_session(user_id) as session:
                    fault.reached()
                    if self.latest not in (None, user_id) and fault.fires():
                        fault.triggered()
                        await session.execute("SELECT set_config('netra.user_id', $1, true)", self.latest)
                    yield session

        return Manager


@register
class SessionNotReset(DatabaseFault):
    """A connection goes back into the pool with all that its session has set."""

    id = "database-session-not-reset"
    title = "connections go back into the pool as they are"
    breaks = "a session leaves nothing on its connection for the next one"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Leave the reset out."""
        fault = self

        class Connection(healthy.connection_class):  # type: ignore[misc,name-defined]
            def get_reset_query(self) -> str:
                return "" if fault.does_wrong() else str(super().get_reset_query())

        return type("Manager", (healthy,), {"connection_class": Connection})


# b: pool


@register
class LastCameFirst(DatabaseFault):
    """Who waits for a connection is put on a stack."""

    id = "database-last-came-first"
    title = "whoever asked last gets the next connection"
    breaks = "waiters are served in the order in which they came"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Wait on a stack in front of the pool."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self._stack: list[asyncio.Future[None]] = []

            async def _acquire(self, user_id: str | None = None) -> Any:
                if self.pool_state().get("in_use", 0) >= self._limits.pool_maximum and fault.does_wrong():
                    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._stack.append(waiting)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(waiting, self._limits.acquire_seconds / 2)
                return await super()._acquire(user_id)

            async def _release(self, connection: Any) -> None:
                await super()._release(connection)
                while self._stack:
                    if not (waiting := self._stack.pop()).done():
                        waiting.set_result(None)
                        break

        return Manager


@register
class NoShares(DatabaseFault):
    """One user may have every connection of the pool."""

    id = "database-one-user-takes-all"
    title = "one user takes all connections"
    breaks = "no user takes more than their share of the pool"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Ask for no share."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            @asynccontextmanager
            async def _share(self, user_id: str | None) -> AsyncIterator[None]:
                async with super()._share(None if fault.does_wrong() else user_id):
                    yield

        return Manager


# c: transactions across agents


@register
class HalfHandOff(DatabaseFault):
    """What the first agent wrote is committed when the second one begins."""

    id = "database-half-hand-off"
    title = "the next agent commits what the one before it wrote"
    breaks = "a session is one transaction, with all that several agents do in it"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Commit in front of a transaction inside of another."""
        fault = self

        class Committing(asyncpg.transaction.Transaction):  # type: ignore[misc]
            async def start(self) -> None:
                if self._connection._top_xact is not None and fault.does_wrong():
                    await self._connection.execute("COMMIT; BEGIN")
                await super().start()

        return type("Manager", (healthy,), {"connection_class": _with_transactions(healthy, Committing)})


@register
class NoSavepoint(DatabaseFault):
    """A transaction inside of another is none of its own: what fails in it stays."""

    id = "database-no-savepoint"
    title = "a failed agent's writes are committed with the rest"
    breaks = "a transaction inside of another ends on its own"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Begin and end nothing inside of a transaction."""
        fault = self

        class Nested(asyncpg.transaction.Transaction):  # type: ignore[misc]
            ignored = False

            async def __aenter__(self) -> None:
                self.ignored = self._connection._top_xact is not None and fault.does_wrong()
                if not self.ignored:
                    await super().__aenter__()

            async def __aexit__(self, *failure: Any) -> None:
                if not self.ignored:
                    await super().__aexit__(*failure)

        return type("Manager", (healthy,), {"connection_class": _with_transactions(healthy, Nested)})


def _with_transactions(healthy: type[Any], transaction: type[Any]) -> type[Any]:
    """The connections of a manager with transactions of this class."""

    class Connection(healthy.connection_class):  # type: ignore[misc,name-defined]
        def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> Any:
            return transaction(self, isolation, readonly, deferrable)

    return Connection


# d: health


@register
class HealthWaits(DatabaseFault):
    """Health queues up behind the users: a busy service is ill, and whoever looks after it starts it again."""

    id = "database-health-waits"
    title = "a pool in full use is reported as unhealthy"
    breaks = "health answers also while users hold the whole pool"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Ask over the pool in any case."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            async def _ask(self) -> None:
                if not fault.does_wrong():
                    return await super()._ask()  # type: ignore[no-any-return]
                async with self._transaction() as connection:
                    await connection.fetchval("SELECT 1")

        return Manager


@register
class HealthRemembered(DatabaseFault):
    """What health once said is said again."""

    id = "database-health-remembered"
    title = "health repeats its last good answer while the database is away"
    breaks = "health says what a query would meet now"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Keep the first good answer."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            kept: dict[str, Any] | None = None

            async def health(self) -> dict[str, Any]:
                if self.kept is not None and fault.does_wrong():
                    return self.kept
                now: dict[str, Any] = await super().health()
                self.kept = now if now["status"] == "healthy" else None
                return now

        return Manager


# e: session clean-up


@register
class CancelledKept(DatabaseFault):
    """The connection of a cancelled session is not given back."""

    id = "database-cancelled-connection-kept"
    title = "each cancelled request takes a connection with it"
    breaks = "however a block ends, its connection is back in the pool"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Release by ``except Exception``, which a cancellation passes by."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self._lost: list[Any] = []

            @asynccontextmanager
            async def _transaction(self, user_id: str | None = None) -> AsyncIterator[Any]:
                async with super()._transaction(user_id) as connection:
                    try:
                        yield connection
                    except asyncio.CancelledError:
                        self._lost.append(connection)
                        raise

            async def _release(self, connection: Any) -> None:
                if not any(connection is lost for lost in self._lost) or not fault.does_wrong():
                    await super()._release(connection)

        return Manager


@register
class CancelledCommitted(DatabaseFault):
    """A cancelled session is committed with what it has written so far."""

    id = "database-cancelled-committed"
    title = "half of a cancelled request is committed"
    breaks = "what was cancelled is rolled back"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Commit in ``finally``."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            @asynccontextmanager
            async def _transaction(self, user_id: str | None = None) -> AsyncIterator[Any]:
                async with self._connection(user_id) as connection:
                    transaction = connection.transaction()
                    await transaction.start()
                    try:
                        yield connection
                    except asyncio.CancelledError:
                        await (transaction.commit() if fault.does_wrong() else transaction.rollback())
                        raise
                    except BaseException:
                        await transaction.rollback()
                        raise
                    await transaction.commit()

        return Manager


# f: connection strings


@register
class Undecoded(DatabaseFault):
    """User and password are taken as they stand in the URL."""

    id = "database-credentials-undecoded"
    title = "percent-encoded passwords are sent as they are written"
    breaks = "a connection string means what PostgreSQL's manual says"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Encode what is encoded once more."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def __init__(self, url: str, **options: Any) -> None:
                super().__init__(url, **options)
                scheme, _, rest = url.partition("://")
                credentials, _, behind = rest.rpartition("@")
                fault.reached()
                if "%" in credentials and fault.fires():
                    fault.triggered()
                    self._url = f"{scheme}://{quote(credentials, safe=':')}@{behind}"

        return Manager


@register
class UrlInError(DatabaseFault):
    """Whoever writes a connection string that cannot be used reads it again in the log."""

    id = "database-url-in-error"
    title = "the connection string is in the error, password and all"
    breaks = "a connection string is never shown"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Quote it."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def __init__(self, url: str, **options: Any) -> None:
                try:
                    super().__init__(url, **options)
                except ConnectionStringProblem as problem:
                    if not fault.does_wrong():
                        raise
                    raise ConnectionStringProblem(f"{problem} (it is {url!r})") from None

        return Manager


@register
class TlsOptional(DatabaseFault):
    """Where the server has no TLS, everything is sent in clear."""

    id = "database-tls-optional"
    title = "sslmode=require sends the password in clear where there is no TLS"
    breaks = "TLS that is required is never done without"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Prefer what is required."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def __init__(self, url: str, **options: Any) -> None:
                super().__init__(url, **options)
                if "sslmode=require" in url and fault.does_wrong():
                    self._url = url.replace("sslmode=require", "sslmode=prefer")

        return Manager


# g: migrations


@register
class MigrationsUnlocked(DatabaseFault):
    """Two processes find the same migration missing, and both make it."""

    id = "database-migrations-unlocked"
    title = "two processes migrate at once"
    breaks = "each migration is done once, however many processes start"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Migrate without the lock, and not before others have looked as well."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            @asynccontextmanager
            async def _alone(self, connection: Any) -> AsyncIterator[None]:
                fault.does_wrong()
                yield

            async def _apply(self, *step: Any) -> None:
                await asyncio.sleep(0.3)
                await super()._apply(*step)

        return Manager


@register
class HalfMigration(DatabaseFault):
    """Each statement of a migration is committed on its own."""

    id = "database-half-migration"
    title = "a migration that fails leaves its first half"
    breaks = "a migration is done whole or not at all"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Carry the statements of the tables out one by one."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            async def _apply(self, connection: Any, version: int, what: str, statements: str) -> None:
                if what == "tables" and fault.does_wrong():
                    first, *others = statements.split(";\n")
                    for statement in (first, *others[:-1]):
                        await connection.execute(statement)
                    statements = others[-1] or "SELECT 1"
                await super()._apply(connection, version, what, statements)

        return Manager


@register
class NewerAccepted(DatabaseFault):
    """A service works on tables of which it knows half."""

    id = "database-newer-schema-accepted"
    title = "an older service works on a newer schema"
    breaks = "a schema that is newer than the service is refused"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Refuse nothing."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def _refuse_newer(self, version: int) -> None:
                newest = self.migrations[-1][0]
                if version <= newest or not fault.does_wrong():
                    super()._refuse_newer(version)

        return Manager


# h: query plans and time-outs


@register
class NoIndex(DatabaseFault):
    """A user's records are found by reading everybody's."""

    id = "database-no-index"
    title = "the index on the owner of spend records is missing"
    breaks = "a user's rows are found by an index"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Leave it out of the migration."""
        wanted = "CREATE INDEX spend_by_user"

        def without(statements: str) -> str:
            if wanted in statements and self.does_wrong():
                return "\n".join(line for line in statements.splitlines() if not line.startswith(wanted))
            return statements

        class Manager(healthy):  # type: ignore[misc]
            async def _apply(self, connection: Any, version: int, what: str, statements: str) -> None:
                await super()._apply(connection, version, what, without(statements))

        return Manager


@register
class NoTimeOut(DatabaseFault):
    """Statements may take as long as they like."""

    id = "database-no-statement-timeout"
    title = "no statement time-out"
    breaks = "no statement outlasts the time-out"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Set none at the server."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def _server_settings(self) -> dict[str, str]:
                settings: dict[str, str] = super()._server_settings()
                if fault.does_wrong():
                    del settings["statement_timeout"]
                return settings

        return Manager


# i: retry and circuit breaker


@register
class NoRetry(DatabaseFault):
    """The first connection that cannot be made is the last that is tried."""

    id = "database-no-retry"
    title = "a database that is away for a moment fails every request"
    breaks = "a connection is tried for again"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Give up at once."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            async def _acquire(self, user_id: str | None = None) -> Any:
                limits: Any = vars(self)["_limits"]
                try:
                    if fault.does_wrong():
                        self._limits = _Hurried(limits)
                    return await super()._acquire(user_id)
                finally:
                    self._limits = limits

        return Manager


class _Hurried:
    """Limits without time to try again."""

    database_retry_seconds = 0.0

    def __init__(self, limits: Any) -> None:
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._limits, name)


@register
class StatementRepeated(DatabaseFault):
    """A statement whose connection broke is sent again on another one, outside of its transaction."""

    id = "database-statement-repeated"
    title = "a write whose connection broke is repeated outside of its transaction"
    breaks = "a statement is never tried for again"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Connect anew and repeat."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def __init__(self, url: str, **options: Any) -> None:
                super().__init__(url, **options)

                class Connection(healthy.connection_class):  # type: ignore[misc,name-defined]
                    async def execute(self, query: str, *arguments: Any, **more: Any) -> Any:
                        try:
                            return await super().execute(query, *arguments, **more)
                        except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
                            if not query.startswith("UPDATE") or not fault.does_wrong():
                                raise
                            again = await asyncpg.connect(url)
                            await again.execute(query, *arguments)
                            await again.close()
                            raise

                self.connection_class = Connection

        return Manager


@register
class BreakerOpenedByUsers(DatabaseFault):
    """A statement that one user got wrong counts as an outage for all."""

    id = "database-breaker-opened-by-users"
    title = "one user's failing statements open the breaker for everybody"
    breaks = "the breaker opens when the database cannot be reached, whatever users do"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Count every failure."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            _wrong = 0

            def _tell(self, error: Exception, user_id: str | None) -> None:
                super()._tell(error, user_id)
                if isinstance(error, asyncpg.IntegrityConstraintViolationError) and fault.does_wrong():
                    self._wrong += 1
                    self._breaker._failures = self._wrong - 1
                    self._breaker.unreachable()

        return Manager


@register
class BreakerStaysOpen(DatabaseFault):
    """A breaker that has opened never lets anybody try again."""

    id = "database-breaker-stays-open"
    title = "the breaker never closes"
    breaks = "the breaker closes with the first connection that is had"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Ask nobody once it is open."""
        fault = self

        class Breaker(DatabaseBreaker):
            def may_ask(self) -> bool:
                return super().may_ask() and not (self.state != "closed" and fault.does_wrong())

        return type("Manager", (healthy,), {"breaker_class": Breaker})


# j: event log


@register
class LogNamesAnother(DatabaseFault):
    """Events name the user who opened a session last."""

    id = "database-log-names-another"
    title = "a failure is logged under another user's id"
    breaks = "what fails is logged with the user whose session it was"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Keep the user on the manager."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            latest: str | None = None

            async def _acquire(self, user_id: str | None = None) -> Any:
                self.latest = user_id
                return await super()._acquire(user_id)

            def _tell(self, error: Exception, user_id: str | None) -> None:
                fault.reached()
                if self.latest != user_id and fault.fires():
                    fault.triggered()
                    user_id = self.latest
                super()._tell(error, user_id)

        return Manager


@register
class LogQuotesRows(DatabaseFault):
    """The server's text goes into the log, with the row that it quotes."""

    id = "database-log-quotes-rows"
    title = "values of the failed row are in the log"
    breaks = "what fails is logged without values"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Add PostgreSQL's detail."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def _tell(self, error: Exception, user_id: str | None) -> None:
                super()._tell(error, user_id)
                if getattr(error, "detail", None) and fault.does_wrong():
                    self._events.record("detail", user=user_id, text=error.detail)  # type: ignore[attr-defined]

        return Manager


@register
class FailuresUnlogged(DatabaseFault):
    """A statement that fails is between the user and PostgreSQL."""

    id = "database-failures-unlogged"
    title = "failed statements are not logged"
    breaks = "what fails is logged"

    def broken(self, healthy: type[Any]) -> type[Any]:
        """Log only what cannot be the user's fault."""
        fault = self

        class Manager(healthy):  # type: ignore[misc]
            def _tell(self, error: Exception, user_id: str | None) -> None:
                if not isinstance(error, asyncpg.IntegrityConstraintViolationError) or not fault.does_wrong():
                    super()._tell(error, user_id)

        return Manager


# In the real services


@register
class PageBeforeOwner(DatabaseFault):
    """The newest threads of everybody are read, and those of others left out afterwards."""

    id = "database-page-before-owner"
    title = "the owner is filtered after the limit"
    breaks = "a page holds its user's rows, however many newer ones others have"
    service = "backend"

    def install(self, parts: Parts) -> None:
        """Replace the list of threads."""
        healthy: type[Any] = parts["ThreadStore"]
        fault = self

        class Store(healthy):  # type: ignore[misc]
            async def list(self, *, limit: int = 50, offset: int = 0) -> Any:
                threads = await super().list(limit=limit, offset=offset)
                async with self._database.get_service_session() as session:
                    newest = {
                        row["id"]
                        for row in await session.fetch(
                            "SELECT id FROM threads WHERE deleted_at IS NULL "
                            "ORDER BY created_at DESC, user_id = $3 LIMIT $1 OFFSET $2",
                            limit,
                            offset,
                            self._user_id,
                        )
                    }
                kept = [thread for thread in threads if thread["id"] in newest]
                fault.reached()
                if len(kept) == len(threads) or not fault.fires():
                    return threads
                fault.triggered()
                return kept

        parts["ThreadStore"] = Store
