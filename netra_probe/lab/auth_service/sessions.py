"""Sessions, one per login: which refresh token is the current one, and what has been revoked.

PostgreSQL holds the truth, so that a restarted Redis brings no revoked token back to life. Redis holds what is asked
all the time: ``auth:session:{id}``, ``auth:user_sessions:{user}`` and ``auth:blacklist:tokens``.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from netra_probe.lab.auth_service.accounts import Account, AccountStore
from netra_probe.lab.auth_service.errors import NotAuthenticated
from netra_probe.lab.auth_service.stores import Cache, Database
from netra_probe.lab.auth_service.tokens import Claims, TokenType, TokenVerifier
from netra_probe.lab.shared.clock import clock


class Blacklist:
    """Tokens that were revoked before they expired, by ``jti``."""

    KEY = "auth:blacklist:tokens"

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def add(self, token_id: str, expires_at: int) -> None:
        """Revoke a token; it is remembered until it would have expired anyway."""
        await self._database.execute(
            "INSERT INTO auth_revoked_tokens VALUES ($1, to_timestamp($2)) ON CONFLICT DO NOTHING", token_id, expires_at
        )
        with self._cache.guarded() as redis:
            await redis.zadd(self.KEY, {token_id: expires_at})
            await redis.zremrangebyscore(self.KEY, "-inf", clock.now() - 1)

    async def contains(self, token_id: str) -> bool:
        """True when the token was revoked. `Unavailable` when that cannot be known: nobody is let in on a guess."""
        with self._cache.guarded() as redis:
            if await redis.zscore(self.KEY, token_id) is not None:
                return True
        return bool(
            await self._database.fetchval("SELECT EXISTS (SELECT 1 FROM auth_revoked_tokens WHERE jti = $1)", token_id)
        )


class SessionStore:
    """Opens, rotates and ends sessions."""

    def __init__(self, database: Database, cache: Cache, *, reuse_grace_seconds: float) -> None:
        self._database = database
        self._cache = cache
        self._grace = reuse_grace_seconds

    @staticmethod
    def new_id() -> str:
        """An id for a session that is about to open."""
        return str(uuid.uuid4())

    async def open(
        self, session_id: str, *, user_id: str, refresh_id: str, expires_at: int, address: str, user_agent: str
    ) -> None:
        """Open a session whose current refresh token is `refresh_id`."""
        await self._database.execute(
            """INSERT INTO auth_sessions (id, user_id, refresh_jti, address, user_agent, expires_at)
               VALUES ($1, $2, $3, $4, $5, to_timestamp($6))""",
            session_id,
            user_id,
            refresh_id,
            address,
            user_agent,
            expires_at,
        )
        await self._remember(session_id, user_id, expires_at)

    async def rotate(self, session_id: str, *, user_id: str, used: str, fresh: str, expires_at: int) -> bool:
        """Replace the current refresh token if it is `used`: of any number of callers exactly one gets True.

        A token that was replaced earlier than a moment ago is in two hands: the session ends for both (RFC 9700 §4.14).
        """
        changed = await self._database.execute(
            """UPDATE auth_sessions SET refresh_jti = $4, previous_jti = $3, rotated_at = now(),
                      expires_at = to_timestamp($5)
               WHERE id = $1 AND user_id = $2 AND refresh_jti = $3 AND revoked_at IS NULL AND expires_at > now()""",
            session_id,
            user_id,
            used,
            fresh,
            expires_at,
        )
        if changed:
            await self._remember(session_id, user_id, expires_at)
            return True
        row = await self._database.fetchrow(
            """SELECT user_id, revoked_at, previous_jti = $2 AND rotated_at > now() - make_interval(secs => $3) AS raced
               FROM auth_sessions WHERE id = $1""",
            session_id,
            used,
            self._grace,
        )
        if row is not None and row["user_id"] == user_id and row["revoked_at"] is None and not row["raced"]:
            await self.end(session_id, user_id)
        return False

    async def current_refresh_id(self, session_id: str) -> str | None:
        """The refresh token that a session accepts now."""
        value: str | None = await self._database.fetchval(
            "SELECT refresh_jti FROM auth_sessions WHERE id = $1 AND revoked_at IS NULL AND expires_at > now()",
            session_id,
        )
        return value

    async def is_open(self, session_id: str, user_id: str) -> bool:
        """True while the session is neither ended nor expired, and is this user's."""
        return bool(
            await self._database.fetchval(
                """SELECT EXISTS (SELECT 1 FROM auth_sessions
                                  WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now())""",
                session_id,
                user_id,
            )
        )

    async def end(self, session_id: str, user_id: str) -> None:
        """End one session: its refresh token and all access tokens of it."""
        await self._database.execute(
            "UPDATE auth_sessions SET revoked_at = now() WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
            session_id,
            user_id,
        )
        with self._cache.guarded() as redis:
            await redis.delete(f"auth:session:{session_id}")
            await redis.srem(f"auth:user_sessions:{user_id}", session_id)

    async def end_all(self, user_id: str) -> None:
        """End every session of a user."""
        rows = await self._database.fetch(
            "UPDATE auth_sessions SET revoked_at = coalesce(revoked_at, now()) WHERE user_id = $1 RETURNING id", user_id
        )
        with self._cache.guarded() as redis:
            remembered = await redis.smembers(f"auth:user_sessions:{user_id}")
            known = {str(row["id"]) for row in rows} | {str(session) for session in remembered}
            await redis.delete(f"auth:user_sessions:{user_id}", *(f"auth:session:{session}" for session in known))

    async def _remember(self, session_id: str, user_id: str, expires_at: int) -> None:
        with self._cache.guarded() as redis:
            async with redis.pipeline(transaction=True) as steps:
                steps.hset(
                    f"auth:session:{session_id}",
                    mapping={"user_id": user_id, "refreshed_at": datetime.now(UTC).isoformat()},
                )
                steps.expireat(f"auth:session:{session_id}", expires_at)
                steps.sadd(f"auth:user_sessions:{user_id}", session_id)
                steps.expireat(f"auth:user_sessions:{user_id}", expires_at)
                await steps.execute()


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A verified caller: an account, or a service when `account` is None."""

    claims: Claims
    account: Account | None = None

    @property
    def user_id(self) -> str:
        return self.claims.subject

    @property
    def permissions(self) -> tuple[str, ...]:
        """What both the token and the account allow: a demoted account loses rights before its tokens expire."""
        if self.account is None:
            return self.claims.permissions
        return tuple(name for name in self.claims.permissions if name in self.account.permissions)


class Authenticator:
    """Verifies tokens against signature and claims, the blacklist, the session and the account, in that order."""

    def __init__(
        self, *, verifier: TokenVerifier, blacklist: Blacklist, sessions: SessionStore, accounts: AccountStore
    ) -> None:
        self._verifier = verifier
        self._blacklist = blacklist
        self._sessions = sessions
        self._accounts = accounts

    async def authenticate(self, token: str, type_: TokenType = "access") -> Principal:
        """The caller behind a token, NotAuthenticated with the reason, or Unavailable when a store is down."""
        claims = self._verifier.verify(token, type_)
        if await self._blacklist.contains(claims.id):
            raise NotAuthenticated("Token has been revoked", reason="token_revoked")
        if type_ == "service":
            if not claims.service or claims.service != claims.subject:
                raise NotAuthenticated("Invalid token", reason="invalid_token")
            return Principal(claims=claims)
        if claims.session_id is not None and not await self._sessions.is_open(claims.session_id, claims.subject):
            raise NotAuthenticated("Session has ended", reason="token_revoked")
        if type_ == "refresh" and (
            claims.session_id is None or await self._sessions.current_refresh_id(claims.session_id) != claims.id
        ):
            raise NotAuthenticated("Refresh token has been used", reason="token_revoked")
        account = await self._accounts.by_id(claims.subject)
        if account is None:
            raise NotAuthenticated("Account does not exist", reason="user_not_found")
        if (reason := account.why_not_usable()) is not None:
            raise NotAuthenticated("Account is not usable", reason=reason)
        return Principal(claims=claims, account=account)


class ServiceCredentials:
    """Checks ``X-Service-ID`` and ``X-Service-Secret``, or the same pair in a body."""

    def __init__(self, *, service_id: str, service_secrets: Callable[[], Sequence[str]]) -> None:
        self._id = service_id.encode()
        self._secrets = service_secrets

    def match(self, service_id: str | None, service_secret: str | None) -> bool:
        """True for the right pair, also shortly after a rotation; comparing takes the same time for every wrong one."""
        right_id = hmac.compare_digest((service_id or "").encode("utf-8", "replace"), self._id)
        given = (service_secret or "").encode("utf-8", "replace")
        right_secret = [hmac.compare_digest(given, secret.encode()) for secret in self._secrets()]
        return right_id and any(right_secret)
