"""Who is this? The one place of the auth service that turns a token into a user or a service."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netra_probe.lab.auth_service.accounts import Account, AccountStore
from netra_probe.lab.auth_service.errors import NotAuthenticated
from netra_probe.lab.auth_service.sessions import Blacklist, SessionStore
from netra_probe.lab.auth_service.tokens import Claims, TokenType, TokenVerifier


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
