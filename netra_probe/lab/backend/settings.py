"""The backend's configuration, and the limits that it enforces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.live_configuration import SECRET_OVERLAP
from netra_probe.lab.shared.settings import Setting


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
    # Runs
    run_seconds: float = 120.0
    cancel_seconds: float = 10.0
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
    user_connections: int = 8
    acquire_seconds: float = 10.0
    database_retry_seconds: float = 0.5
    statement_milliseconds: int = 5000


class LiveLimits:
    """`Limits` that follow the configuration: each is read when it is needed.

    Sizes of pools and the window of quotas are needed once, when a process starts.
    """

    def __init__(self, configuration: UnifiedConfigurationManager) -> None:
        self._configuration = configuration

    def __getattr__(self, name: str) -> Any:
        return self._configuration.get(name.upper())


def _limit(entry: dataclasses.Field[Any]) -> Setting:
    default = cast(float, entry.default)
    return Setting(
        name=entry.name.upper(),
        kind="int" if isinstance(default, int) else "float",
        minimum=0,
        default=default,
        at_least="POOL_MINIMUM" if entry.name == "pool_maximum" else None,
    )


SETTINGS: tuple[Setting, ...] = (
    Setting(name="BACKEND_NAME", default="backend-1"),
    # Stores
    Setting(name="DATABASE_URL", kind="url", schemes=("postgresql", "postgres"), secret=True, required=True),
    Setting(name="REDIS_URL", kind="url", schemes=("redis", "rediss"), secret=True, required=True),
    # Other services
    Setting(name="AUTH_SERVICE_URL", kind="url", schemes=("http", "https"), required=True),
    Setting(name="LLM_SERVICE_URL", kind="url", schemes=("http", "https"), required=True),
    Setting(name="FRONTEND_URL", kind="url", schemes=("http", "https"), default="http://localhost:3000", shared=True),
    Setting(name="SERVICE_ID", required=True, shared=True),
    Setting(name="SERVICE_SECRET", secret=True, required=True, minimum=16, overlap=SECRET_OVERLAP),
    *(_limit(entry) for entry in dataclasses.fields(Limits)),
)


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
    service_secrets: Callable[[], Sequence[str]] = field(repr=False)
    """The secret of this service, then those that it had until a moment ago."""
    limits: Limits = field(default_factory=Limits, repr=False)

    def service_secret(self) -> str:
        """The secret that this service proves itself with now."""
        return self.service_secrets()[0]

    @classmethod
    def of(cls, configuration: UnifiedConfigurationManager) -> BackendSettings:
        """What a validated configuration says; ConfigurationProblem when something is missing."""
        return cls(
            name=configuration.text("BACKEND_NAME"),
            environment=configuration.environment,
            database_url=configuration.text("DATABASE_URL"),
            redis_url=configuration.text("REDIS_URL"),
            auth_service_url=configuration.text("AUTH_SERVICE_URL").rstrip("/"),
            llm_service_url=configuration.text("LLM_SERVICE_URL").rstrip("/"),
            frontend_url=configuration.text("FRONTEND_URL").rstrip("/"),
            service_id=configuration.text("SERVICE_ID"),
            service_secrets=lambda: configuration.accepted("SERVICE_SECRET"),
            limits=cast(Limits, LiveLimits(configuration)),
        )
