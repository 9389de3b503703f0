"""Refusals of the auth service. Each knows its HTTP status; none holds a password, a token or a header."""

from __future__ import annotations


class AuthProblem(Exception):
    """A request is refused; `detail` is what the caller reads, `reason` what a service decides by."""

    status = 400
    reason = "bad_request"

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}


class BadInput(AuthProblem):
    """A field is missing or cannot be what it says."""

    status = 422
    reason = "bad_input"


class NotAuthenticated(AuthProblem):
    """Wrong credentials, or a token that is not accepted."""

    status = 401
    reason = "not_authenticated"

    def __init__(self, detail: str, *, reason: str = "not_authenticated") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})
        self.reason = reason


class Forbidden(AuthProblem):
    """The caller is known and may not do this."""

    status = 403
    reason = "forbidden"


class NotFound(AuthProblem):
    """There is no such object."""

    status = 404
    reason = "not_found"


class Conflict(AuthProblem):
    """The e-mail address or identity belongs to an account already."""

    status = 409
    reason = "conflict"


class TooManyAttempts(AuthProblem):
    """Too many failed logins for this account from this address."""

    status = 429
    reason = "too_many_attempts"


class Unavailable(AuthProblem):
    """A store or provider that the decision needs does not answer; nobody is let in meanwhile."""

    status = 503
    reason = "unavailable"
