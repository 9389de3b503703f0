"""Defects of hygiene in the auth service: one for each rule, none of which leaks anybody's data."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts

INSIDE = (
    'Traceback (most recent call last):\n  File "/srv/netra/accounts.py", line 41, in by_id\n'
    'asyncpg.exceptions.UndefinedColumnError: column "idd" does not exist\n'
    "SELECT idd FROM auth_users WHERE id = 7; postgresql://netra:hunter2hunter2@db/netra"
)


class AuthFault(Fault):
    """A defect of the auth service."""

    service = "auth_service"

    def answer(self, parts: Parts, name: str, change: Any) -> None:
        """Change what a handler answers."""
        healthy = parts[name]

        @functools.wraps(healthy)
        async def changed(**arguments: Any) -> Any:
            self.reached()
            body = await healthy(**arguments)
            self.triggered()
            return change(body)

        parts[name] = changed


class StatedTooLong(AuthFault):
    """The lifetime that a log-in states is four times the token's."""

    id = "Q-STATED"

    def install(self, parts: Parts) -> None:
        self.answer(parts, "POST /auth/login", lambda body: {**body, "expires_in": body["expires_in"] * 4})


class CarelessRefreshToken(AuthFault):
    """Refresh tokens are unsigned, endless, for anybody, hold a password, and are the same for every log-in."""

    id = "Q-REFRESH"

    def install(self, parts: Parts) -> None:
        def careless(body: dict[str, Any]) -> dict[str, Any]:
            claims = {"sub": body["user"]["id"], "password": "in the clear"}
            head, middle = (_b64(part) for part in ({"alg": "none", "typ": "JWT"}, claims))
            return {**body, "refresh_token": f"{head}.{middle}."}

        self.answer(parts, "POST /auth/login", careless)


class CarelessBrowserLogin(AuthFault):
    """The cookie of a provider's log-in is open to scripts and sites; the way back has tokens in its query."""

    id = "Q-BROWSER"

    def install(self, parts: Parts) -> None:
        def bare(answer: Any) -> Any:
            answer.headers["set-cookie"] = answer.headers["set-cookie"].split(";")[0] + "; Path=/auth"
            return answer

        def by_query(answer: Any) -> Any:
            answer.headers["location"] = answer.headers["location"].replace("#", "?")
            return answer

        self.answer(parts, "GET /auth/login", bare)
        self.answer(parts, "GET /auth/callback", by_query)


