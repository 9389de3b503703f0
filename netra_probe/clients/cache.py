"""Redis, looked at with SCAN only: which keys name or hold whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import redis.asyncio as redis
from redis.exceptions import RedisError

from netra_probe.clients.replies import Timeouts
from netra_probe.errors import TargetError
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder

SURFACE = "cache"
#: Keys looked at in one sweep; a shared production cache can hold millions.
MOST_KEYS = 100_000
#: Logical databases that a deployment uses: backend 0, auth service 1.
DATABASES = (0, 1)


class CacheClient:
    """A look into the target's Redis that changes nothing: SCAN, TYPE and the reading commands."""

    def __init__(self, history: Recorder, databases: tuple[redis.Redis, ...]) -> None:
        self.history = history
        self._databases = databases

    @staticmethod
    async def open(history: Recorder, url: Secret, timeouts: Timeouts) -> CacheClient:
        """Connect to the databases of the backend and of the auth service.

        Raises TargetError when Redis cannot be reached; the message holds no credentials.
        """
        databases = tuple(
            redis.Redis.from_url(
                url.reveal(),
                db=number,
                decode_responses=True,
                encoding_errors="replace",
                socket_connect_timeout=timeouts.connect,
                socket_timeout=timeouts.reply,
                client_name="netra-probe",
            )
            for number in DATABASES
        )
        try:
            for database in databases:
                await cast(Any, database.ping())
        except (RedisError, OSError, ValueError) as error:
            for database in databases:
                await database.aclose()
            raise TargetError(
                f"target.redis_url: cannot connect ({type(error).__name__}); check address and credentials, "
                "or leave the key out: the cases that need the cache are then not applicable."
            ) from None
        return CacheClient(history, databases)

    async def keys(self, users: Mapping[str, str]) -> int:
        """Record every key that names one of the users, with its value; returns how many.

        Arguments:
            users: user id → alias.
        """
        count = 0
        async for database, key in self._scan(users):
            owners = sorted(alias for user_id, alias in users.items() if user_id in key)
            self.history.observe(
                actions.KEY,
                surface=SURFACE,
                connection="probe/cache",
                payload=await _value(database, key),
                detail={"key": key, "owners": owners},
            )
            count += 1
        return count

    async def naming(self, users: Mapping[str, str]) -> list[str]:
        """The keys that name one of the users, sorted."""
        return sorted([key async for _, key in self._scan(users)])

    async def clients(self) -> int:
        """How many clients the server has, without this one."""
        try:
            listed = await cast(Any, self._databases[0].client_list())
        except (RedisError, OSError) as error:
            raise TargetError(f"Redis stopped answering ({type(error).__name__}); see its log.") from None
        return sum(1 for client in listed if client.get("name") != "netra-probe")

    async def close(self) -> None:
        for database in self._databases:
            await database.aclose()

    async def _scan(self, users: Mapping[str, str]) -> AsyncIterator[tuple[redis.Redis, str]]:
        seen = 0
        try:
            for database in self._databases:
                async for key in database.scan_iter(count=1000):
                    seen += 1
                    if seen > MOST_KEYS:
                        return
                    if any(user_id in key for user_id in users):
                        yield database, key
        except (RedisError, OSError) as error:
            raise TargetError(f"Redis stopped answering ({type(error).__name__}); see its log.") from None


async def _value(database: redis.Redis, key: str) -> str:
    """The value of a key of any type, as text; "" for one that has just expired."""
    read: dict[str, Any] = {
        "string": lambda: database.get(key),
        "hash": lambda: database.hgetall(key),
        "list": lambda: database.lrange(key, 0, 999),
        "set": lambda: database.sscan(key, count=1000),
        "zset": lambda: database.zrange(key, 0, 999),
        "stream": lambda: database.xrange(key, count=1000),
    }
    kind = await cast(Any, database.type(key))
    if kind not in read:
        return ""
    value = await read[kind]()
    return value if isinstance(value, str) else repr(value)
