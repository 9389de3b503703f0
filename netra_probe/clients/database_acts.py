"""What functions share that are carried out on a DatabaseManager in a process of its own (``probe.apart``).

    async def act(DatabaseManager):
        async with opened(DatabaseManager, pool_maximum=4) as database, observer() as outside:
            async with database.get_session("alice") as session:
                ...

The database is the one of ``DATABASE_URL``: a schema of the probe's own. ``observer`` looks at it from outside, without
the class under investigation. No value that is returned or printed here holds the URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from netra_probe.clients.component_signature import accepts, signature_of

URL = "DATABASE_URL"
#: The name that the manager under investigation gives its connections.
NAME = "netra-probe-manager"
#: What a manager is told of its limits where an act says nothing else.
LIMITS = {
    "pool_minimum": 1,
    "pool_maximum": 4,
    "user_connections": 4,
    "acquire_seconds": 5.0,
    "database_retry_seconds": 0.5,
    "statement_milliseconds": 3000,
}
#: Seconds after which something that should happen has not.
PATIENCE = 5.0

NOTES = """
CREATE TABLE IF NOT EXISTS notes (user_id text NOT NULL, body text NOT NULL UNIQUE);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner_only ON notes;
CREATE POLICY owner_only ON notes USING (user_id = current_setting('netra.user_id', true));
TRUNCATE notes;
"""
"""A table whose rows only their user may see, as row-level security has it."""


BUDGETS = """
DROP TABLE IF EXISTS budgets;
CREATE TABLE budgets (user_id text, agent text, amount int);
INSERT INTO budgets SELECT u, a, CASE a WHEN 'triage' THEN 100 ELSE 0 END
FROM unnest(array['alice', 'bob', 'carol', 'dave', 'erin']) u, unnest(array['triage', 'cost']) a;
"""
"""Five users with 100 in the hands of their triage agent, and nothing in those of the specialist for costs."""
ADD = "UPDATE budgets SET amount = amount + $3 WHERE user_id = $1 AND agent = $2"


@asynccontextmanager
async def opened(DatabaseManager: Any, *, url: str | None = None, **limits: Any) -> AsyncIterator[Any]:
    """A connected manager with these limits, closed at the end; it is given what its constructor takes."""
    told = {"name": NAME, "limits": SimpleNamespace(**{**LIMITS, **limits})}
    signature = signature_of(DatabaseManager)
    database = DatabaseManager(
        url or os.environ[URL], **{name: value for name, value in told.items() if accepts(signature, name)}
    )
    if hasattr(database, "connect"):
        await database.connect()
    try:
        yield database
    finally:
        if hasattr(database, "close"):
            await database.close()


@asynccontextmanager
async def observer() -> AsyncIterator[Any]:
    """A connection of our own to the same schema."""
    import asyncpg

    connection = await asyncpg.connect(os.environ[URL], server_settings={"application_name": "netra-probe-observer"})
    try:
        yield connection
    finally:
        await connection.close()


async def connections(outside: Any, *, state: str = "%") -> int:
    """How many connections of the manager's PostgreSQL has, in this state."""
    return int(
        await outside.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state LIKE $2 "
            "AND datname = current_database()",
            NAME,
            state,
        )
    )


async def what_came(act: Awaitable[Any], *, text: bool = False) -> str:
    """``ok``, or the kind of exception that it ended with (and its text, where asked for), or that it did not end."""
    try:
        async with asyncio.timeout(2 * PATIENCE):
            await act
    except TimeoutError:
        return "no end"
    except (Exception, asyncio.CancelledError) as error:
        kind = type(error).__name__
        return f"{kind}: {error} {getattr(error, 'code', '')}".rstrip() if text else kind
    return "ok"


async def use(database: Any, user: str) -> None:
    """A session of a user in which something is asked."""
    async with database.get_session(user) as session:
        await session.fetchval("SELECT 1")


async def until(outside: Any, condition: str) -> None:
    """Wait until PostgreSQL says that something is so."""
    async with asyncio.timeout(PATIENCE):
        while not await outside.fetchval(condition):
            await asyncio.sleep(0.01)


async def empty(outside: Any) -> None:
    """Drop all tables of the schema."""
    for (name,) in await outside.fetch(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()"
    ):
        await outside.execute(f"DROP TABLE {name} CASCADE")


