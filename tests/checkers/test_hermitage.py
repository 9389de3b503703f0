"""The Hermitage table: what C9 finds in histories of the real PostgreSQL is what each isolation level lets through.

The scenarios are M. Kleppmann's (https://github.com/ept/hermitage), with values made unique where two of his are equal.
Each is acted out statement by statement on as many connections as it has transactions, recorded, and judged.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg
import pytest

from netra_probe.checkers import transactions
from netra_probe.history.operation import Operation
from netra_probe.lab.infrastructure.directories import LabDirectory
from netra_probe.lab.infrastructure.postgres import DATABASE, SUPERUSER, command, prepare
from netra_probe.lab.infrastructure.processes import HOST, Child, hold, port_of

from .story import Story

START_SECONDS = 30.0
STATEMENT_SECONDS = 10.0
STOP_SECONDS = 5.0
LEVELS = ("read committed", "repeatable read", "serializable")
#: What PostgreSQL says when it prevents an anomaly.
PREVENTED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect: TypeAlias = Callable[[], Awaitable[Connection]]


@pytest.fixture(scope="session")
async def connect() -> AsyncIterator[Connect]:
    """A PostgreSQL of our own, and how to connect to it as somebody who may write."""
    directory = LabDirectory()
    cluster = await asyncio.to_thread(prepare, directory.path / "postgres", directory.path / "cache")
    with hold("postgres") as held:
        port = port_of(held)
    child = Child.start(command(cluster, port, directory.log("postgres")))
    opened: list[Connection] = []

    async def connected() -> Connection:
        connection = await asyncpg.connect(
            host=HOST, port=port, user=SUPERUSER, password=cluster.password, database=DATABASE, ssl=False
        )
        opened.append(connection)
        return connection

    async def ready() -> None:
        while True:
            try:
                await connected()
                return
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.wait([child.ended], timeout=0.02)
                assert not child.ended.done(), child.last_words()

    try:
        await asyncio.wait_for(ready(), START_SECONDS)
        yield connected
    finally:
        for connection in opened:
            connection.terminate()
        await child.stop(STOP_SECONDS)
        shutil.rmtree(directory.path, ignore_errors=True)


@dataclass
class Client:
    """One transaction on one connection, and the history that it writes."""

    story: Story
    user: str
    connection: Connection
    observer: Connection
    call: Operation | None = None
    steps: list[list[Any]] = field(default_factory=list)
    prevented: bool = False
    waiting: asyncio.Task[None] | None = None

    async def begin(self, level: str) -> None:
        await self.connection.execute(f"BEGIN ISOLATION LEVEL {level.upper()}")
        self.call = self.story.begin_txn(self.user)

    async def read(self, *ids: int) -> None:
        """``SELECT`` these rows; a row that is not there is read as ``None``."""
        await self._do(self._read(ids))

    async def write(self, id: int, value: int) -> None:
        """``UPDATE`` one row; PostgreSQL tells which version it replaced."""
        await self._do(self._write(id, value))

    async def insert(self, id: int, value: int) -> None:
        await self._do(self._insert(id, value))

    async def commit(self) -> None:
        await self._do(self._end("COMMIT"))
        await self._settle()
        if self.prevented:
            await self.connection.execute("ROLLBACK")
        assert self.call is not None
        self.story.txn(self.user, *self.steps, type="fail" if self.prevented else "ok", began=self.call)

    async def abort(self) -> None:
        await self._settle()
        await self.connection.execute("ROLLBACK")
        assert self.call is not None
        # What it wrote stands in its invoke: nobody may ever read it.
        self.story.operations[self.call.index] = Operation(
            index=self.call.index, time=self.call.time, type="invoke", action="txn", user=self.user, surface="rest",
            detail={"txn": self.steps},
        )  # fmt: skip
        self.story.complete(self.call, "fail")

    async def _read(self, ids: tuple[int, ...]) -> None:
        rows = await self.connection.fetch("SELECT id, value FROM test WHERE id = ANY($1::int[])", list(ids))
        found = {row["id"]: row["value"] for row in rows}
        self.steps += [["r", f"row {id}", found.get(id)] for id in ids]

    async def _write(self, id: int, value: int) -> None:
        # The row is locked before it is replaced, so that the version read here is the one that is replaced.
        replaced = await self.connection.fetchval(
            "UPDATE test SET value = $2 FROM (SELECT id, value FROM test WHERE id = $1 FOR UPDATE) AS old "
            "WHERE test.id = old.id RETURNING old.value",
            id,
            value,
        )
        self.steps.append(["w", f"row {id}", value, replaced])

    async def _insert(self, id: int, value: int) -> None:
        await self.connection.execute("INSERT INTO test (id, value) VALUES ($1, $2)", id, value)
        self.steps.append(["w", f"row {id}", value, None])

    async def _end(self, word: str) -> None:
        await self.connection.execute(word)

    async def _do(self, statement: Coroutine[Any, Any, None]) -> None:
        """Run a statement until it is done or until it waits for a lock of somebody else's."""
        await self._settle()
        if self.prevented:
            statement.close()
            return
        self.waiting = asyncio.create_task(statement)
        pid = self.connection.get_server_pid()
        while not self.waiting.done():
            if await self.observer.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
                return
        await self._settle()

    async def _settle(self) -> None:
        """Wait for the statement that was blocked; by now its lock has been released."""
        if self.waiting is None:
            return
        waiting, self.waiting = self.waiting, None
        try:
            await asyncio.wait_for(waiting, STATEMENT_SECONDS)
        except PREVENTED:
            self.prevented = True


Script: TypeAlias = Callable[[Client, Client, Client], Coroutine[Any, Any, None]]


