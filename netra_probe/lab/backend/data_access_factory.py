"""DataAccessFactory: stores bound to one user, so that no caller can ask for somebody else's rows or keys.

data = data_access.for_user(context)
await data.threads.list()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netra_probe.lab.backend.data.owned_store import ThreadMemory, UserCache
from netra_probe.lab.backend.data.profile import ExportStore, ProfileStore, SpendStore
from netra_probe.lab.backend.data.runs import RunStore
from netra_probe.lab.backend.data.threads import MessageStore, ThreadStore
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.backend.user_execution_context import UserExecutionContext


@dataclass(frozen=True, kw_only=True)
class UserData:
    """Everything one user may touch."""

    user_id: str
    threads: ThreadStore
    messages: MessageStore
    runs: RunStore
    profile: ProfileStore
    spend: SpendStore
    exports: ExportStore
    memory: ThreadMemory
    cache: UserCache
    erase_keys: Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class StoreClasses:
    """The classes of the stores, so that each can be replaced on its own."""

    threads: type[ThreadStore] = ThreadStore
    messages: type[MessageStore] = MessageStore
    runs: type[RunStore] = RunStore
    profile: type[ProfileStore] = ProfileStore
    spend: type[SpendStore] = SpendStore
    exports: type[ExportStore] = ExportStore
    memory: type[ThreadMemory] = ThreadMemory
    cache: type[UserCache] = UserCache


class DataAccessFactory:
    """Binds stores to the user of a context."""

    def __init__(
        self, *, database: DatabaseManager, redis: Any, limits: Limits, stores: StoreClasses | None = None
    ) -> None:
        self._database = database
        self._redis = redis
        self._limits = limits
        self._stores = stores or StoreClasses()

    def for_user(self, context: UserExecutionContext) -> UserData:
        """The data of the context's user."""
        context.verify_isolation()
        user_id, stores = context.user_id, self._stores
        cache = stores.cache(self._redis, user_id, seconds=self._limits.cache_seconds)

        async def erase_keys() -> int:
            return await self._erase_keys(user_id)

        return UserData(
            user_id=user_id,
            threads=stores.threads(self._database, user_id, cache),
            messages=stores.messages(self._database, user_id, cache),
            runs=stores.runs(self._database, user_id, cache),
            profile=stores.profile(self._database, user_id, cache),
            spend=stores.spend(self._database, user_id, cache),
            exports=stores.exports(self._database, user_id, cache),
            memory=stores.memory(self._redis, user_id),
            cache=cache,
            erase_keys=erase_keys,
        )

    async def _erase_keys(self, user_id: str) -> int:
        """Delete the user's keys; ids are matched literally, whatever pattern characters they contain."""
        escaped = "".join(f"\\{character}" if character in "*?[]\\" else character for character in user_id)
        gone = 0
        for pattern in (f"user:{escaped}:*", f"user_sessions:{escaped}", f"rate_limit:{escaped}:*"):
            keys = [key async for key in self._redis.scan_iter(match=pattern, count=1000)]
            if keys:
                gone += await self._redis.delete(*keys)
        return gone
