"""What becomes of a failure of the database: what the user is told, and what the operator reads in the log."""

from __future__ import annotations

import logging
from typing import Any

import asyncpg

from netra_probe.lab.backend.errors import BackendError, Conflict, DependencyDown, InvalidRequest

log = logging.getLogger(__name__)

_UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, statement time-out
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InterfaceError,
)


def refusal_for(error: BaseException) -> BackendError | None:
    """The refusal that an error of PostgreSQL or asyncpg means for a user, None for an error of ours."""
    if isinstance(error, (asyncpg.DataError, UnicodeEncodeError)) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    ):
        return InvalidRequest("A value cannot be stored: remove NUL and unpaired surrogate characters.")
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Conflict("What this belongs to was deleted meanwhile.", code="GONE_MEANWHILE")
    if isinstance(error, _UNREACHABLE):
        return DependencyDown("The database cannot do this at the moment; try again shortly.")
    return None


def is_lost(connection: Any) -> bool:
    """Whether a connection is closed; one that broke asyncpg takes away from its holder, who then may not even ask."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


class DatabaseEvents:
    """Writes events: what, in which service, in whose session, PostgreSQL's code for it.

        database event=statement_failed service=backend-1 user=u1 code=23505 error=UniqueViolationError

    Never a statement, its parameters or the server's text, which quotes rows; and of users only the one whose session
    it was.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def record(self, event: str, *, level: int = logging.WARNING, **what: Any) -> None:
        """Write one event; what is None is left out."""
        known = {"event": event, "service": self._service, **what}
        told = " ".join(f"{name}={value}" for name, value in known.items() if value is not None)
        log.log(level, "database %s", told)

    def failed(self, event: str, error: BaseException, *, user_id: str | None = None) -> None:
        """Write that something failed."""
        code = getattr(error, "sqlstate", None)
        self.record(event, user=user_id, code=code, error=type(error).__name__)

    def session_failed(self, error: Exception, user_id: str | None) -> None:
        """Write why a session failed; a value of the wrong kind is the caller's affair."""
        if isinstance(error, asyncpg.QueryCanceledError):
            self.failed("statement_timeout", error, user_id=user_id)
        elif isinstance(error, asyncpg.PostgresError):
            self.failed("statement_failed", error, user_id=user_id)
