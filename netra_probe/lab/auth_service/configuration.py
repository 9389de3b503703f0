"""The settings of the auth service."""

from __future__ import annotations

from netra_probe.lab.shared.live_configuration import SECRET_OVERLAP, LiveConfiguration
from netra_probe.lab.shared.settings import Setting

VERSION = "1.0.0"
SERVICE = "auth-service"
MINUTE, DAY = 60, 86_400

SETTINGS = (
    Setting(name="DATABASE_URL", kind="url", schemes=("postgresql", "postgres"), secret=True, required=True),
    Setting(name="REDIS_URL", kind="url", schemes=("redis", "rediss"), secret=True, required=True),
    Setting(
        name="JWT_SECRET_KEY",
        aliases=("JWT_SECRET_{ENV}",),
        secret=True,
        required=True,
        minimum=32,
        overlap=SECRET_OVERLAP,
    ),
    Setting(name="SERVICE_ID", required=True),
    Setting(name="SERVICE_SECRET", secret=True, required=True, minimum=16, overlap=SECRET_OVERLAP),
    Setting(name="FRONTEND_URL", kind="url", schemes=("http", "https"), required=True),
    # Tokens: seconds
    Setting(
        name="ACCESS_TOKEN_SECONDS",
        kind="int",
        minimum=1,
        default={"production": 15 * MINUTE, "staging": 30 * MINUTE, "development": 120 * MINUTE, "test": 5 * MINUTE},
    ),
    Setting(
        name="REFRESH_TOKEN_SECONDS",
        kind="int",
        minimum=1,
        default={"production": 7 * DAY, "staging": 14 * DAY, "development": 30 * DAY, "test": DAY},
    ),
    Setting(name="SERVICE_TOKEN_SECONDS", kind="int", minimum=1, default=5 * MINUTE),
    Setting(name="REFRESH_REUSE_GRACE_SECONDS", kind="float", minimum=0, default=2.0),
    # Passwords (argon2id)
    Setting(name="PASSWORD_TIME_COST", kind="int", minimum=1, default={"test": 1, "*": 3}),
    Setting(name="PASSWORD_MEMORY_KIB", kind="int", minimum=1024, default={"test": 2048, "*": 65536}),
    # Brute force
    Setting(name="LOGIN_MAX_FAILURES", kind="int", minimum=1, default=10),
    Setting(name="LOGIN_WINDOW_SECONDS", kind="int", minimum=1, default=60),
    # Development
    Setting(name="AUTH_DEV_LOGIN", kind="flag", default=False),
    # OAuth
    Setting(name="AUTH_SERVICE_URL", kind="url", schemes=("http", "https")),
    Setting(name="OIDC_ISSUER_URL", kind="url", schemes=("http", "https")),
    Setting(name="OAUTH_CLIENT_SECRET", secret=True),
    Setting(name="OAUTH_STATE_SECONDS", kind="int", minimum=1, default=600),
    # Telling the backend about sign-ins and sign-outs
    Setting(name="AUTH_EVENT_URLS", kind="list"),
    # Stores
    Setting(name="DATABASE_POOL_SIZE", kind="int", minimum=1, maximum=50, default=8),
    Setting(name="STORE_SECONDS", kind="float", minimum=0.1, default=3.0),
)


def read_configuration() -> LiveConfiguration:
    """The validated configuration; ConfigurationProblem lists everything that is wrong with it."""
    return LiveConfiguration("auth_service", SETTINGS)
