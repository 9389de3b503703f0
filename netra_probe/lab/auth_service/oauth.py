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
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt

from netra_probe.lab.auth_service.accounts import Account, AccountStore, checked_email, checked_text
from netra_probe.lab.auth_service.errors import (
    AuthProblem,
    BadInput,
    Conflict,
    Forbidden,
    NotAuthenticated,
    Unavailable,
)
from netra_probe.lab.auth_service.logins import AuthEvents, Caller, LoginService, TokenPair
from netra_probe.lab.auth_service.stores import AuditLog, Cache
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One provider configuration."""

    name: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    callback_path: str = "/auth/callback"
    extra_parameters: Mapping[str, str] = field(default_factory=dict)


_KNOWN: Mapping[str, Mapping[str, object]] = {
    "google": {"extra_parameters": {"access_type": "offline"}},
    "microsoft": {"extra_parameters": {"prompt": "select_account"}},
    "okta": {"callback_path": "/auth/oauth/callback"},
    "auth0": {"extra_parameters": {"audience": "netra-platform"}},
    "keycloak": {"callback_path": "/auth/oauth/callback", "scopes": ("openid", "email")},
}
DEFAULT = "google"


class OAuthProviders:
    """Providers by name. ``<NAME>_OAUTH_CLIENT_ID[_<ENV>]`` and ``<NAME>_OAUTH_ISSUER_URL`` override what is common."""

    def __init__(
        self, *, environment: str, issuer: str | None, client_secret: str | None, variables: IsolatedEnvironment
    ) -> None:
        self._providers: dict[str, Provider] = {}
        for name, particulars in _KNOWN.items():
            prefix = name.upper()
            where = variables.get(f"{prefix}_OAUTH_ISSUER_URL") or issuer
            secret = variables.get(f"{prefix}_OAUTH_CLIENT_SECRET") or client_secret
            client = (
                variables.get(f"{prefix}_OAUTH_CLIENT_ID_{environment.upper()}")
                or variables.get(f"{prefix}_OAUTH_CLIENT_ID")
                or f"netra-{name}-{environment}"
            )
            if where and secret:
                self._providers[name] = Provider(
                    name=name,
                    issuer=where.rstrip("/"),
                    client_id=client,
                    client_secret=secret,
                    **particulars,  # type: ignore[arg-type]
                )

    def find(self, name: str) -> Provider:
        """A provider by name; 400 when nobody knows it, 503 when it is known but not configured here."""
        if name in self._providers:
            return self._providers[name]
        if name in _KNOWN:
            raise Unavailable(f"Login with {name} is not configured in this environment.")
        raise AuthProblem(f"There is no such provider; there are: {', '.join(_KNOWN)}")

    def names(self) -> list[str]:
        """The configured providers."""
        return list(self._providers)

    def get(self, name: str) -> Provider | None:
        """A configured provider, or None."""
        return self._providers.get(name)


_ALGORITHMS = ["RS256", "ES256"]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the provider says has logged in."""

    issuer: str
    subject: str
    email: str
    email_verified: bool
    name: str


class OpenIdClient:
    """Talks to providers. Their metadata and keys are kept, and read again when a token names an unknown key."""

    def __init__(self, *, client: httpx.AsyncClient) -> None:
        self._client = client
        self._metadata: dict[str, Mapping[str, Any]] = {}
        self._keys: dict[str, jwt.PyJWKSet] = {}

    async def authorization_endpoint(self, provider: Provider) -> str:
        """Where a browser is sent to log in."""
        return str((await self._discover(provider))["authorization_endpoint"])

    async def redeem(
        self, provider: Provider, *, code: str, redirect_uri: str, code_verifier: str, nonce: str
    ) -> Identity:
        """The identity behind an authorization code, or NotAuthenticated."""
        metadata = await self._discover(provider)
        answer = await self._send(
            "POST",
            str(metadata["token_endpoint"]),
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": code_verifier,
            },
            auth=(provider.client_id, provider.client_secret),
        )
        body = answer.json() if answer.is_success else {}
        token = body.get("id_token") if isinstance(body, dict) else None
        if not isinstance(token, str):
            raise NotAuthenticated("The provider did not accept the code", reason="invalid_code")
        claims = await self._verified(provider, metadata, token, nonce)
        email = claims.get("email")
        if not isinstance(email, str) or not email:
            raise NotAuthenticated("The provider did not tell an e-mail address", reason="no_email")
        return Identity(
            issuer=provider.issuer,
            subject=str(claims["sub"]),
            email=email,
            email_verified=claims.get("email_verified") is True,
            name=str(claims.get("name") or ""),
        )

    async def _verified(
        self, provider: Provider, metadata: Mapping[str, Any], token: str, nonce: str
    ) -> Mapping[str, Any]:
        try:
            key = await self._key(provider, metadata, token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=provider.client_id,
                issuer=provider.issuer,
                leeway=5,
                options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
            )
        except jwt.PyJWTError:
            raise NotAuthenticated("The provider's ID token is not valid", reason="invalid_id_token") from None
        if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
            raise NotAuthenticated("The provider's ID token is for another login", reason="invalid_nonce")
        if claims.get("azp", provider.client_id) != provider.client_id or not isinstance(claims["sub"], str):
            raise NotAuthenticated("The provider's ID token is for another client", reason="invalid_id_token")
        return claims

    async def _key(self, provider: Provider, metadata: Mapping[str, Any], token: str) -> jwt.PyJWK:
        wanted = jwt.get_unverified_header(token).get("kid")
        for attempt in ("kept", "fresh"):
            if attempt == "fresh" or provider.issuer not in self._keys:
                answer = await self._send("GET", str(metadata["jwks_uri"]))
                self._keys[provider.issuer] = jwt.PyJWKSet.from_dict(answer.json())
            keys = self._keys[provider.issuer].keys
            for key in keys:
                if key.key_id == wanted or (wanted is None and len(keys) == 1):
                    return key
        raise jwt.InvalidKeyError("no such key")

    async def _discover(self, provider: Provider) -> Mapping[str, Any]:
        known = self._metadata.get(provider.issuer)
        if known is None:
            answer = await self._send("GET", f"{provider.issuer}/.well-known/openid-configuration")
            known = answer.json() if answer.is_success else {}
            if not isinstance(known, dict) or known.get("issuer") != provider.issuer:
                raise Unavailable(f"The provider {provider.name} does not describe itself as expected.")
            self._metadata[provider.issuer] = known
        return known

    async def _send(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        try:
            return await self._client.request(method, url, **arguments)
        except httpx.HTTPError as error:
            raise Unavailable("The login provider does not answer; try again shortly.") from error


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
