"""A real PostgreSQL as a child of the supervisor: on a TCP port of 127.0.0.1, made for speed, thrown away at last."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path

from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.forking import Command
from netra_probe.lab.infrastructure.ports import HOST
from netra_probe.lab.infrastructure.postgres_programs import environment
from netra_probe.lab.infrastructure.postgres_template import DATABASE, SCHEMAS, SUPERUSER, Cluster
from netra_probe.lab.infrastructure.processes import Child

READY_SECONDS = 60.0

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # the data is thrown away with the lab: commits survive a crash of the server, not one of the machine
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    # files in the data directory instead of /dev/shm, so that removing the directory removes them
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "200",
    "jit": "off",
    # a failed statement could be one that carries a password
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


def command(cluster: Cluster, port: int, log: Path) -> Command:
    """The server process on `port`. It ends at once on SIGQUIT, freeing what it shares."""
    settings = [piece for name, value in _SETTINGS.items() for piece in ("-c", f"{name}={value}")]
    return Command(
        name="postgres",
        arguments=[str(cluster.bin / "postgres"), "-D", str(cluster.data), "-p", str(port), *settings],
        environment=environment(),
        directory=cluster.data,
        log=log,
        user=cluster.who.user,
        group=cluster.who.group,
        stop_signal=signal.SIGINT,
        last_signal=signal.SIGQUIT,
        orphan_signal=signal.SIGQUIT,
    )


async def set_up(cluster: Cluster, child: Child, port: int, passwords: Mapping[str, str]) -> None:
    """Wait until the server accepts connections, then give every role, the superuser too, its password of this lab."""
    import asyncpg  # here: most of the lab's start is spent importing

    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                connection = await asyncpg.connect(
                    host=HOST, port=port, user=SUPERUSER, password=cluster.password, database=DATABASE, ssl=False
                )
                break
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.wait([child.ended], timeout=0.02)
                if child.ended.done():
                    raise LabError(f"PostgreSQL ended during its start:\n{child.last_words()}") from None
    try:
        await connection.execute(
            ";".join(f"ALTER ROLE {role} PASSWORD '{password}'" for role, password in passwords.items())
        )
    finally:
        await connection.close()


async def empty(port: int, admin_password: str) -> None:
    """Drop everything that the services have made. Whoever is still connected would be in the way, and is cut off."""
    import asyncpg

    connection = await asyncpg.connect(
        host=HOST, port=port, user=SUPERUSER, password=admin_password, database=DATABASE, ssl=False
    )
    try:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        await connection.execute("; ".join(SCHEMAS))
    finally:
        await connection.close()


async def answers(port: int, admin_password: str) -> bool:
    """True when the server takes connections (after a restart, past its recovery)."""
    import asyncpg

    try:
        connection = await asyncpg.connect(
            host=HOST, port=port, user=SUPERUSER, password=admin_password, database=DATABASE, ssl=False
        )
    except (OSError, asyncpg.CannotConnectNowError):
        return False
    await connection.close()
    return True