async def write_cycles(t1: Client, t2: Client, t3: Client) -> None:
    await t1.write(1, 11)
    await t2.write(1, 12)  # blocks
    await t1.write(2, 21)
    await t1.commit()
    await t2.write(2, 22)
    await t2.commit()
    await t3.read(1, 2)
    await t3.commit()


async def aborted_reads(t1: Client, t2: Client, t3: Client) -> None:
    await t1.write(1, 101)
    await t2.read(1, 2)
    await t1.abort()
    await t2.read(1, 2)
    await t2.commit()
    await t3.commit()


async def intermediate_reads(t1: Client, t2: Client, t3: Client) -> None:
    await t1.write(1, 101)
    await t2.read(1, 2)
    await t1.write(1, 11)
    await t1.commit()
    await t2.read(1, 2)
    await t2.commit()
    await t3.commit()


async def circular_information_flow(t1: Client, t2: Client, t3: Client) -> None:
    await t1.write(1, 11)
    await t2.write(2, 22)
    await t1.read(2)
    await t2.read(1)
    await t1.commit()
    await t2.commit()
    await t3.commit()


async def observed_transaction_vanishes(t1: Client, t2: Client, t3: Client) -> None:
    await t1.write(1, 11)
    await t1.write(2, 19)
    await t2.write(1, 12)  # blocks
    await t1.commit()
    await t3.read(1)
    await t2.write(2, 18)
    await t3.read(2)
    await t2.commit()
    await t3.read(2)
    await t3.read(1)
    await t3.commit()


async def predicate_many_preceders(t1: Client, t2: Client, t3: Client) -> None:
    await t1.read(1, 2, 3)
    await t2.insert(3, 30)
    await t2.commit()
    await t1.read(1, 2, 3)
    await t1.commit()
    await t3.commit()


async def lost_update(t1: Client, t2: Client, t3: Client) -> None:
    await t1.read(1)
    await t2.read(1)
    await t1.write(1, 11)
    await t2.write(1, 12)  # blocks
    await t1.commit()
    await t2.commit()
    await t3.commit()


async def read_skew(t1: Client, t2: Client, t3: Client) -> None:
    await t1.read(1)
    await t2.read(1)
    await t2.read(2)
    await t2.write(1, 12)
    await t2.write(2, 18)
    await t2.commit()
    await t1.read(2)
    await t1.commit()
    await t3.commit()


async def write_skew(t1: Client, t2: Client, t3: Client) -> None:
    await t1.read(1, 2)
    await t2.read(1, 2)
    await t1.write(1, 11)
    await t2.write(2, 21)
    await t1.commit()
    await t2.commit()
    await t3.commit()


async def anti_dependency_cycles(t1: Client, t2: Client, t3: Client) -> None:
    await t1.read(1, 2, 3, 4)
    await t2.read(1, 2, 3, 4)
    await t1.insert(3, 30)
    await t2.insert(4, 42)
    await t1.commit()
    await t2.commit()
    await t3.commit()


async def two_anti_dependencies_over_three(t1: Client, t2: Client, t3: Client) -> None:
    await t1.read(1, 2)
    await t2.write(2, 25)
    await t2.commit()
    await t3.read(1, 2)
    await t3.commit()
    await t1.write(1, 0)
    await t1.commit()


#: Scenario, the anomaly it can show, and the levels of PostgreSQL that let it through.
TABLE: tuple[tuple[Script, str, tuple[str, ...]], ...] = (
    (write_cycles, "dirty write (G0)", ()),
    (aborted_reads, "aborted read (G1a)", ()),
    (intermediate_reads, "intermediate read (G1b)", ()),
    (circular_information_flow, "circular information flow (G1c)", ()),
    (observed_transaction_vanishes, "observed transaction vanishes (OTV)", ()),
    (predicate_many_preceders, "read skew (G-single)", LEVELS[:1]),
    (lost_update, "lost update", LEVELS[:1]),
    (read_skew, "read skew (G-single)", LEVELS[:1]),
    (write_skew, "write skew (G2)", LEVELS[:2]),
    (anti_dependency_cycles, "write skew (G2)", LEVELS[:2]),
    (two_anti_dependencies_over_three, "write skew (G2)", LEVELS[:2]),
)


async def act_out(script: Script, level: str, connect: Connect) -> Story:
    """Play one scenario at one level and return what was recorded."""
    observer = await connect()
    await observer.execute("DROP TABLE IF EXISTS test; CREATE TABLE test (id int PRIMARY KEY, value int)")
    await observer.execute("INSERT INTO test VALUES (1, 10), (2, 20)")
    story = Story()
    clients = [Client(story, user, await connect(), observer) for user in ("alice", "bob", "carol")]
    for client in clients:
        # A snapshot is taken by the first statement: as in the original, all have begun before anybody acts.
        await client.begin(level)
    await script(*clients)
    for client in clients:
        await client.connection.close()
    await observer.close()
    return story


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("script", "anomaly", "let_through"), TABLE, ids=[script.__name__ for script, _, _ in TABLE])
async def test_what_is_found_is_what_the_level_lets_through(
    script: Script, anomaly: str, let_through: tuple[str, ...], level: str, connect: Connect
) -> None:
    story = await act_out(script, level, connect)
    found = {finding.kind for finding in transactions()(story.operations).findings}
    assert (anomaly in found) == (level in let_through)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("script", [script for script, _, _ in TABLE], ids=lambda script: script.__name__)
async def test_no_level_of_the_real_server_breaks_its_own_promise(script: Script, level: str, connect: Connect) -> None:
    story = await act_out(script, level, connect)
    assert transactions(level=level)(story.operations).findings == ()
