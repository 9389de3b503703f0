"""PostgreSQL, read only: which rows belong to whom, as the tables themselves say (netra-wire §8)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from netra_probe.clients.replies import Timeouts
from netra_probe.errors import TargetError
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder

SURFACE = "database"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that says who owns its rows.

    ``owner`` is an SQL expression over the alias ``t`` that yields the owner's user id as text, ``key`` one for its
    key.
    """

    name: str
    owner: str
    key: str


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
    async def open(history: Recorder, url: Secret, timeouts: Timeouts) -> DatabaseClient:
        """Connect and discover the owned tables.

        Raises TargetError when the database cannot be reached; the message holds no credentials.
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
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise TargetError(
                f"target.database_url: cannot connect ({type(error).__name__}); check address and credentials, "
                "or leave the key out: the cases that need the database are then not applicable."
            ) from None
        return DatabaseClient(history, connection, await _owned_tables(connection))

    async def rows(self, users: Mapping[str, str]) -> int:
        """Record every row that one of the users owns; returns how many.

        Arguments:
            users: user id → alias.
        """
        count = 0
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


async def _owned_tables(connection: asyncpg.Connection) -> tuple[Table, ...]:
    columns: dict[str, set[str]] = {}
    for schema, table, column in await connection.fetch(
        "SELECT c.table_schema, c.table_name, c.column_name FROM information_schema.columns c "
        "JOIN information_schema.tables t USING (table_schema, table_name) "
        "WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema') "
        "ORDER BY 1, 2, c.ordinal_position"
    ):
        columns.setdefault(f'"{schema}"."{table}"', set()).add(column)
    thread_owner = next(
        (f"(SELECT o.metadata_->>'user_id' FROM {name} o WHERE o.id = t.thread_id)"
         for name, has in columns.items() if name.endswith('."threads"') and "metadata_" in has),
        None,
    )  # fmt: skip
    tables = []
    for name, has in columns.items():
        key = next((f"t.{column}::text" for column in ("id", "run_id", "user_id") if column in has), "NULL::text")
        if "user_id" in has:
            owner = "t.user_id::text"
        elif name.endswith(('."users"', '."auth_users"')) and "id" in has:
            owner = "t.id::text"
        elif name.endswith('."threads"') and "metadata_" in has:
            owner = "t.metadata_->>'user_id'"
        elif "thread_id" in has and thread_owner:
            owner = thread_owner
        else:
            continue
        tables.append(Table(name=name, owner=owner, key=key))
    return tuple(tables)
