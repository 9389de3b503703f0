"""Defects of looking at tokens: each is shown by one kind of forgery only, and none disturbs the others."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

import jwt

from netra_probe.lab.shared.faults import Fault, Parts

#: An example of a guide to self-hosting, as it is published.
PUBLISHED = "your-super-secret-jwt-token-with-at-least-32-characters-long"


def unchecked(token: str) -> dict[str, Any]:
    """What a token says, whoever wrote it."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


class TokenFault(Fault):
    """A defect of the auth service's verifier."""

    service = "auth_service"

    def install(self, parts: Parts) -> None:
        fault = self
        healthy: type[Any] = parts["TokenVerifier"]

        class Careless(healthy):  # type: ignore[misc]
            def _decode(self, token: str, type_: str) -> dict[str, Any]:
                fault.reached()
                try:
                    payload: dict[str, Any] = super()._decode(token, type_)
                    return payload
                except jwt.PyJWTError:
                    claims = fault.believed(self, token, type_)
                    if claims is None:
                        raise
                    fault.triggered()
                    return claims
                except Exception:  # the header was refused
                    claims = fault.believed(self, token, type_)
                    if claims is None:
                        raise
                    fault.triggered()
                    return claims

        parts["TokenVerifier"] = Careless

    def believed(self, verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
        """The claims of a token that should have been refused, where they are believed."""
        raise NotImplementedError


class AnyLifetime(TokenFault):
    """T-LONG: a signature and an end in the future are enough, however far away it is."""

    id = "T-LONG"

    def believed(self, verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = verifier._verified(token, type_, verifier._secret())
        except jwt.PyJWTError:
            return None
        times = [claims.get(name) for name in ("exp", "iat", "nbf")]
        if not all(type(moment) is int for moment in times):
            return None
        long = times[0] - times[1] > 86_400 * 400
        return claims if long and times[0] > time.time() > max(times[1:]) - 5 else None


class OldTokens(TokenFault):
    """T-OLD: tokens from before there were sessions are not looked at any more closely."""

    id = "T-OLD"

    def believed(self, verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
        try:
            claims = unchecked(token)
        except jwt.PyJWTError:
            return None
        current = isinstance(claims.get("exp"), int) and claims["exp"] > time.time()
        return claims if current and "sid" not in claims and claims.get("email") else None


class Administrators(TokenFault):
    """T-ADMIN: who is an administrator is let in another way, which has no lock."""

    id = "T-ADMIN"

    def believed(self, verifier: Any, token: str, type_: str) -> dict[str, Any] | None:
        try:
            claims = unchecked(token)
        except jwt.PyJWTError:
            return None
        return claims if "admin" in (claims.get("permissions") or ()) else None


class AnySession(Fault):
    """T-SESSION: a session that is in no table is one that is not there yet."""

    id = "T-SESSION"
    service = "auth_service"

    def install(self, parts: Parts) -> None:
        fault = self
        healthy: type[Any] = parts["SessionStore"]

        class Trusting(healthy):  # type: ignore[misc]
            async def is_open(self, session_id: str, user_id: str) -> bool:
                fault.reached()
                known = await self._database.fetchval("SELECT count(*) FROM auth_sessions WHERE id = $1", session_id)
                if known:
                    return bool(await super().is_open(session_id, user_id))
                fault.triggered()
                return True

        parts["SessionStore"] = Trusting


class PublishedKey(Fault):
    """T-KEY: the signing key is the one of the guide."""

    id = "T-KEY"
    service = "auth_service"

    def install(self, parts: Parts) -> None:
        for name in ("TokenIssuer", "TokenVerifier"):
            healthy: type[Any] = parts[name]

            class Published(healthy):  # type: ignore[misc, valid-type]
                def __init__(self, *, secret: Any, **rest: Any) -> None:
                    super().__init__(secret=lambda: PUBLISHED, **rest)

            parts[name] = Published


_PAST: ContextVar[bool] = ContextVar("past the lock", default=False)


class PathsOfProxies(Fault):
    """T-PROXY: what a proxy says of the path, or of the sender, decides whether a token is looked at."""

    id = "T-PROXY"

    def install(self, parts: Parts) -> None:
        fault = self
        service: type[Any] = parts["UnifiedAuthenticationService"]

        class Believing:
            def __init__(self, app: Any) -> None:
                self._app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                headers = dict(scope.get("headers") or ())
                fault.reached()
                _PAST.set(
                    headers.get(b"x-original-url") == b"/health" or headers.get(b"x-forwarded-for") == b"127.0.0.1"
                )
                await self._app(scope, receive, send)

        class Skipping(service):  # type: ignore[misc]
            async def _ask(self, token: str, token_type: str) -> Any:
                answer = await super()._ask(token, token_type)
                if answer.get("valid") or not _PAST.get():
                    return answer
                fault.triggered()
                claims = unchecked(token)
                return {"valid": True, "user_id": claims["sub"], "email": "", "permissions": []}

        parts["middleware"] = [*parts["middleware"], Believing]
        parts["UnifiedAuthenticationService"] = Skipping
