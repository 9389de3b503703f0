"""Load the seeded data into a running lab, with the services' own components, and describe what was loaded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from netra_probe.lab.auth_service.logins import PasswordHasher
from netra_probe.lab.auth_service.sessions import Blacklist, SessionStore
from netra_probe.lab.auth_service.stores import Cache, Database
from netra_probe.lab.backend.data.owned_store import UserCache, encoded
from netra_probe.lab.backend.data.profile import ProfileStore
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.seeds.people import (
    PASSWORD_RULE,
    PEOPLE,
    PROMPTS,
    PROVIDER,
    SINCE,
    THREADS,
    SeedUser,
    claims_of,
    password_of,
)

SECONDS = 5.0
"""How long one store or service may take to answer."""
DAY, MINUTE = 86_400, 60
LOCKED_UNTIL = datetime(2099, 1, 1, tzinfo=UTC)
EXPIRED_SINCE = datetime(2025, 8, 31, 12, tzinfo=UTC)
ENVIRONMENT = "test"

_ACCOUNT = """
INSERT INTO auth_users (id, email, name, password_hash, auth_provider, is_active, is_verified, is_admin, locked_until,
                        created_at, last_login_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_MESSAGE = """
INSERT INTO messages (id, created_at, thread_id, role, content, metadata_, user_id) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the data goes."""

    auth_database: str = field(repr=False)
    auth_cache: str = field(repr=False)
    backend_database: str = field(repr=False)
    backend_cache: str = field(repr=False)
    provider: str
    service_id: str
    service_secret: str = field(repr=False)


Tokens = dict[str, list[dict[str, Any]]]


async def load(places: Places) -> dict[str, Any]:
    """Load everything; returns its description, which holds no secret."""
    tokens = await _load_accounts(places)
    await _load_history(places)
    await _introduce(places)
    return describe(places, tokens)


def describe(places: Places, tokens: Tokens) -> dict[str, Any]:
    """What a notebook needs to find and use the data."""
    return {
        "password": PASSWORD_RULE,
        "users": [
            {
                "state": user.state,
                "id": user.id,
                "email": user.email,
                "name": user.name,
                "project": user.project,
                "permissions": list(user.permissions),
                "login": user.login,
                "devices": list(user.devices),
                "threads": [thread.id for thread in THREADS if thread.user is user],
                "tokens": tokens.get(user.state, []),
                "oauth": None if user.has_password else {"provider": PROVIDER, "subject": user.subject},
            }
            for user in PEOPLE
        ],
        "prompts": [{"text": prompt.text, "answered_by": prompt.answered_by} for prompt in PROMPTS],
        "threads": [
            {
                "id": thread.id,
                "user_id": thread.user.id,
                "title": thread.title,
                "messages": [message.id for message in thread.messages],
            }
            for thread in THREADS
        ],
    }


async def _load_accounts(places: Places) -> Tokens:
    database = Database(url=places.auth_database, size=2, seconds=SECONDS)
    cache = Cache(url=places.auth_cache, seconds=SECONDS)
    passwords = PasswordHasher(time_cost=1, memory_kib=2048)
    await database.open()
    try:
        for user in PEOPLE:
            secret = password_of(user.email, places.service_secret) if user.has_password else None
            await database.execute(
                _ACCOUNT,
                user.id,
                user.email,
                user.name,
                None if secret is None else await passwords.hash(secret),
                "local" if user.has_password else PROVIDER,
                user.is_active,
                user.is_verified,
                user.is_admin,
                LOCKED_UNTIL if user.is_locked else None,
                SINCE,
                SINCE if user.has_logged_in else None,
            )
            if not user.has_password:
                await database.execute(
                    "INSERT INTO auth_identities (issuer, subject, user_id) VALUES ($1, $2, $3)",
                    places.provider,
                    user.subject,
                    user.id,
                )
        sessions = SessionStore(database, cache, reuse_grace_seconds=0)
        return await _load_tokens(places, sessions, Blacklist(database, cache))
    finally:
        passwords.close()
        await cache.close()
        await database.close()


async def _load_tokens(places: Places, sessions: SessionStore, blacklist: Blacklist) -> Tokens:
    """An access token that expired long ago, one that was revoked, and the refresh tokens of two devices."""
    now = int(time.time())
    by_state = {user.state: user for user in PEOPLE}

    async def opened(user: SeedUser, kind: str, *, name: str, at: int, seconds: int, until: int) -> dict[str, Any]:
        claims = claims_of(
            user,
            kind,
            name=name,
            issued_at=at,
            seconds=seconds,
            service_id=places.service_id,
            environment=ENVIRONMENT,
        )
        await sessions.open(
            claims["sid"], user_id=user.id, refresh_id=claims["jti"], expires_at=until, address="", user_agent=name
        )
        return claims

    expired, revoked, devices = (by_state[state] for state in ("expired-token", "revoked-token", "two-device"))
    then = int(EXPIRED_SINCE.timestamp())
    old = await opened(expired, "access", name="old", at=then - 5 * MINUTE, seconds=5 * MINUTE, until=now + DAY)
    gone = await opened(revoked, "access", name="gone", at=now, seconds=DAY, until=now + DAY)
    await blacklist.add(gone["jti"], gone["exp"])
    await sessions.end(gone["sid"], revoked.id)
    return {
        expired.state: [{"what": "expired access token", "claims": old}],
        revoked.state: [{"what": "revoked access token", "claims": gone}],
        devices.state: [
            {
                "what": f"refresh token of {device}",
                "claims": await opened(devices, "refresh", name=device, at=now, seconds=DAY, until=now + DAY),
            }
            for device in devices.devices
        ],
    }


async def _load_history(places: Places) -> None:
    from redis.asyncio import Redis

    database = DatabaseManager(places.backend_database, name="seeds", limits=Limits(pool_minimum=1, pool_maximum=1))
    redis: Any = Redis.from_url(places.backend_cache, decode_responses=True, socket_timeout=SECONDS)
    await database.connect()
    try:
        for user in dict.fromkeys(thread.user for thread in THREADS):
            profile = ProfileStore(database, user.id, UserCache(redis, user.id, seconds=1))
            await profile.ensure(user.email)
            await profile.update(name=user.name, preferences={"project": user.project})
        for thread in THREADS:
            owner = {"user_id": thread.user.id}
            metadata = encoded({**owner, "status": "active", "title": thread.title})
            async with database.get_session(thread.user.id) as session:
                await session.execute(
                    "INSERT INTO threads (id, created_at, updated_at, metadata_) VALUES ($1, $2, $3, $4)",
                    thread.id,
                    thread.created_at,
                    thread.updated_at,
                    metadata,
                )
                await session.executemany(_MESSAGE, _rows(thread.id, thread.user, thread.messages))
    finally:
        await redis.aclose()
        await database.close()


def _rows(thread_id: str, user: SeedUser, messages: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [
        (
            message.id,
            message.created_at,
            thread_id,
            message.role,
            encoded([{"type": "text", "text": {"value": message.text}}]),
            encoded({"user_id": user.id}),
            user.id,
        )
        for message in messages
    ]


async def _introduce(places: Places) -> None:
    """Make the identity provider know the people who have no password."""
    async with httpx.AsyncClient(base_url=places.provider, timeout=SECONDS, trust_env=False) as client:
        for user in PEOPLE:
            if not user.has_password:
                claims = {"email": user.email, "email_verified": True, "name": user.name}
                (await client.put(f"/users/{user.subject}", json=claims)).raise_for_status()
