"""Registering, logging in and out, refreshing: what the routes offer, without HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from netra_probe.lab.auth_service.accounts import Account, AccountStore, checked_email, checked_text
from netra_probe.lab.auth_service.audit import AuditLog
from netra_probe.lab.auth_service.authentication import Principal
from netra_probe.lab.auth_service.errors import BadInput, Forbidden, NotAuthenticated
from netra_probe.lab.auth_service.events import AuthEvents
from netra_probe.lab.auth_service.passwords import COMMON, LONGEST, SHORTEST, PasswordHasher
from netra_probe.lab.auth_service.sessions import Blacklist, SessionStore
from netra_probe.lab.auth_service.throttle import LoginThrottle
from netra_probe.lab.auth_service.tokens import TokenIssuer, TokenVerifier

_REFUSALS = {
    "account_disabled": "This account is disabled.",
    "account_locked": "This account is locked; try again later.",
    "account_unverified": "This account's e-mail address is not verified.",
}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Where a request comes from."""

    address: str
    user_agent: str


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    """What a login gives."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    account: Account

    def as_body(self) -> dict[str, Any]:
        """The answer on the wire."""
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "user": {"id": self.account.id, "email": self.account.email, "name": self.account.name},
        }


class LoginService:
    """Everything that starts, continues or ends a session."""

    def __init__(
        self,
        *,
        accounts: AccountStore,
        passwords: PasswordHasher,
        issuer: TokenIssuer,
        verifier: TokenVerifier,
        sessions: SessionStore,
        blacklist: Blacklist,
        throttle: LoginThrottle,
        audit: AuditLog,
        events: AuthEvents,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._issuer = issuer
        self._verifier = verifier
        self._sessions = sessions
        self._blacklist = blacklist
        self._throttle = throttle
        self._audit = audit
        self._events = events

    async def register(self, *, email: str, password: str, name: str, caller: Caller) -> TokenPair:
        """A new account and its first session."""
        address = checked_email(checked_text("email", email, longest=254))
        display_name = checked_text("name", name, longest=200)
        _check_new_password(password)
        account = await self._accounts.create(
            email=address, name=display_name, password_hash=await self._passwords.hash(password)
        )
        await self._audit.write("register", user_id=account.id, address=caller.address)
        return await self.start_session(account, caller)

    async def log_in(self, *, email: str, password: str, caller: Caller) -> TokenPair:
        """A session for the right password; the same refusal for a wrong one and for an unknown account."""
        address = email.strip().lower()[:254]
        await self._throttle.check(address, caller.address)
        account = await self._find(email)
        right = await self._passwords.verify(account.password_hash if account else None, password[: LONGEST + 1])
        if account is None or not right:
            await self._throttle.failed(address, caller.address)
            if account is not None:
                await self._audit.write("login", user_id=account.id, success=False, address=caller.address)
            raise NotAuthenticated("Invalid credentials", reason="invalid_credentials")
        await self._throttle.succeeded(address, caller.address)
        if (reason := account.why_not_usable()) is not None:
            await self._audit.write("login", user_id=account.id, success=False, address=caller.address)
            raise Forbidden(_REFUSALS[reason])
        await self._accounts.logged_in(account.id)
        await self._audit.write("login", user_id=account.id, address=caller.address)
        return await self.start_session(account, caller)

    async def start_session(self, account: Account, caller: Caller) -> TokenPair:
        """A new session of an account that has proved itself."""
        session_id = self._sessions.new_id()
        refresh = self._issuer.issue("refresh", account.id, extra={"sid": session_id})
        await self._sessions.open(
            session_id,
            user_id=account.id,
            refresh_id=refresh.id,
            expires_at=refresh.expires_at,
            address=caller.address,
            user_agent=caller.user_agent,
        )
        return self._pair(account, session_id, refresh.text)

    async def refresh(self, token: str, caller: Caller) -> TokenPair:
        """A new pair for the current refresh token of a session: single use, exactly one winner."""
        claims = self._verifier.verify(token, "refresh")
        if claims.session_id is None:
            raise NotAuthenticated("Invalid refresh token", reason="invalid_token")
        if await self._blacklist.contains(claims.id):
            raise NotAuthenticated("Token has been revoked", reason="token_revoked")
        account = await self._accounts.by_id(claims.subject)
        if account is None or account.why_not_usable() is not None:
            raise NotAuthenticated("Account is not usable", reason="account_disabled")
        fresh = self._issuer.issue("refresh", account.id, extra={"sid": claims.session_id})
        won = await self._sessions.rotate(
            claims.session_id, user_id=account.id, used=claims.id, fresh=fresh.id, expires_at=fresh.expires_at
        )
        await self._audit.write("refresh", user_id=account.id, success=won, address=caller.address)
        if not won:
            raise NotAuthenticated("Refresh token has been used", reason="token_revoked")
        return self._pair(account, claims.session_id, fresh.text)

    async def log_out(self, principal: Principal, caller: Caller) -> None:
        """Revoke the token and end its session."""
        claims = principal.claims
        await self._blacklist.add(claims.id, claims.expires_at)
        if claims.session_id is not None:
            await self._sessions.end(claims.session_id, claims.subject)
        await self._audit.write("logout", user_id=claims.subject, address=caller.address)
        self._events.tell("logout", claims.subject)

    async def set_active(self, user_id: str, active: bool) -> bool:
        """Enable or disable an account; disabling ends its sessions."""
        found = await self._accounts.set_active(user_id, active)
        if found and not active:
            await self._sessions.end_all(user_id)
            self._events.tell("account_disabled", user_id)
        return found

    async def delete(self, user_id: str) -> bool:
        """Remove an account and everything that names it."""
        await self._sessions.end_all(user_id)
        found = await self._accounts.delete(user_id)
        if found:
            self._events.tell("account_deleted", user_id)
        return found

    async def _find(self, email: str) -> Account | None:
        try:
            return await self._accounts.by_email(checked_email(checked_text("email", email, longest=254)))
        except BadInput:
            return None  # no account can have such an address

    def _pair(self, account: Account, session_id: str, refresh_token: str) -> TokenPair:
        access = self._issuer.access(
            account.id, email=account.email, permissions=account.permissions, session_id=session_id
        )
        return TokenPair(
            access_token=access.text, refresh_token=refresh_token, expires_in=access.lifetime, account=account
        )


def _check_new_password(password: str) -> None:
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInput(f"password: {SHORTEST} to {LONGEST} characters")
    if password.lower() in COMMON:
        raise BadInput("password: one of the most common ones; choose another")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise BadInput("password: not valid text") from None