class Log(logging.Handler):
    """What this process has logged so far, and a way to wait for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._news = asyncio.Event()
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())
        self._news.set()

    def count(self, pattern: str) -> int:
        """How many lines match."""
        return sum(re.search(pattern, line) is not None for line in self.lines)

    async def says(self, pattern: str) -> None:
        """Wait until a line matches."""
        async with asyncio.timeout(PATIENCE):
            while not self.count(pattern):
                self._news.clear()
                await self._news.wait()


class Barrier:
    """Holds a number of tasks until all of them have come."""

    def __init__(self, number: int) -> None:
        self._missing = number
        self._all_here = asyncio.Event()

    async def wait(self) -> None:
        """Come, and wait for the others."""
        self._missing -= 1
        if self._missing <= 0:
            self._all_here.set()
        async with asyncio.timeout(PATIENCE):
            await self._all_here.wait()


async def meet(outside: Any, number: int) -> None:
    """Wait until so many processes have come here, each with a connection of its own."""
    here = asyncio.Event()
    await outside.add_listener("netra_probe_meeting", lambda *_: here.set())
    async with outside.transaction():
        await outside.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema()))")
        await outside.execute("CREATE TABLE IF NOT EXISTS meeting (came int)")
        await outside.execute("INSERT INTO meeting VALUES (1)")
        if await outside.fetchval("SELECT count(*) FROM meeting") >= number:
            await outside.execute("NOTIFY netra_probe_meeting")
    async with asyncio.timeout(4 * PATIENCE):
        await here.wait()


class Relay:
    """A port of this machine in front of the database, that can be shut, opened again, and held."""

    def __init__(self) -> None:
        self._url = urlsplit(os.environ[URL])
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def url(self) -> str:
        """The database through this port."""
        credentials = self._url.netloc.rpartition("@")[0]
        return urlunsplit(self._url._replace(netloc=f"{credentials}@127.0.0.1:{self._port}"))

    async def open(self) -> None:
        """Listen, at the same port each time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse connections, and reset those that there are."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset the connections that there are."""
        for writer in self._writers:
            writer.transport.abort()

    def hold(self, *, held: bool) -> None:
        """Let nothing through, or everything again."""
        (self._flowing.clear if held else self._flowing.set)()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            from_database, to_database = await asyncio.open_connection(self._url.hostname, self._url.port or 5432)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(to_database)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, to_database), self._pass(from_database, writer))
        for end in (writer, to_database):
            end.transport.abort()
            self._writers.discard(end)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            await self._flowing.wait()
            writer.write(piece)
            await writer.drain()
        writer.transport.abort()  # who has hung up is served no more


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """A relay that listens, for the time of a block."""
    one = Relay()
    await one.open()
    try:
        yield one
    finally:
        one.hold(held=False)
        await one.shut()


#: Codes of the first messages of PostgreSQL's protocol (version 3, "Message Formats").
_TLS_REQUEST, _PASSWORD_PLEASE = 80877103, struct.pack("!cii", b"R", 8, 3)


@asynccontextmanager
async def stand_in(*, on_socket: bool = False) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Somebody who listens like PostgreSQL, has no TLS, asks for the password in clear and then hangs up.

    Yields where it is (``host:port``, or the folder of its socket), and what it was told: ``user``, ``database``,
    ``secret``, and ``tls`` where that was asked for.
    """
    told: dict[str, str] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                (length,) = struct.unpack("!i", await reader.readexactly(4))
                first = await reader.readexactly(length - 4)
                if struct.unpack("!i", first[:4])[0] != _TLS_REQUEST:
                    break
                told["tls"] = "asked for"
                writer.write(b"N")
            words = first[4:].rstrip(b"\0").decode().split("\0")
            given = dict(zip(words[::2], words[1::2], strict=False))
            told.update({name: given[name] for name in ("user", "database") if name in given})
            writer.write(_PASSWORD_PLEASE)
            _, length = struct.unpack("!ci", await reader.readexactly(5))
            told["secret"] = (await reader.readexactly(length - 4)).rstrip(b"\0").decode()
        writer.close()

    with tempfile.TemporaryDirectory(prefix="netra-probe-socket-") as folder:
        if on_socket:
            server: asyncio.AbstractServer = await asyncio.start_unix_server(serve, f"{folder}/.s.PGSQL.5432")
            place = folder
        else:
            tcp = server = await asyncio.start_server(serve, "127.0.0.1", 0)
            place = f"127.0.0.1:{tcp.sockets[0].getsockname()[1]}"
        try:
            yield place, told
        finally:
            server.close()


async def connecting(DatabaseManager: Any, url: str, *, seconds: float = PATIENCE) -> str:
    """What somebody is told whose manager is to be opened with this URL: the exception's text, or ``connected``."""
    try:
        async with asyncio.timeout(seconds), opened(DatabaseManager, url=url):
            return "connected"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
