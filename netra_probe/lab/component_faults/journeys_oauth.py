"""Faults of the journey from a provider's login to a chat (G4)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt

from netra_probe.lab.component_faults.flows_sessions import SharedAnswer
from netra_probe.lab.shared.faults import PartFault, Parts, register


class OAuthFault(PartFault):
    """A fault of a login through a provider."""

    layer = "authentication"
    service = "auth_service"
    checkers = ("C14", "C6")
    part = "OpenIdClient"


@register
class NonceUnchecked(OAuthFault):
    """The nonce of an ID token is read and not compared with that of the login."""

    id = "journey-oauth-nonce-unchecked"
    title = "the ID token of another login is accepted"
    breaks = "an ID token counts for the login that it was issued for"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class AnyNonce(healthy):  # type: ignore[misc]
            async def _verified(self, provider: Any, metadata: Any, token: str, nonce: str) -> Any:
                given = jwt.decode(token, options={"verify_signature": False}).get("nonce", nonce)
                if given != nonce and fault.does_wrong():
                    nonce = given
                return await super()._verified(provider, metadata, token, nonce)

        return AnyNonce


@register
class NoProofKey(OAuthFault):
    """Logins begin without a code challenge: whoever has the code can redeem it."""

    id = "journey-oauth-no-proof-key"
    title = "logins without PKCE"
    breaks = "a code is worth nothing without the verifier of its login"

    def install(self, parts: Parts) -> None:
        """Replace both ends of the login."""
        fault = self
        flow: type[Any] = parts["OAuthFlow"]
        client: type[Any] = parts["OpenIdClient"]

        class WithoutChallenge(flow):  # type: ignore[misc]
            async def depart(self, provider_name: str) -> Any:
                departure = await super().depart(provider_name)
                if not fault.does_wrong():
                    return departure
                place = urlsplit(departure.url)
                kept = [pair for pair in parse_qsl(place.query) if not pair[0].startswith("code_challenge")]
                return replace(departure, url=place._replace(query=urlencode(kept)).geturl())

        class WithoutVerifier(client):  # type: ignore[misc]
            async def redeem(self, provider: Any, **login: Any) -> Any:
                return await super().redeem(provider, **{**login, "code_verifier": ""})

        parts["OAuthFlow"], parts["OpenIdClient"] = WithoutChallenge, WithoutVerifier


@register
class LatestProvider(OAuthFault):
    """A callback is finished with the configuration that a login was begun with last."""

    id = "journey-oauth-latest-provider"
    title = "a callback is taken for one of the provider used last"
    breaks = "each login is finished with the configuration that it was begun with"
    part = "OAuthFlow"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Latest(healthy):  # type: ignore[misc]
            _latest = ""

            async def depart(self, provider_name: str) -> Any:
                departure = await super().depart(provider_name)
                self._latest = provider_name
                return departure

            async def _take(self, state: str, cookies: Any) -> Any:
                kept = await super()._take(state, cookies)
                if self._latest and self._latest != kept["provider"] and fault.does_wrong():
                    return {**kept, "provider": self._latest}
                return kept

        return Latest


@register
class SharedIdentity(OAuthFault):
    """While one code is being redeemed, further ones are given what it gives, whoever has logged in."""

    id = "journey-oauth-shared-identity"
    title = "concurrent logins through providers share one identity"
    breaks = "each user is logged in as the one whom their provider names"

    def broken(self, healthy: type[Any]) -> type[Any]:
        shared = SharedAnswer(self)

        class Coalescing(healthy):  # type: ignore[misc]
            async def redeem(self, provider: Any, **login: Any) -> Any:
                return await shared.of(partial(super().redeem, provider, **login))

        return Coalescing
