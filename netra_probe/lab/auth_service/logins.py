"""Registering, logging in and out, refreshing, without HTTP: passwords, the throttle, and word to the backend."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from netra_probe.lab.auth_service.accounts import Account, AccountStore, checked_email, checked_text
from netra_probe.lab.auth_service.errors import BadInput, Forbidden, NotAuthenticated, TooManyAttempts
from netra_probe.lab.auth_service.sessions import Blacklist, Principal, SessionStore
from netra_probe.lab.auth_service.stores import AuditLog, Cache
from netra_probe.lab.auth_service.tokens import TokenIssuer, TokenVerifier

SHORTEST, LONGEST = 8, 256
_WORKERS = 4
#: What people choose most, of at least the shortest length, in lower case (OWASP ASVS 5.0 6.2.4).
COMMON = frozenset((
    "00000000", "11111111", "11223344", "12121212", "12341234", "12345678", "123456789", "1234567890", "12344321",
    "87654321", "88888888", "987654321", "1q2w3e4r", "1q2w3e4r5t", "1qaz2wsx", "aaaaaaaa", "abc12345", "abcd1234",
    "asdfasdf", "asdfghjk", "asdfghjkl", "azertyuiop", "baseball", "changeme", "computer", "corvette", "football",
    "iloveyou", "internet", "jennifer", "letmein1", "liverpool", "michelle", "p@ssw0rd", "p@ssword", "passw0rd",
    "password", "password1", "princess", "q1w2e3r4", "qwer1234", "qwertyui", "qwertyuiop", "starwars", "sunshine",
    "superman", "trustno1", "victoria", "welcome1", "whatever", "zaq12wsx", "zxcvbnm1",
))  # fmt: skip


class PasswordHasher:
    """Hashes and verifies in a few threads (argon2 releases the interpreter lock)."""

    def __init__(self, *, time_cost: int, memory_kib: int) -> None:
        self._argon2 = Argon2(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="argon2")
        self._decoy = self._argon2.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """The encoded hash of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._argon2.hash, _bytes(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """True when the password is right. An account without one, or no account, takes as long as a wrong password."""
        loop = asyncio.get_running_loop()
        matches = await loop.run_in_executor(self._threads, self._matches, encoded or self._decoy, _bytes(password))
        return matches and encoded is not None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, encoded: str, password: bytes) -> bool:
        try:
            return self._argon2.verify(encoded, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # JSON can spell halves of characters: they match nothing else


class LoginThrottle:
    """Counts failed logins in a sliding window of Redis keys."""

    def __init__(self, cache: Cache, *, failures: int, seconds: int) -> None:
        self._cache = cache
        self._failures = failures
        self._seconds = seconds

    async def check(self, email: str, address: str) -> None:
        """TooManyAttempts while the limit is reached."""
        key = self._key(email, address)
        with self._cache.guarded() as redis:
            count = int(await redis.get(key) or 0)
            if count < self._failures:
                return
            left = max(1, await redis.ttl(key))
        raise TooManyAttempts(
            f"Too many failed logins for this account; try again in {left} s.", headers={"Retry-After": str(left)}
        )

    async def failed(self, email: str, address: str) -> None:
        """Count a failure; each one prolongs the window."""
        key = self._key(email, address)
        with self._cache.guarded() as redis:
            async with redis.pipeline(transaction=True) as steps:
                steps.incr(key)
                steps.expire(key, self._seconds)
                await steps.execute()

    async def succeeded(self, email: str, address: str) -> None:
        """Forget the failures."""
        with self._cache.guarded() as redis:
            await redis.delete(self._key(email, address))

    async def forget(self, email: str) -> None:
        """Forget an account's failures from wherever they came: it is gone."""
        with self._cache.guarded() as redis:
            async for key in redis.scan_iter(self._key(email, "*")):
                await redis.delete(key)

    @staticmethod
    def _key(email: str, address: str) -> str:
        account = hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()[:32]
        return f"rate_limit:{account}:login:{address}"


log = logging.getLogger(__name__)


class AuthEvents:
    """Posts ``{"event", "user_id"}`` to the first backend that takes it. Nothing here delays or fails a login."""

    def __init__(
        self, *, client: httpx.AsyncClient, urls: Sequence[str], service_id: str, service_secret: Callable[[], str]
    ) -> None:
        self._client = client
        self._urls = tuple(urls)
        self._service_id = service_id
        self._service_secret = service_secret
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, event: str, user_id: str) -> None:
        """Send an event in the background."""
        if not self._urls:
            return
        task = asyncio.create_task(self._send({"event": event, "user_id": user_id}))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, body: dict[str, str]) -> None:
        headers = {"X-Service-ID": self._service_id, "X-Service-Secret": self._service_secret()}
        for url in self._urls:
            try:
                answer = await self._client.post(url, json=body, headers=headers)
            except httpx.HTTPError as error:
                log.warning("event %s was not taken by one backend: %s", body["event"], type(error).__name__)
                continue
            if answer.is_success:
                return


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
        account = await self._accounts.by_id(user_id)
        found = await self._accounts.delete(user_id)
        if found and account is not None:
            await self._throttle.forget(account.email)
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
