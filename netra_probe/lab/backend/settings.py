"""What the backend needs to know to start, read once from the environment, and the limits it enforces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Lookup = Callable[[str], str | None]


class SettingsError(ValueError):
    """A variable is missing; names it and never shows a value."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every bound and time-out of the backend, in bytes, seconds or counts."""

    # Messages
    message_bytes: int = 8192
    history_messages: int = 100
    # Quotas of one user
    socket_messages: int = 600
    rest_requests: int = 1200
    quota_window_seconds: int = 10
    concurrent_runs: int = 50
    connections: int = 50
    waiting_jobs: int = 20
    # Sockets
    heartbeat_seconds: float = 25.0
    send_seconds: float = 5.0
    reauthentication_seconds: float = 0.7
    authentication_outage_seconds: float = 10.0
    # Buffering while a user is away
    buffered_events: int = 2000
    buffer_seconds: int = 3600
    # Services
    authentication_timeout: float = 5.0
    model_timeout: float = 15.0
    cache_seconds: int = 30
    erase_seconds: float = 3.0
    # PostgreSQL
    pool_minimum: int = 2
    pool_maximum: int = 12
    acquire_seconds: float = 10.0
    database_retry_seconds: float = 0.5
    statement_milliseconds: int = 5000


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """Addresses and credentials of the services around this process; secrets are left out of the repr."""

    name: str
    environment: str
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    auth_service_url: str
    llm_service_url: str
    frontend_url: str
    service_id: str
    service_secret: str = field(repr=False)
    limits: Limits = field(default_factory=Limits, repr=False)

    @classmethod
    def read(cls, lookup: Lookup) -> BackendSettings:
        """Read the platform's variables through `lookup`.

        Raises:
            SettingsError: a required variable is absent or empty.
        """

        def required(name: str) -> str:
            value = lookup(name)
            if not value:
                raise SettingsError(f"{name} is not set: the backend cannot start without it")
            return value

        return cls(
            name=lookup("BACKEND_NAME") or "backend-1",
            environment=lookup("ENVIRONMENT") or "test",
            database_url=required("DATABASE_URL"),
            redis_url=required("REDIS_URL"),
            auth_service_url=required("AUTH_SERVICE_URL").rstrip("/"),
            llm_service_url=required("LLM_SERVICE_URL").rstrip("/"),
            frontend_url=(lookup("FRONTEND_URL") or "http://localhost:3000").rstrip("/"),
            service_id=required("SERVICE_ID"),
            service_secret=required("SERVICE_SECRET"),
        )
