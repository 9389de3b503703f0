"""The auth service, as a client of one user sees it (netra-wire §2)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Reply, body_of, from_api
from netra_probe.forgery.tokens import claims_of
from netra_probe.history.secret import Secret
from netra_probe.history.untrusted import number


class AuthClient:
    """Register, log in, refresh, log out and ask who one is, keeping the user's tokens.

    >>> reply = await auth.register(email="a@example.org", password=Secret("…"), name="Alice")   # doctest: +SKIP

    Arguments:
        credential: what the history calls this session, where its user has several: ``alice-2``.
    """

    def __init__(self, http: Http, *, credential: str | None = None) -> None:
        self.http = http
        self.credential = credential
        self.access: Secret | None = None
        self.refreshing: Secret | None = None
        self.user_id: str | None = None
        #: When the access token was given out, by our own clock, and how many seconds it lives, where it says so.
        self._since, self.lifetime = 0.0, 0.0
        #: Whether the session was ended on purpose: then nobody renews it.
        self.ended = False

    async def register(self, *, email: str, password: Secret, name: str) -> Reply:
        """Create an account; on success the client is logged in."""
        body = {"email": email, "password": password.reveal(), "name": name}
        return self._keep(await self.http.request("POST", "/auth/register", json=body, anonymous=True))

    async def login(self, *, email: str, password: Secret) -> Reply:
        """Log in with a password; on success the client holds the new pair of tokens."""
        body = {"email": email, "password": password.reveal()}
        return self._keep(await self.http.request("POST", "/auth/login", json=body, anonymous=True))

    async def refresh(self) -> Reply:
        """Exchange the refresh token for a new pair; the old one is used up."""
        body = {"refresh_token": self.refreshing.reveal() if self.refreshing else ""}
        return self._keep(await self.http.request("POST", "/auth/refresh", json=body, anonymous=True))

    async def logout(self) -> Reply:
        """End the session; the tokens are kept, so that a case can show that they no longer work."""
        reply = await self.http.request("POST", "/auth/logout", attempt=self.mark)
        self.ended = self.ended or bool(reply)
        return reply

    @property
    def left(self) -> float:
        """The share of the access token's life that is left: 1.0 where it does not say how long it lives."""
        return 1.0 - (time.monotonic() - self._since) / self.lifetime if self.lifetime > 0 else 1.0

    @property
    def seconds_left(self) -> float:
        """The seconds for which the access token is good; endless where it does not say."""
        return self.lifetime * self.left if self.lifetime > 0 else math.inf

    async def me(self, *, token: Secret | None = None) -> Reply:
        """Who the service says one is."""
        return from_api(await self.http.request("GET", "/auth/me", token=token))

    async def verify(self, *, token: Secret | None = None) -> Reply:
        """Whether the service accepts the token, and as whom."""
        return from_api(await self.http.request("GET", "/auth/verify", token=token))

    async def validate(self, token: Secret) -> Reply:
        """What the service reports about a token."""
        return await self.http.request("POST", "/auth/validate", json={"token": token.reveal()}, anonymous=True)

    @property
    def mark(self) -> dict[str, Any]:
        """What an operation says in its detail of the credential that it uses."""
        return {} if self.credential is None else {"credential": self.credential}

    def _keep(self, reply: Reply) -> Reply:
        reply = from_api(reply)
        self.take(body_of(reply))
        return reply

    def take(self, body: Mapping[str, Any]) -> None:
        """Hold the pair of tokens that a service has given, in an answer or in the address of a front end."""
        if isinstance(body.get("access_token"), str):
            self.access = self._secret(body["access_token"], "access-token")
            self.http.token = self.access
            self._since, self.lifetime = time.monotonic(), _lifetime(self.access, body.get("expires_in"))
            self.ended = False
        if isinstance(body.get("refresh_token"), str):
            self.refreshing = self._secret(body["refresh_token"], "refresh-token")
        user = body.get("user")
        if isinstance(user, dict) and isinstance(user.get("id"), str):
            self.user_id = user["id"]

    def _secret(self, value: str, kind: str) -> Secret:
        if len(value) >= 6 and not value.startswith("eyJ"):
            self.http.history.redactor.know(value, kind)
        return Secret(value)


def _lifetime(token: Secret, stated: Any) -> float:
    """How many seconds a token lives: by its own claims, else by what was said of it; 0.0 where nothing tells."""
    try:
        claims = claims_of(token)
    except ValueError:
        claims = {}
    begin, end = number(claims.get("iat")), number(claims.get("exp"))
    return end - begin if begin is not None and end is not None else number(stated) or 0.0