class OpenHeaders(AuthFault):
    """Answers may be cached, be read by every origin, and tell which software made them."""

    id = "Q-HEADERS"

    def install(self, parts: Parts) -> None:
        healthy = parts["middleware"]

        class Telling:
            def __init__(self, app: Any) -> None:
                self._app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                async def told(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        kept = [pair for pair in message["headers"] if pair[0] != b"cache-control"]
                        more = [(b"server", b"netra/1.14.2"), (b"access-control-allow-origin", b"*")]
                        message = {**message, "headers": [*kept, *more]}
                    await send(message)

                await self._app(scope, receive, told if scope["type"] == "http" else send)

        def stack(frontend_url: str) -> Any:
            from starlette.middleware import Middleware

            return [Middleware(Telling), *healthy(frontend_url)]

        parts["middleware"] = stack


class TellingErrors(AuthFault):
    """A refused token is repeated, an id with a quote shows the inside, and answers hold the password's hash."""

    id = "Q-ERRORS"

    def install(self, parts: Parts) -> None:
        from starlette.responses import JSONResponse

        from netra_probe.lab.auth_service.errors import NotAuthenticated

        authenticator: type[Any] = parts["Authenticator"]
        healthy = parts["GET /auth/users/{user_id}"]

        class Repeating(authenticator):  # type: ignore[misc]
            async def authenticate(self, token: str, *more: Any, **options: Any) -> Any:
                try:
                    return await super().authenticate(token, *more, **options)
                except NotAuthenticated as refusal:
                    raise NotAuthenticated(f"Invalid token {token[:20]}…", reason=refusal.reason) from None

        @functools.wraps(healthy)
        async def telling(**arguments: Any) -> Any:
            if not arguments["user_id"].isascii() or "'" in arguments["user_id"]:
                return JSONResponse({"detail": INSIDE}, status_code=500)
            return {**await healthy(**arguments), "password_hash": "$argon2id$v=19$m=65536"}

        parts["Authenticator"] = Repeating
        parts["GET /auth/users/{user_id}"] = telling


class CarelessAccounts(AuthFault):
    """Any password goes, addresses count by their case, log-ins tell who has an account, and one may guess."""

    id = "Q-ACCOUNTS"

    def install(self, parts: Parts) -> None:
        from netra_probe.lab.auth_service.errors import Conflict, NotFound

        accounts: type[Any] = parts["AccountStore"]
        logins: type[Any] = parts["LoginService"]
        hasher: type[Any] = parts["PasswordHasher"]
        throttle: type[Any] = parts["LoginThrottle"]

        class ByCase(accounts):  # type: ignore[misc]
            async def create(self, *, email: str, **more: Any) -> Any:
                try:
                    return await super().create(email=email, **more)
                except Conflict:
                    return await super().create(email=f"other.{email}", **more)

            async def by_email(self, email: str) -> Any:
                other = await super().by_email(f"other.{email}") if email != email.lower() else None
                return other or await super().by_email(email)

        class AnyPassword(logins):  # type: ignore[misc]
            async def register(self, *, email: str, password: str, name: str, caller: Any) -> Any:
                account = await self._accounts.create(
                    email=email, name=name, password_hash=await self._passwords.hash(password)
                )
                return await self.start_session(account, caller)

            async def log_in(self, *, email: str, password: str, caller: Any) -> Any:
                if await self._find(email) is None:
                    raise NotFound("There is no account with this address.")
                return await super().log_in(email=email, password=password, caller=caller)

        class Cutting(hasher):  # type: ignore[misc]
            async def hash(self, password: str) -> Any:
                return await super().hash(password[:72])

            async def verify(self, encoded: Any, password: str) -> Any:
                return await super().verify(encoded, password[:72])

        class NoBrake(throttle):  # type: ignore[misc]
            async def check(self, email: str, address: str) -> None:
                self._failures = 1_000_000

        parts["AccountStore"] = ByCase
        parts["LoginService"] = AnyPassword
        parts["PasswordHasher"] = Cutting
        parts["LoginThrottle"] = NoBrake


class ShortPasswordsOnly(AuthFault):
    """Passwords of more than 64 characters are refused, and log-ins refuse unknown addresses in other words."""

    id = "Q-SHORT"

    def install(self, parts: Parts) -> None:
        from netra_probe.lab.auth_service.errors import BadInput, NotAuthenticated

        logins: type[Any] = parts["LoginService"]

        class OnlyShort(logins):  # type: ignore[misc]
            async def register(self, *, password: str, **more: Any) -> Any:
                if len(password) > 64:
                    raise BadInput("password: too long")
                return await super().register(password=password, **more)

            async def log_in(self, *, email: str, **more: Any) -> Any:
                if await self._find(email) is None:
                    raise NotAuthenticated("No such user")
                return await super().log_in(email=email, **more)

        parts["LoginService"] = OnlyShort


class ForgivenReuse(AuthFault):
    """A used refresh token that comes back is refused, and has no other consequence."""

    id = "Q-REUSE"

    def install(self, parts: Parts) -> None:
        store: type[Any] = parts["SessionStore"]

        class Forgiving(store):  # type: ignore[misc]
            async def rotate(self, *arguments: Any, **options: Any) -> Any:
                self._grace = 1e6
                return await super().rotate(*arguments, **options)

        parts["SessionStore"] = Forgiving


class SelfContradiction(AuthFault):
    """Health is well, although one of its parts is not."""

    id = "Q-CONTRADICTION"

    def install(self, parts: Parts) -> None:
        async def well() -> dict[str, Any]:
            return {"status": "healthy", "database": "connected", "redis": "unreachable"}

        parts["GET /health"] = well


def _b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
