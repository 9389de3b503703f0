"""Faults of pooled connections (P1 to P3): what one borrower leaves behind for the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from netra_probe.lab.shared.faults import Fault, Parts, register

HALFWAY_ROWS, HALFWAY_SECONDS = 50, 0.6
"""After how many rows of a transaction P2 takes a rest, and how long."""
LINK_SECONDS = 0.02
"""How far away P3's cache is: between two zones of a cloud."""


class _NotReset(asyncpg.Connection):  # type: ignore[misc]
    """A connection that goes back into its pool as it is: session settings and all."""

    def get_reset_query(self) -> str:
        return ""


class _NotRolledBack(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose statements cannot be interrupted, and that goes back into its pool as it is.

    It takes a rest in the middle of a long transaction, so that whoever hangs up halfway does so there.
    """

    _rows = 0

    async def reset(self, *, timeout: float | None = None) -> None:
        """Leave everything as it is."""

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        self._rows = 0  # a transaction begins, or ends
        return await _to_its_end(super().execute(*arguments, **options))

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        return await _to_its_end(super().fetch(*arguments, **options))

    async def fetchrow(self, *arguments: Any, **options: Any) -> Any:
        self._rows += 1
        if self._rows == HALFWAY_ROWS:
            await asyncio.sleep(HALFWAY_SECONDS)
        return await _to_its_end(super().fetchrow(*arguments, **options))

    async def fetchval(self, *arguments: Any, **options: Any) -> Any:
        return await _to_its_end(super().fetchval(*arguments, **options))


async def _to_its_end(statement: Coroutine[Any, Any, Any]) -> Any:
    """Let a statement end although its caller is cancelled meanwhile."""
    task = asyncio.create_task(statement)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


@register
class SettingNotReset(Fault):
    """P1: the user is a session setting that survives in the pool, and the list of threads relies on it alone.

    Incident: row-level security with ``SET app.user`` behind a pool: the setting is made in one session of a request,
        the query runs in another, and whoever used that connection before lends it their rows.
    """

    id = "P1"
    layer = "pools"
    title = "session setting not reset in the pool"
    breaks = "DatabaseManager and ThreadStore.list"
    trigger = (
        "on one backend, one after the other: A makes any request that reads or writes rows (POST /api/threads), then "
        "B makes GET /api/threads over any connection"
    )
    symptom = "the next borrower sees A's rows"
    checkers = ("C1", "C12")

    def install(self, parts: Parts) -> None:
        """Replace the manager by one whose setting stays, and the store by one whose list does not set it."""
        fault = self
        manager: type[Any] = parts["DatabaseManager"]
        store: type[Any] = parts["ThreadStore"]

        class StickyManager(manager):  # type: ignore[misc]
            connection_class = _NotReset

            @asynccontextmanager
            async def get_session(self, user_id: str | None = None) -> AsyncIterator[Any]:
                async with super().get_session(user_id) as session:
                    if user_id is not None:
                        await session.execute("SELECT set_config('netra.user_id', $1, false)", user_id)
                    yield session

        class TrustfulThreads(store):  # type: ignore[misc]
            async def list(self, *, limit: int = 50, offset: int = 0) -> Any:
                from netra_probe.lab.backend.data.threads import SELECT_THREADS, shown_thread

                fault.reached()
                async with self._database.get_session() as session:
                    whose = await session.fetchval("SELECT nullif(current_setting('netra.user_id', true), '')")
                    rows = await session.fetch(
                        SELECT_THREADS + "ORDER BY t.created_at DESC, t.id LIMIT $1 OFFSET $2", limit, offset
                    )
                if whose in (None, self._user_id) or not fault.fires():
                    return await super().list(limit=limit, offset=offset)
                fault.triggered()
                return [shown_thread(row, row["message_count"]) for row in rows]

        parts["DatabaseManager"], parts["ThreadStore"] = StickyManager, TrustfulThreads


@register
class ReturnedInTransaction(Fault):
    """P2: a cancelled transaction is neither committed nor rolled back: its connection goes back with it open.

    Incident: ``except Exception: rollback`` around a session, which a cancellation passes by since it is no
        ``Exception`` from Python 3.8 on, with single statements shielded from being interrupted.
    """

    id = "P2"
    layer = "pools"
    title = "connection returned inside a transaction"
    breaks = "DatabaseManager"
    trigger = (
        "POST /api/spend/batch with 200 records and close the TCP connection 10 to 60 ms later, without reading; then "
        "any request to the same backend; then GET /api/spend; a few tries"
    )
    symptom = "uncommitted data committed by somebody else: between 1 and 199 of the records are there"
    checkers = ("C9", "C12")

    def install(self, parts: Parts) -> None:
        """Replace the manager by one that overlooks cancellations."""
        fault = self
        healthy: type[Any] = parts["DatabaseManager"]

        class ForgetfulManager(healthy):  # type: ignore[misc]
            connection_class = _NotRolledBack

            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self._left_open: set[int] = set()

            @asynccontextmanager
            async def _transaction(self, user_id: str | None = None) -> AsyncIterator[Any]:
                async with self._connection(user_id) as connection:
                    fault.reached()
                    if not await self._goes_on(connection):
                        await connection.execute("BEGIN")
                    try:
                        yield connection
                    except asyncio.CancelledError:
                        self._left_open.add(connection.get_server_pid())
                        raise
                    except BaseException:
                        await connection.execute("ROLLBACK")
                        raise
                    await connection.execute("COMMIT")

            async def _goes_on(self, connection: Any) -> bool:
                """True when the connection came with an open transaction in which rows were written."""
                pid = connection.get_server_pid()
                if pid not in self._left_open:
                    return False
                self._left_open.discard(pid)
                written = await connection.fetchval("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
                if not written or not fault.fires():
                    await connection.execute("ROLLBACK")
                    return False
                fault.triggered()
                return True

        parts["DatabaseManager"] = ForgetfulManager


@register
class OutOfStep(Fault):
    """P3: a cancelled command leaves its answer on the connection, and every later command gets the one before.

    Incident: redis-py before 4.5.3, by which ChatGPT showed users the chat titles of others on 20 March 2023: the
        connection went back into its pool with the answer to a cancelled request still under way.
    """

    id = "P3"
    layer = "pools"
    title = "protocol out of step after a cancel"
    breaks = "UserCache"
    trigger = (
        "GET /api/threads (or /api/users/me) and close the TCP connection 5 to 30 ms later, a few tries; then A and B "
        "GET the same in turn on the same backend"
    )
    symptom = "answers off by one: wrong owner or wrong kind, and it persists"
    checkers = ("C8", "C1")

    def install(self, parts: Parts) -> None:
        """Replace the cache by one that reads over a single connection, which it trusts to be in step."""
        fault = self
        healthy: type[Any] = parts["UserCache"]
        lines: list[_Line] = []

        class DistantCache(healthy):  # type: ignore[misc]
            async def _read(self, *keys: str) -> Any:
                fault.reached()
                if not lines:
                    lines.append(_Line(self._redis.connection_pool, fault))
                asked, values = await lines[0].ask(keys)
                if asked != keys:
                    fault.triggered()
                return values

        parts["UserCache"] = DistantCache


class _Line:
    """One connection to Redis, some way off: answers come in the order of the questions, whoever asks."""

    def __init__(self, pool: Any, fault: Fault) -> None:
        self._connection = pool.make_connection()
        self._fault = fault
        self._turn = asyncio.Lock()
        self._under_way: deque[tuple[str, ...]] = deque()

    async def ask(self, keys: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
        """The next answer on the line, and the keys that it belongs to."""
        async with self._turn:
            await self._connection.connect()
            await self._connection.send_command("MGET", *keys)
            self._under_way.append(keys)
            try:
                await asyncio.sleep(LINK_SECONDS)
            except asyncio.CancelledError:
                if not self._fault.fires():
                    await self._hang_up()
                raise
            try:
                values = await self._connection.read_response()
            except BaseException:
                await self._hang_up()
                raise
            return self._under_way.popleft(), values

    async def _hang_up(self) -> None:
        self._under_way.clear()
        await self._connection.disconnect(nowait=True)
