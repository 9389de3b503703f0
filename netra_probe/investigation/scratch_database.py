"""A schema of the probe's own in a target's database: made, used by components in their own processes, and removed.

A session-level lock is held for as long as the schema is in use. A schema of this name whose lock is free belongs to an
investigation that was killed, and is removed by the next one.
"""

from __future__ import annotations

import zlib
from urllib.parse import quote

import asyncpg

from netra_probe.clients.component_process import Undecided
from netra_probe.clients.database import SCRATCH
from netra_probe.clients.replies import Timeouts
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.investigation.context import InvestigationContext
from netra_probe.investigation.expectations import NO_SCRATCH
from netra_probe.target.deployment import Mode

SURFACE = "database"
#: First half of the lock; the second tells schemas apart.
_LOCK = 0x6E70


class ScratchSchema:
    """One schema; open it with ``ScratchSchema.open``, and ``remove`` it.

    Arguments:
        url: the database with the schema as its only place, whatever driver is given it.
    """

    def __init__(self, connection: asyncpg.Connection, name: str, url: Secret) -> None:
        self.name = name
        self.url = url
        self._connection = connection

    @staticmethod
    async def open(url: Secret, mark: str, timeouts: Timeouts) -> ScratchSchema | str:
        """Make the schema, and remove those that killed investigations have left; or why there is none."""
        name = SCRATCH + mark
        try:
            connection = await asyncpg.connect(
                url.reveal(),
                timeout=timeouts.connect,
                command_timeout=timeouts.reply,
                server_settings={"application_name": "netra-probe"},
            )
        except Exception as error:
            # Whatever it is: the driver's text may quote a part of the URL, and so of the password.
            return f"the target's scratch_database_url cannot be used ({type(error).__name__})"
        try:
            await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", _LOCK, _key(name))
            for (left,) in await connection.fetch(
                "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1) "
                "AND nspowner = current_user::regrole AND nspname <> $2",
                SCRATCH,
                name,
            ):
                if await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", _LOCK, _key(left)):
                    await connection.execute(f'DROP SCHEMA IF EXISTS "{left}" CASCADE')
                    await connection.execute("SELECT pg_advisory_unlock($1, $2)", _LOCK, _key(left))
            await connection.execute(f'CREATE SCHEMA "{name}"')
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError):
            await connection.close(timeout=2.0)
            return "the role of the target's scratch_database_url may not create a schema"
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            connection.terminate()
            return f"no schema can be created with the target's scratch_database_url ({type(error).__name__})"
        plain = url.reveal()
        option = quote(f"-csearch_path={name}", safe="")
        return ScratchSchema(connection, name, Secret(f"{plain}{'&' if '?' in plain else '?'}options={option}"))

    async def remove(self) -> bool:
        """End what still works in the schema and remove it; whether it is gone."""
        try:
            await self._connection.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                "WHERE c.relnamespace = $1::text::regnamespace AND l.pid <> pg_backend_pid()",
                self.name,
            )
            await self._connection.execute(f'DROP SCHEMA IF EXISTS "{self.name}" CASCADE')
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            try:
                await self._connection.close(timeout=2.0)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self._connection.terminate()
        return True


def _key(name: str) -> int:
    """A schema's half of the lock: a signed 32-bit number."""
    return zlib.crc32(name.encode()) - (1 << 31)


class ScratchDatabase:
    """A schema that is made when it is first asked for; ``url`` says why there is none."""

    def __init__(self) -> None:
        self.url: Secret | Undecided = Undecided(reason="nobody asked for the scratch database")
        self._schema: ScratchSchema | str | None = None

    async def open(self, probe: InvestigationContext) -> None:
        """Make the schema, once."""
        if self._schema is None:
            self._schema = made = await _made(probe)
            detail = {"reason": made} if isinstance(made, str) else {"schema": made.name}
            self.url = Undecided(reason=made) if isinstance(made, str) else made.url
            probe.history.observe(actions.SCHEMA, surface=SURFACE, connection="probe/database", detail=detail)

    async def close(self) -> list[str]:
        """Remove the schema; what is left, by name."""
        schema, self._schema = self._schema, "the investigation is over"
        if isinstance(schema, ScratchSchema) and not await schema.remove():
            return [f"schema {schema.name}"]
        return []


async def _made(probe: InvestigationContext) -> ScratchSchema | str:
    url = probe.target.secret("scratch_database_url")
    if url is None:
        return NO_SCRATCH
    if probe.target.mode is Mode.OBSERVE:
        return "mode observe: creating a schema needs mode probe"
    probe.history.redactor.know_parts(url.reveal(), "scratch-database-url")
    return await ScratchSchema.open(url, probe.mark, probe.timeouts)
