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

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class NotAuthenticated(BackendError):
    """The caller brought no token, or one that the auth service does not accept."""

    status = 401
    code = "AUTH_FAILED"


class Forbidden(BackendError):
    """The object exists and belongs to somebody else."""

    status = 403
    code = "FORBIDDEN"


class PermissionMissing(Forbidden):
    """The caller is known but lacks the permission that this operation asks for."""

    code = "PERMISSION_DENIED"


class NotFound(BackendError):
    """No such object."""

    status = 404
    code = "NOT_FOUND"


class Conflict(BackendError):
    """The request contradicts the present state."""

    status = 409
    code = "CONFLICT"


class InvalidRequest(BackendError):
    """The request cannot be understood or breaks a limit."""

    status = 422
    code = "INVALID_REQUEST"


class RateLimited(BackendError):
    """The caller exceeded their own quota; others are not affected."""

    status = 429
    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DependencyDown(BackendError):
    """A service that the backend needs cannot be reached."""

    status = 503
    code = "DEPENDENCY_DOWN"
