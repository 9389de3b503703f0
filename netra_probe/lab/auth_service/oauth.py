"""Login through a provider: authorization code with PKCE, a nonce, and a state that only one browser can use, once.

The state is the hash of a secret in that browser's cookie. Whoever carries another browser's ``code`` and ``state``
here has no matching cookie (login CSRF, RFC 6749 §10.12), and what belongs to a state can be taken a single time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from netra_probe.lab.auth_service.accounts import Account, AccountStore, checked_email, checked_text
from netra_probe.lab.auth_service.audit import AuditLog
from netra_probe.lab.auth_service.errors import AuthProblem, BadInput, Conflict, Forbidden, NotAuthenticated
from netra_probe.lab.auth_service.events import AuthEvents
from netra_probe.lab.auth_service.logins import Caller, LoginService, TokenPair
from netra_probe.lab.auth_service.oauth_providers import OAuthProviders, Provider
from netra_probe.lab.auth_service.openid import Identity, OpenIdClient
from netra_probe.lab.auth_service.stores import Cache

COOKIE_PREFIX = "netra_oauth_"


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Where to send the browser, and what it must bring back."""

    url: str
    cookie_name: str
    cookie_value: str = field(repr=False)
    seconds: int


class OAuthFlow:
    """Both ends of a login: `depart` to the provider, `arrive` at the callback."""

    def __init__(
        self,
        *,
        providers: OAuthProviders,
        openid: OpenIdClient,
        cache: Cache,
        accounts: AccountStore,
        logins: LoginService,
        audit: AuditLog,
        events: AuthEvents,
        own_url: str,
        state_seconds: int,
    ) -> None:
        self._providers = providers
        self._openid = openid
        self._cache = cache
        self._accounts = accounts
        self._logins = logins
        self._audit = audit
        self._events = events
        self._own_url = own_url.rstrip("/")
        self._seconds = state_seconds

    async def depart(self, provider_name: str) -> Departure:
        """Begin a login with a provider."""
        provider = self._providers.find(provider_name)
        endpoint = await self._openid.authorization_endpoint(provider)
        browser_secret, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        state = state_for(browser_secret)
        with self._cache.guarded() as redis:
            kept = json.dumps({"provider": provider.name, "nonce": nonce, "verifier": verifier})
            await redis.set(_key(state), kept, ex=self._seconds)
        query = {
            **provider.extra_parameters,
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": self._redirect_uri(provider),
            "scope": " ".join(provider.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": _sha256(verifier),
            "code_challenge_method": "S256",
        }
        return Departure(
            url=f"{endpoint}?{urlencode(query)}",
            cookie_name=cookie_name(state),
            cookie_value=browser_secret,
            seconds=self._seconds,
        )

    async def arrive(self, *, code: str, state: str, cookies: Mapping[str, str], caller: Caller) -> TokenPair:
        """Finish a login: tokens for the account that the provider's identity opens."""
        kept = await self._take(state, cookies)
        provider = self._providers.find(str(kept["provider"]))
        identity = await self._openid.redeem(
            provider,
            code=code,
            redirect_uri=self._redirect_uri(provider),
            code_verifier=str(kept["verifier"]),
            nonce=str(kept["nonce"]),
        )
        account = await self._account_of(identity, provider)
        if account.why_not_usable() is not None:
            raise Forbidden("This account is not usable.")
        await self._accounts.logged_in(account.id)
        await self._audit.write(f"oauth_login_{provider.name}", user_id=account.id, address=caller.address)
        pair = await self._logins.start_session(account, caller)
        self._events.tell("oauth_completed", account.id)
        return pair

    async def _take(self, state: str, cookies: Mapping[str, str]) -> Mapping[str, object]:
        """What was kept for a state, once, and only for the browser that began with it."""
        if not self._began_here(state, cookies):
            raise NotAuthenticated("This login was begun in another browser", reason="invalid_state")
        with self._cache.guarded() as redis:
            kept = await redis.getdel(_key(state))
        if kept is None:
            raise NotAuthenticated("This login has expired or was finished already", reason="invalid_state")
        values: dict[str, object] = json.loads(kept)
        return values

    def _began_here(self, state: str, cookies: Mapping[str, str]) -> bool:
        browser_secret = cookies.get(cookie_name(state), "")
        return hmac.compare_digest(state_for(browser_secret).encode(), state.encode("utf-8", "replace"))

    async def _account_of(self, identity: Identity, provider: Provider) -> Account:
        known = await self._accounts.by_identity(issuer=identity.issuer, subject=identity.subject)
        if known is not None:
            return known
        try:
            email = checked_email(identity.email)
            name = checked_text("name", identity.name, longest=200)
        except BadInput as problem:
            raise AuthProblem(f"The provider's answer cannot be used ({problem.detail})") from None
        account = await self._accounts.by_email(email)
        if account is None:
            try:
                account = await self._accounts.create(email=email, name=name, provider=provider.name)
            except Conflict:  # the same person finishing two logins at once: the other one made the account
                known = await self._accounts.by_identity(issuer=identity.issuer, subject=identity.subject)
                if known is None:
                    raise
                return known
        elif not identity.email_verified:
            # an address that the provider has not checked must not open somebody's existing account
            raise NotAuthenticated(
                "An account with this e-mail address exists; log in to it", reason="unverified_email"
            )
        await self._accounts.link(user_id=account.id, issuer=identity.issuer, subject=identity.subject)
        return account

    def _redirect_uri(self, provider: Provider) -> str:
        return f"{self._own_url}{provider.callback_path}"


def state_for(browser_secret: str) -> str:
    """The state that belongs to a browser's cookie."""
    return _sha256(browser_secret)


def cookie_name(state: str) -> str:
    """The cookie of one login; several can be under way in one browser."""
    return f"{COOKIE_PREFIX}{hashlib.sha256(state.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _key(state: str) -> str:
    return f"auth:oauth_state:{state}"


def _sha256(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode("utf-8", "replace")).digest()).rstrip(b"=").decode()
