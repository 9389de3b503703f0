"""The lab's Python services: their secrets, their environment variables, how each is started and found ready."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from netra_probe.lab.backend.dialects import Variant
from netra_probe.lab.infrastructure.plan import Plan
from netra_probe.lab.infrastructure.postgres import ROLES
from netra_probe.lab.infrastructure.processes import HOST, Command

if TYPE_CHECKING:
    from netra_probe.lab.seeds.loading import Places

SERVICE_ID = "netra-backend"
FRONTEND_URL = "http://localhost:3000"

MODULES: Mapping[str, str] = {
    "auth": "netra_probe.lab.auth_service",
    "backend-1": "netra_probe.lab.backend",
    "backend-2": "netra_probe.lab.backend",
    "llm": "netra_probe.lab.llm_service",
    "oidc": "netra_probe.lab.identity_provider",
}
"""The module behind each service, run with ``python -m``."""

READY_PATHS: Mapping[str, str] = {"oidc": "/.well-known/openid-configuration"}
"""What a ready service answers 200 on, where that is not ``/health/ready``."""

NEEDED_BY_SEEDS = ("postgres", "redis", "auth", "backend-1", "oidc")
"""Seeded data goes into the tables that these make, and into the provider's memory."""

ROLES_OF_SERVICES: Mapping[str, str] = {"auth": "netra_auth", "backend": "netra_backend"}
"""The database role of each service that has tables."""

_AUTH_EVENTS = "/internal/auth-events"
"""Where a backend takes word of sign-ins and sign-outs."""

_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def new_secret() -> str:
    """A secret that nobody has had before."""
    return secrets.token_hex(24)


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Everything secret in one lab, new for each."""

    jwt: str = field(default_factory=new_secret, repr=False)
    service: str = field(default_factory=new_secret, repr=False)
    operator: str = field(default_factory=new_secret, repr=False)
    redis: str = field(default_factory=new_secret, repr=False)
    database_admin: str = field(default_factory=new_secret, repr=False)
    database: Mapping[str, str] = field(
        default_factory=lambda: {role: new_secret() for role in ROLES},
        repr=False,
    )
    oauth_client: str = field(default_factory=new_secret, repr=False)


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where everything listens, by service name."""

    ports: Mapping[str, int]
    secrets: Secrets

    def url(self, name: str) -> str:
        """The URL of an HTTP service."""
        return f"http://{HOST}:{self.ports[name]}"

    def database_url(self, role: str) -> str:
        """The database as one role sees it."""
        return f"postgresql://{role}:{self.secrets.database[role]}@{HOST}:{self.ports['postgres']}/netra"

    def redis_url(self, database: int) -> str:
        """One of Redis's databases."""
        return f"redis://:{self.secrets.redis}@{HOST}:{self.ports['redis']}/{database}"

    def _databases(self) -> dict[str, str]:
        return {
            "database_url": self.database_url("netra_probe"),
            "scratch_database_url": self.database_url("netra_scratch"),
        }

    def seed_places(self) -> Places:
        """Where seeded data goes."""
        from netra_probe.lab.seeds.loading import Places

        return Places(
            auth_database=self.database_url("netra_auth"),
            auth_cache=self.redis_url(1),
            backend_database=self.database_url("netra_backend"),
            backend_cache=self.redis_url(0),
            provider=self.url("oidc"),
            service_id=SERVICE_ID,
            service_secret=self.secrets.service,
        )

    def parameters(self, variant: Variant) -> dict[str, object]:
        """What a probe needs to know: usable as ``target:`` of a parameter file."""
        return {
            "auth_url": self.url("auth"),
            "backend_urls": [self.url("backend-1"), self.url("backend-2")],
            **(self._databases() if variant.database else {}),
            **({"redis_url": self.redis_url(0)} if variant.cache else {}),
            "service_id": SERVICE_ID,
            "service_secret": self.secrets.service,
            "jwt_secret": self.secrets.jwt,
        }


ENVIRONMENT = "test"


def layers(at: Addresses) -> dict[str, dict[str, str]]:
    """The settings of all services in files: what holds in every environment, and what only in this one."""
    return {
        "base": {"SERVICE_ID": SERVICE_ID, "FRONTEND_URL": FRONTEND_URL},
        ENVIRONMENT: {"AUTH_SERVICE_URL": at.url("auth"), "OIDC_ISSUER_URL": at.url("oidc")},
        "runtime": {},
    }


def environment_of(name: str, plan: Plan, at: Addresses, configuration: Path) -> dict[str, str]:
    """The environment variables of one service: its own, the plan's, and next to nothing inherited."""
    given = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    common = {
        "ENVIRONMENT": ENVIRONMENT,
        "CONFIG_DIRECTORY": str(configuration),
        "PYTHONPATH": _python_path(),
        "PYTHONUNBUFFERED": "1",
        "LAB_PARENT_PID": str(os.getpid()),
        "LAB_OPERATOR_TOKEN": at.secrets.operator,
        "LAB_FAULTS": ",".join(plan.faults),
        "LAB_FAULT_MODULES": os.pathsep.join(plan.fault_modules),
    }
    if "LAB_FAULT_SEED" in os.environ:
        common["LAB_FAULT_SEED"] = os.environ["LAB_FAULT_SEED"]
    # The signing key is none of them: it is in the secret store, from which the auth service alone takes it.
    tokens = {"SERVICE_SECRET": at.secrets.service}
    own: dict[str, str] = {}
    if name == "auth":
        own = {
            **tokens,
            "DATABASE_URL": at.database_url(ROLES_OF_SERVICES["auth"]),
            "REDIS_URL": at.redis_url(1),
            "OAUTH_CLIENT_SECRET": at.secrets.oauth_client,
            "AUTH_EVENT_URLS": ",".join(f"{at.url(backend)}{_AUTH_EVENTS}" for backend in ("backend-1", "backend-2")),
        }
    elif name.startswith("backend"):
        own = {
            **tokens,
            "DATABASE_URL": at.database_url(ROLES_OF_SERVICES["backend"]),
            "REDIS_URL": at.redis_url(0),
            "LLM_SERVICE_URL": at.url("llm"),
            "BACKEND_URL": at.url(name),
            "BACKEND_NAME": name,
            "LAB_VARIANT": Variant.from_mapping(plan.variant).to_text(),
        }
    elif name == "oidc":
        own = {"AUTHLIB_INSECURE_TRANSPORT": "1"}
    return {**given, **common, **own, **plan.settings}


def command(
    name: str, environment: Mapping[str, str], *, listener: int, gate: int | None, directory: Path, log: Path
) -> Command:
    """The process of one service: it inherits its listening socket, and waits for the end of file on `gate`."""
    passed: Sequence[int] = [listener] if gate is None else [listener, gate]
    variables = {**environment, "LAB_LISTEN_FD": str(listener)}
    if gate is not None:
        variables["LAB_START_FD"] = str(gate)
    return Command(
        name=name,
        module=MODULES[name],
        environment=variables,
        directory=directory,
        log=log,
        descriptors=tuple(passed),
    )


def _python_path() -> str:
    """Where this package is, before what the caller had: a checkout that is not installed works too."""
    here = Path(__file__).resolve().parents[3]
    own = [] if here.name in ("site-packages", "dist-packages") else [str(here)]
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join(dict.fromkeys([*own, *given]))
