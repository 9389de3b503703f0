"""OwnedStore: what all stores of one user's rows share, above all how a foreign id differs from a missing one."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from netra_probe.lab.backend.data.user_cache import UserCache
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.errors import Forbidden, NotFound
from netra_probe.lab.shared.clock import clock

_EXISTS = {
    "thread": "SELECT 1 FROM threads WHERE id = $1 AND deleted_at IS NULL",
    "message": "SELECT 1 FROM messages m JOIN threads t ON t.id = m.thread_id WHERE m.id = $1 AND t.deleted_at IS NULL",
    "run": "SELECT 1 FROM runs r JOIN threads t ON t.id = r.thread_id WHERE r.id = $1 AND t.deleted_at IS NULL",
    "spend record": "SELECT 1 FROM spend_records WHERE id = $1",
    "export": "SELECT 1 FROM exports WHERE id = $1",
}


class OwnedStore:
    """Bound to one user at creation; no method takes a user id."""

    def __init__(self, database: DatabaseManager, user_id: str, cache: UserCache) -> None:
        self._database = database
        self._user_id = user_id
        self._cache = cache

    async def _refuse(self, kind: str, identifier: str) -> NoReturn:
        """Say 403 when somebody else has it and 404 when nobody does."""
        async with self._database.get_service_session() as session:
            exists = await session.fetchval(_EXISTS[kind], identifier)
        if exists:
            raise Forbidden(f"This {kind} belongs to somebody else.")
        raise NotFound(f"There is no such {kind}.")


def epoch_now() -> int:
    """Seconds since 1970, as threads and messages keep them."""
    return int(clock.now())


def decoded(value: Any) -> Any:
    """A json column as Python; asyncpg hands json over as text."""
    return json.loads(value) if isinstance(value, str) else value


def encoded(value: Any) -> str:
    """Python as the text of a json column."""
    return json.dumps(value, ensure_ascii=False, default=str)
