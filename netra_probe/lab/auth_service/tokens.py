"""JSON Web Tokens: how they are made, and the only way they are read.

HS256, three types (access, refresh, service). RFC 8725 names the traps: the algorithm is ours and never the token's,
every claim is required and compared (``nbf`` where it is given), and keys that a token brings along (``jwk``, ``jku``,
``x5c``, ``kid``) make it refused instead of being looked at.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt

from netra_probe.lab.auth_service.errors import NotAuthenticated
from netra_probe.lab.shared.clock import clock

TokenType = Literal["access", "refresh", "service"]

ALGORITHM = "HS256"
ISSUER = "netra-auth-service"
AUDIENCES: Mapping[str, str] = {
    "access": "netra-platform",
    "refresh": "netra-platform",
    "service": "netra-services",
}
LONGEST = 8192
LONGEST_LIFETIME = 400 * 86_400
"""Seconds beyond which no token of any type is issued: one that says so is none of ours, whoever signed it."""
_REQUIRED = ("sub", "iat", "exp", "iss", "aud", "jti", "type", "token_type", "env")
_ALLOWED_HEADERS = frozenset({"alg", "typ"})


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a verified token says."""

    subject: str
    type: TokenType
    id: str
    issued_at: int
    expires_at: int
    email: str = ""
    permissions: tuple[str, ...] = ()
    session_id: str | None = None
    service: str | None = None


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """A new token and what its issuer must remember of it."""

    text: str = field(repr=False)
    id: str
    expires_at: int
    lifetime: int


class TokenIssuer:
    """Makes tokens."""

    def __init__(
        self, *, secret: Callable[[], str], environment: str, service_id: str, lifetimes: Callable[[str], int]
    ) -> None:
        self._secret = secret
        self._environment = environment
        self._service_id = service_id
        self._lifetimes = lifetimes

    def issue(
        self, type_: TokenType, subject: str, *, lifetime: int | None = None, extra: Mapping[str, Any] | None = None
    ) -> IssuedToken:
        """A token of a type for a subject; `extra` claims go on top of the common ones."""
        now = int(clock.now())
        seconds = lifetime if lifetime is not None else self._lifetimes(type_)
        token_id = str(uuid.uuid4())
        claims: dict[str, Any] = {
            **(extra or {}),
            "sub": subject,
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "token_type": type_,
            "type": type_,
            "iss": ISSUER,
            "aud": AUDIENCES[type_],
            "jti": token_id,
            "env": self._environment,
            "svc_id": self._service_id,
        }
        text = jwt.encode(claims, self._secret(), algorithm=ALGORITHM)
        return IssuedToken(text=text, id=token_id, expires_at=now + seconds, lifetime=seconds)

    def access(
        self,
        subject: str,
        *,
        email: str,
        permissions: Sequence[str],
        session_id: str | None,
        lifetime: int | None = None,
    ) -> IssuedToken:
        """An access token."""
        extra: dict[str, Any] = {"email": email, "permissions": list(permissions)}
        if session_id is not None:
            extra["sid"] = session_id
        return self.issue("access", subject, lifetime=lifetime, extra=extra)


class TokenVerifier:
    """Reads tokens, strictly. Signature and claims only: revocation and accounts are the authenticator's."""

    def __init__(
        self, *, secret: Callable[[], str], environment: str, former_secrets: Callable[[], Sequence[str]] = tuple
    ) -> None:
        self._secret = secret
        self._former_secrets = former_secrets
        self._environment = environment

    def verify(self, token: str, type_: TokenType) -> Claims:
        """The claims of a token of the wanted type, or NotAuthenticated with the reason."""
        if not token or len(token) > LONGEST or not token.isascii():
            raise NotAuthenticated("Invalid token", reason="invalid_token")
        try:
            payload = self._decode(token, type_)
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("Token has expired", reason="token_expired") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise NotAuthenticated("Invalid token", reason="invalid_token") from None
        if payload["type"] != type_ or payload["token_type"] != type_:
            raise NotAuthenticated("Invalid token type", reason="invalid_token_type")
        if payload["env"] != self._environment:
            raise NotAuthenticated("Token belongs to another environment", reason="invalid_environment")
        return _claims(payload, type_)

    def _decode(self, token: str, type_: TokenType) -> dict[str, Any]:
        """The payload of a token whose signature and standard claims hold."""
        header = jwt.get_unverified_header(token)
        if header.get("alg") != ALGORITHM or not _ALLOWED_HEADERS.issuperset(header):
            raise NotAuthenticated("Invalid token", reason="invalid_token")
        payload = self._verified(token, type_, self._secret(), *self._former_secrets())
        _check_times(payload)
        return payload

    def _verified(self, token: str, type_: TokenType, secret: str, *former: str) -> dict[str, Any]:
        """The payload, if it was signed with the secret, or with one that was replaced a short while ago."""
        try:
            payload: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCES[type_],
                issuer=ISSUER,
                options={
                    "require": list(_REQUIRED),
                    "strict_aud": True,
                    "verify_signature": True,
                    # times are compared with the clock of the service, below
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidSignatureError:
            if not former:
                raise
            return self._verified(token, type_, *former)
        return payload


def _check_times(payload: Mapping[str, Any]) -> None:
    """Compare expiry and beginning with the clock of this service."""
    now = clock.now()
    moments = {name: payload[name] for name in ("exp", "nbf", "iat") if name in payload}
    if not all(isinstance(moment, int) and not isinstance(moment, bool) for moment in moments.values()):
        raise jwt.DecodeError("times are whole numbers")
    if moments["exp"] <= now:
        raise jwt.ExpiredSignatureError("expired")
    if moments["exp"] - moments["iat"] > LONGEST_LIFETIME:
        raise jwt.DecodeError("nothing is issued for so long")
    if max(moments["iat"], moments.get("nbf", 0)) > now:
        raise jwt.ImmatureSignatureError("not valid yet")


def _claims(payload: Mapping[str, Any], type_: TokenType) -> Claims:
    optional = [payload.get(name, "") for name in ("email", "sid", "service")]
    texts = [payload["sub"], payload["jti"], *optional]
    times = [payload["iat"], payload["exp"], payload.get("nbf", 0)]
    permissions = payload.get("permissions", [])
    well_formed = (
        all(isinstance(text, str) and text.isprintable() for text in texts)
        and all(isinstance(moment, int) and not isinstance(moment, bool) for moment in times)
        and isinstance(permissions, list)
        and all(isinstance(permission, str) for permission in permissions)
        and payload["sub"]
        and payload["jti"]
    )
    if not well_formed:
        raise NotAuthenticated("Invalid token", reason="invalid_token")
    return Claims(
        subject=payload["sub"],
        type=type_,
        id=payload["jti"],
        issued_at=payload["iat"],
        expires_at=payload["exp"],
        email=payload.get("email", ""),
        permissions=tuple(permissions),
        session_id=payload.get("sid"),
        service=payload.get("service"),
    )
