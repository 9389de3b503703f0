"""The OpenID Connect side of a login: discovery, code exchange, and an ID token that has to prove itself."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from netra_probe.lab.auth_service.errors import NotAuthenticated, Unavailable
from netra_probe.lab.auth_service.oauth_providers import Provider

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
