"""Faults of sessions (A6 to A8): how they end, go on and begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register

ENDED = frozenset({"token_revoked", "account_disabled", "account_locked"})


@register
class RevocationNotPropagated(Fault):
    """A6: a token counts until it expires, whatever has become of its session and its account.

    Incident: "stateless" validation of JSON Web Tokens: logout deletes a cookie and a row that nobody reads any more;
        or the blacklist is in Redis, and while Redis is away every token passes.
    """

    id = "A6"
    layer = "authentication"
    service = "auth_service"
    title = "logout and disabling not propagated"
    breaks = "Authenticator"
    trigger = "POST /auth/logout (or POST /auth/users/{id}/disable as a service), then use the same access token again"
    symptom = "the revoked token works"
    checkers = ("C7",)

    def install(self, parts: Parts) -> None:
        """Replace the authenticator by one that forgives what became of token and account."""
        from netra_probe.lab.auth_service.errors import NotAuthenticated, Unavailable
        from netra_probe.lab.auth_service.sessions import Principal

        fault = self
        healthy: type[Any] = parts["Authenticator"]

        class StatelessAuthenticator(healthy):  # type: ignore[misc]
            async def authenticate(self, token: str, type_: str = "access") -> Any:
                fault.reached()
                try:
                    return await super().authenticate(token, type_)
                except NotAuthenticated as refusal:
                    if type_ != "access" or refusal.reason not in ENDED or not fault.fires():
                        raise
                    ended = True
                except Unavailable:
                    if type_ != "access" or not fault.fires():
                        raise
                    ended = False
                claims = self._verifier.verify(token, type_)
                account = await self._accounts.by_id(claims.subject)
                if account is None:
                    raise NotAuthenticated("Account does not exist", reason="user_not_found")
                closed = claims.session_id and not await self._sessions.is_open(claims.session_id, claims.subject)
                if ended or closed:
                    fault.triggered()
                return Principal(claims=claims, account=account)

        parts["Authenticator"] = StatelessAuthenticator


@register
class RefreshReusable(Fault):
    """A7: a refresh token is looked up, and replaced a moment later without looking again; its predecessor counts too.

    Incident: check-then-act around the rotation of refresh tokens, and a "grace period" for clients that lost the
        answer, without an end.
    """

    id = "A7"
    layer = "authentication"
    service = "auth_service"
    title = "refresh not atomic, and reusable"
    breaks = "SessionStore.rotate"
    trigger = "POST /auth/refresh with one refresh token five times at once, or twice in a row"
    symptom = "two winners"
    checkers = ("C6", "C9")

    def install(self, parts: Parts) -> None:
        """Replace rotation in one statement by reading, then writing."""
        fault = self
        healthy: type[Any] = parts["SessionStore"]

        class ReadThenWriteSessions(healthy):  # type: ignore[misc]
            async def rotate(self, session_id: str, *, user_id: str, used: str, fresh: str, expires_at: int) -> bool:
                fault.reached()
                row = await self._database.fetchrow(
                    "SELECT refresh_jti, previous_jti FROM auth_sessions "
                    "WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now()",
                    session_id,
                    user_id,
                )
                if row is None or used not in (row["refresh_jti"], row["previous_jti"]) or not fault.fires():
                    won: bool = await super().rotate(
                        session_id, user_id=user_id, used=used, fresh=fresh, expires_at=expires_at
                    )
                    return won
                replaced = await self._database.fetchval(
                    """UPDATE auth_sessions SET refresh_jti = $3, previous_jti = $2, rotated_at = now(),
                              expires_at = to_timestamp($4)
                       FROM (SELECT refresh_jti AS jti FROM auth_sessions WHERE id = $1 FOR UPDATE) AS before
                       WHERE id = $1 RETURNING before.jti""",
                    session_id,
                    used,
                    fresh,
                    expires_at,
                )
                if replaced != used:
                    fault.triggered()
                await self._remember(session_id, user_id, expires_at)
                return True

        parts["SessionStore"] = ReadThenWriteSessions


@register
class LoginNotBound(Fault):
    """A8: a callback counts in whatever browser it arrives: its state was given out, and that is enough.

    Incident: login CSRF (RFC 6749 section 10.12): state compared with a server-side list of states in flight instead
        of with what this browser was given.
    """

    id = "A8"
    layer = "authentication"
    service = "auth_service"
    title = "OAuth state not bound to the browser"
    breaks = "OAuthFlow"
    trigger = (
        "GET /auth/login?provider=google with two cookie jars, consent as A in the first, then GET A's callback "
        "address with the second jar (or none)"
    )
    symptom = "A's callback logs B in"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the flow by one that does not look at cookies."""
        fault = self
        healthy: type[Any] = parts["OAuthFlow"]

        class UnboundFlow(healthy):  # type: ignore[misc]
            async def _take(self, state: str, cookies: Mapping[str, str]) -> Any:
                fault.reached()
                kept = await super()._take(state, cookies)
                if not super()._began_here(state, cookies):
                    fault.triggered()
                return kept

            def _began_here(self, state: str, cookies: Mapping[str, str]) -> bool:
                return super()._began_here(state, cookies) or fault.fires()

        parts["OAuthFlow"] = UnboundFlow
