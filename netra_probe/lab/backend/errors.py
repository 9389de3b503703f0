"""Refusals and failures the backend answers with, the same on REST, on sockets and inside agents.

::

    BackendError
    ├── NotAuthenticated     401   no token, or one the auth service does not accept
    ├── Forbidden            403   the object exists and belongs to somebody else
    ├── PermissionMissing    403   the caller lacks a permission
    ├── NotFound             404
    ├── Conflict             409
    ├── InvalidRequest       422
    ├── RateLimited          429
    └── DependencyDown       503   PostgreSQL, Redis, the auth service or the LLM cannot be reached
"""

from __future__ import annotations


class BackendError(Exception):
    """A refusal or failure with an HTTP status, a stable code and a sentence a person can act on."""

    status = 500
    code = "INTERNAL_ERROR"

    def __init_subclass__(cls, *, status: int | None = None, code: str | None = None) -> None:
        cls.status = status or cls.status
        cls.code = code or cls.code

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class NotAuthenticated(BackendError, status=401, code="AUTH_FAILED"):
    """The caller brought no token, or one that the auth service does not accept."""


class Forbidden(BackendError, status=403, code="FORBIDDEN"):
    """The object exists and belongs to somebody else."""


class PermissionMissing(Forbidden, code="PERMISSION_DENIED"):
    """The caller is known but lacks the permission that this operation asks for."""


class NotFound(BackendError, status=404, code="NOT_FOUND"):
    """No such object."""


class Conflict(BackendError, status=409, code="CONFLICT"):
    """The request contradicts the present state."""


class InvalidRequest(BackendError, status=422, code="INVALID_REQUEST"):
    """The request cannot be understood or breaks a limit."""


class RateLimited(BackendError, status=429, code="RATE_LIMITED"):
    """The caller exceeded their own quota; others are not affected."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DependencyDown(BackendError, status=503, code="DEPENDENCY_DOWN"):
    """A service that the backend needs cannot be reached."""
