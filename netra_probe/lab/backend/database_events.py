"""What an operator has to know of a service's database: one line in the log for each thing that happened."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


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
