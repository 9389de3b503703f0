"""PostgreSQL, read only: which rows belong to whom, as the tables themselves say (netra-wire §8)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from netra_probe.clients.ownership import Ownership, Table, owned_tables
from netra_probe.clients.replies import Timeouts
from netra_probe.errors import TargetError
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.tls import why

SURFACE = "database"
#: How the names of schemas begin that the probe makes for itself (``investigation.scratch_database``).
SCRATCH = "netra_probe_"


class DatabaseClient:
    """A read-only view of a target's tables; open it with ``DatabaseClient.open``.

    The session is read only and every statement has a time-out, so that looking can neither change nor hang the target.
    """

    def __init__(self, history: Recorder, connection: asyncpg.Connection, tables: tuple[Table, ...]) -> None:
        self.history = history
        self.tables = tables
        self._connection = connection
        # One connection runs one statement at a time; cases may look concurrently.
        self._turn = asyncio.Lock()

    @staticmethod
    async def open(
        history: Recorder,
        url: Secret,
        timeouts: Timeouts,
        *,
        schema: str | None = None,
        ownership: Mapping[str, Ownership] | None = None,
    ) -> DatabaseClient:
        """Connect and discover the owned tables.

        Arguments:
            schema: the only one to look at; all of them when left out.
            ownership: table → who owns its rows, where that is not as in netra-wire §8.

        Raises TargetError when the database cannot be reached, and ParameterError when it has no such schema, table or
        column; no message holds credentials.
        """
        try:
            connection = await asyncpg.connect(
                url.reveal(),
                timeout=timeouts.connect,
                command_timeout=timeouts.reply,
                server_settings={
                    "default_transaction_read_only": "on",
                    "application_name": "netra-probe",
                    "statement_timeout": str(int(timeouts.reply * 1000)),
                },
            )
        except Exception as error:
            # Whatever it is: the driver's text may quote a part of the URL, and so of the password.
            reason = await why(error, remedy="sslrootcert in the URL")
            raise TargetError(
                f"target.database_url: cannot connect ({reason}); check address "
                "and credentials, or leave the key out: the cases that need the database are then not applicable."
            ) from None
        try:
            tables = owned_tables(await _columns(connection), schema=schema, ownership=ownership or {})
        except BaseException:
            await connection.close(timeout=2.0)
            raise
        return DatabaseClient(history, connection, tables)

    async def rows(self, users: Mapping[str, str]) -> int:
        """Record every row that one of the users owns; returns how many.

        Arguments:
            users: user id → alias.
        """
        count = 0
        if not users:
            return 0
        for table in self.tables:
            shown = f"{table.key}, {table.owner}, to_jsonb(t)::text"
            statement = f"SELECT {shown} FROM {table.name} t WHERE {table.owner} = ANY($1)"
            for key, owner, row in await self._fetch(statement, list(users)):
                count += 1
                self.history.observe(
                    actions.ROW,
                    surface=SURFACE,
                    connection="probe/database",
                    ids={"user_id": owner},
                    payload=row,
                    detail={"table": table.name, "key": key, "owner": users.get(owner)},
                )
        return count

    async def count(self, users: Mapping[str, str]) -> dict[str, int]:
        """How many rows each table still holds of these users; tables without any are left out."""
        found = {}
        for table in self.tables:
            ((number,),) = await self._fetch(
                f"SELECT count(*) FROM {table.name} t WHERE {table.owner} = ANY($1)", list(users)
            )
            if number:
                found[table.name] = int(number)
        return found

    async def naming(self, users: Mapping[str, str], ids: Sequence[str]) -> dict[str, int]:
        """How many rows of these users in each table name one of the ids; tables without any are left out."""
        found = {}
        for table in self.tables:
            ((number,),) = await self._fetch(
                f"SELECT count(*) FROM {table.name} t WHERE {table.owner} = ANY($1) AND to_jsonb(t)::text LIKE ANY($2)",
                list(users),
                [f"%{id.replace('%', '').replace('_', chr(92) + '_')}%" for id in ids],
            )
            if number:
                found[table.name] = int(number)
        return found

    async def backends(self) -> int:
        """How many server processes this database has, without this connection."""
        ((number,),) = await self._fetch(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend' AND application_name <> 'netra-probe'"
        )
        return int(number)

    async def close(self) -> None:
        await self._connection.close(timeout=2.0)

    async def _fetch(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async with self._turn:
            try:
                return [tuple(row) for row in await self._connection.fetch(statement, *arguments)]
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise TargetError(f"the database stopped answering ({type(error).__name__}); see its log.") from None


async def _columns(connection: asyncpg.Connection) -> dict[tuple[str, str], set[str]]:
    """What there is to look at: (schema, table) → its columns; schemas of the probe's own come and go, and are none."""
    columns: dict[tuple[str, str], set[str]] = {}
    for schema, table, column in await connection.fetch(
        "SELECT c.table_schema, c.table_name, c.column_name FROM information_schema.columns c "
        "JOIN information_schema.tables t USING (table_schema, table_name) "
        "WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema') "
        "AND NOT starts_with(c.table_schema::text, $1) ORDER BY 1, 2, c.ordinal_position",
        SCRATCH,
    ):
        columns.setdefault((schema, table), set()).add(column)
    return columns
