"""Faults of token verification (A1 to A5): what a token says is believed where it has to be proved."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt

from netra_probe.lab.faults.unproved_claims import (
    claimed_type,
    header,
    right_but_for_signature,
    signed_claims,
    signed_with_brought_key,
)
from netra_probe.lab.shared.faults import Fault, Parts, register


def _lenient(
    fault: Fault,
    healthy: Any,
    excuse: Callable[[Any, str, str], dict[str, Any] | None],
    *,
    refused: type[Exception] = Exception,
) -> Any:
    """A verifier that takes the claims which the excuse finds in a token that the healthy one refuses."""

    class LenientVerifier(healthy):  # type: ignore[misc]
        def _decode(self, token: str, type_: str) -> dict[str, Any]:
            fault.reached()
            try:
                payload: dict[str, Any] = super()._decode(token, type_)
                return payload
            except refused:
                claims = excuse(self, token, type_)
                if claims is None or not fault.fires():
                    raise
                fault.triggered()
                return claims

    return LenientVerifier


@register
class SignatureNotChecked(Fault):
    """A1: a token counts without a signature, or with any: claims are decoded and not verified.

    Incident: CVE-2015-9235 and its kin (``alg: none``), and gateways that decode a token "for the user id" with
        verification switched off because "the edge has checked it".
    """

    id = "A1"
    layer = "authentication"
    service = "auth_service"
    title = "alg none accepted, signature not checked"
    breaks = "TokenVerifier"
    trigger = "send a token whose sub is another user's id, with alg none and no signature or with a wrong signature"
    symptom = "the forged sub is accepted everywhere"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the verifier by one that accepts claims on their word when the signature fails."""

        def excuse(verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
            return right_but_for_signature(token, type_) if {"alg", "typ"}.issuperset(header(token)) else None

        parts["TokenVerifier"] = _lenient(self, parts["TokenVerifier"], excuse)


@register
class KeyFromToken(Fault):
    """A2: the key that verifies a token comes from the token: ``jwk``, ``x5c``, a path in ``kid``, or an empty key.

    Incident: CVE-2018-0114 (embedded ``jwk`` trusted), CVE-2016-10555 (algorithm taken from the token), directory
        traversal through ``kid``, CVE-2019-20933 (empty shared secret).
    """

    id = "A2"
    layer = "authentication"
    service = "auth_service"
    title = "key confusion: the token brings its own key"
    breaks = "TokenVerifier"
    trigger = (
        "send a token whose sub is another user's id, signed with your own key and that key as header jwk (RSA, EC, "
        "oct) or x5c, or HS256 with an empty key (with kid empty, kid ../../dev/null, or without kid)"
    )
    symptom = "a token signed by the tester is accepted"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the verifier by one that looks for the key in the header."""

        def excuse(verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
            return right_but_for_signature(token, type_) if signed_with_brought_key(token) else None

        parts["TokenVerifier"] = _lenient(self, parts["TokenVerifier"], excuse)


@register
class TimeIgnored(Fault):
    """A3: ``exp`` and ``nbf`` are not looked at.

    Incident: verification with ``verify_exp=False``, left over from a test against a fixed clock or set to silence
        clock skew between hosts.
    """

    id = "A3"
    layer = "authentication"
    service = "auth_service"
    title = "exp and nbf ignored"
    breaks = "TokenVerifier"
    trigger = (
        "use a token after its exp: wait for one ordered with POST /auth/create-token {expires_in: 1}, or sign one "
        "with the real key and exp in the past, missing or null, or nbf in the future"
    )
    symptom = "the old token lives"
    checkers = ("C6", "C7")

    def install(self, parts: Parts) -> None:
        """Replace the verifier by one without a clock."""

        def excuse(verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
            claims = signed_claims(token, verifier._secret(), type_, {"verify_exp": False, "verify_nbf": False})
            if claims is None:
                return None
            if not isinstance(claims.get("exp"), int):
                claims["exp"] = int(time.time()) + 86_400
            return {name: value for name, value in claims.items() if name != "nbf"}

        parts["TokenVerifier"] = _lenient(self, parts["TokenVerifier"], excuse, refused=jwt.PyJWTError)


@register
class PurposeIgnored(Fault):
    """A4: neither audience nor issuer nor type of a token is compared with what is wanted.

    Incident: a refresh or service token accepted as an access token (RFC 8725 §2.8, cross-JWT confusion), one shared
        secret being all that is checked.
    """

    id = "A4"
    layer = "authentication"
    service = "auth_service"
    title = "aud, iss and type ignored"
    breaks = "TokenVerifier and Authenticator"
    trigger = (
        "send your refresh token, or one of POST /auth/service-token, as Bearer; or sign an access token with the real "
        "key and another aud or iss"
    )
    symptom = "a refresh or service token works as an access token"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace verifier and authenticator by ones that ask only who signed."""
        fault = self
        authenticator: type[Any] = parts["Authenticator"]

        class AnyTypeAuthenticator(authenticator):  # type: ignore[misc]
            async def authenticate(self, token: str, type_: str = "access") -> Any:
                own = claimed_type(token)
                if own in (None, type_) or not fault.fires():
                    return await super().authenticate(token, type_)
                principal = await super().authenticate(token, own)
                fault.triggered()
                return principal

        def excuse(verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
            return signed_claims(token, verifier._secret(), type_, {"verify_aud": False, "verify_iss": False})

        parts["TokenVerifier"] = _lenient(self, parts["TokenVerifier"], excuse, refused=jwt.PyJWTError)
        parts["Authenticator"] = AnyTypeAuthenticator


@register
class VerifiedByPrefix(Fault):
    """A5: verified tokens are cached under their first part, which ends before the signature.

    Incident: validation caches keyed by a shortened token, for the sake of key lengths (memcached: 250 bytes) or to
        keep signatures out of the cache.
    """

    id = "A5"
    layer = "authentication"
    service = "auth_service"
    title = "validation cache keyed by token prefix"
    breaks = "TokenVerifier"
    trigger = "use a token of A once, then send it again with the last characters of its signature changed"
    symptom = "B answers as A"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the verifier by one that remembers what it verified, by prefix."""
        fault = self
        healthy: type[Any] = parts["TokenVerifier"]
        verified: dict[str, tuple[str, Any]] = {}

        class PrefixCachingVerifier(healthy):  # type: ignore[misc]
            def verify(self, token: str, type_: str) -> Any:
                fault.reached()
                prefix = token.rpartition(".")[0]
                known, claims = verified.get(prefix, (token, None))
                fresh = claims is not None and claims.type == type_ and claims.expires_at > time.time()
                if fresh and (known == token or fault.fires()):
                    if known != token:
                        fault.triggered()
                    return claims
                claims = super().verify(token, type_)
                verified[prefix] = (token, claims)
                return claims

        parts["TokenVerifier"] = PrefixCachingVerifier


@register
class ClaimsByPieces(Fault):
    """A12: issuer and audience are looked for inside the right ones instead of being compared with them.

    Incident: CVE-2024-53861 (PyJWT 2.10.0): the issuer was looked up in a sequence, and a text is a sequence.
    """

    id = "A12"
    layer = "authentication"
    service = "auth_service"
    title = "issuer and audience compared as substrings"
    breaks = "TokenVerifier"
    trigger = "sign a token with the real key and iss netra, or another piece of the right iss or aud"
    symptom = "a token with a piece of the right issuer or audience is accepted"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the verifier by one that asks whether the claim is in the right value."""
        from netra_probe.lab.auth_service.tokens import AUDIENCES, ISSUER

        fault = self
        healthy: type[Any] = parts["TokenVerifier"]

        def inside(claims: dict[str, Any], type_: str) -> bool:
            wanted = {"iss": ISSUER, "aud": AUDIENCES[type_]}
            return all(isinstance(claims.get(name), str) and claims[name] in text for name, text in wanted.items())

        class SubstringVerifier(healthy):  # type: ignore[misc]
            def _decode(self, token: str, type_: str) -> dict[str, Any]:
                fault.reached()
                try:
                    payload: dict[str, Any] = super()._decode(token, type_)
                    return payload
                except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
                    unchecked = {"verify_aud": False, "verify_iss": False}
                    claims = signed_claims(token, self._secret(), type_, unchecked)  # type: ignore[arg-type]
                    if claims is None or not inside(claims, type_) or not fault.fires():
                        raise
                    fault.triggered()
                    return claims

        parts["TokenVerifier"] = SubstringVerifier
