"""Redis, looked at with SCAN only: which keys name or hold whom."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, cast

import redis.asyncio as redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from netra_probe.clients.replies import Timeouts
from netra_probe.errors import TargetError
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.tls import why

SURFACE = "cache"
#: Keys looked at in one sweep; a shared production cache can hold millions.
MOST_KEYS = 100_000
#: What this client calls itself.
NAME = "netra-probe"
#: Logical databases that a deployment uses: backend 0, auth service 1.
DATABASES = (0, 1)


class CacheClient:
    """A look into the target's Redis that changes nothing: SCAN, TYPE and the reading commands.

    But for ``cut_subscriptions``, which disturbs whoever listens.
    """

    def __init__(self, history: Recorder, databases: tuple[redis.Redis, ...]) -> None:
        self.history = history
        self._databases = databases

    @staticmethod
    async def open(history: Recorder, url: Secret, timeouts: Timeouts) -> CacheClient:
        """Connect to the databases of the backend and of the auth service.

        Raises TargetError when Redis cannot be reached; the message holds no credentials.
        """
        databases: list[redis.Redis] = []
        try:
            for number in DATABASES:
                database = redis.Redis.from_url(
                    url.reveal(),
                    db=number,
                    # with RESP3 redis-py 8 takes an idle connection that the server has closed for a good one
                    protocol=2,
                    decode_responses=True,
                    encoding_errors="replace",
                    socket_connect_timeout=timeouts.connect,
                    socket_timeout=timeouts.reply,
                    redis_connect_func=_introduce,
                )
                if await _may_be_used(database):
                    databases.append(database)
            if not databases:
                raise NoPermissionError
        except BaseException as error:
            for database in databases:
                await database.aclose()
            if not isinstance(error, Exception):
                raise
            # Whatever it is: the driver's text may quote a part of the URL, and so of the password.
            reason = await why(error, url=url.reveal(), remedy="ssl_ca_certs in the URL")
            raise TargetError(
                f"target.redis_url: cannot connect ({reason}); check address and "
                "credentials, or leave the key out: the cases that need the cache are then not applicable."
            ) from None
        return CacheClient(history, tuple(databases))

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
                payload=await self._asked(_value(database, key)),
                detail={"key": key, "owners": owners},
            )
            count += 1
        return count

    async def naming(self, users: Mapping[str, str]) -> list[str]:
        """The keys that name one of the users, sorted."""
        return sorted([key async for _, key in self._scan(users)])

    async def clients(self) -> int | None:
        """How many clients the server has, without this one; ``None`` where this user may not ask for them."""
        try:
            listed = await cast(Any, self._databases[0].client_list())
        except NoPermissionError:
            return None
        except (RedisError, OSError) as error:
            raise _stopped(error) from None
        # Who was not allowed to give its name cannot tell itself from others.
        others = [client for client in listed if client.get("name") != NAME]
        return len(others) if len(others) < len(listed) else None

    async def cut_subscriptions(self) -> None:
        """End every connection that listens for messages, as a fail-over does; for targets that may be disturbed."""
        await self._asked(self._databases[0].client_kill_filter(_type="pubsub", skipme=True))

    async def close(self) -> None:
        for database in self._databases:
            await database.aclose()

    async def _scan(self, users: Mapping[str, str]) -> AsyncIterator[tuple[redis.Redis, str]]:
        seen = 0
        for database in self._databases:
            keys = aiter(database.scan_iter(count=1000))
            while (key := await self._asked(anext(keys, None))) is not None:
                seen += 1
                if seen > MOST_KEYS:
                    return
                if any(user_id in key for user_id in users):
                    yield database, key

    async def _asked(self, answer: Awaitable[Any]) -> Any:
        """What Redis answers. Raises TargetError where it does not, or not to this user."""
        try:
            return await answer
        except (RedisError, OSError) as error:
            raise _stopped(error) from None


async def _introduce(connection: Any) -> None:
    """Log in, and give a name that distinguishes this client from others, where the server lets it have one."""
    await connection.on_connect()
    await connection.send_command("CLIENT", "SETNAME", NAME)
    with contextlib.suppress(ResponseError):
        await connection.read_response()


async def _may_be_used(database: redis.Redis) -> bool:
    """Whether the server has this logical database for this user. Closes it where not; raises what else goes wrong."""
    try:
        await cast(Any, database.scan(count=1))
    except NoPermissionError:
        await database.aclose()
        return False
    except BaseException:
        await database.aclose()
        raise
    return True


def _stopped(error: Exception) -> TargetError:
    if isinstance(error, NoPermissionError):
        return TargetError(
            "target.redis_url: its user may not read what it finds; allow it +@read on all keys (~*), or leave the key "
            "out: the cases that need the cache are then not applicable."
        )
    return TargetError(f"Redis stopped answering ({type(error).__name__}); see its log.")


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
