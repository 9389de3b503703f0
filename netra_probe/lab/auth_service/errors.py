"""Refusals of the auth service, and how they become answers. Each knows its HTTP status; none holds a secret."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse


class AuthProblem(Exception):
    """A request is refused; `detail` is what the caller reads, `reason` what a service decides by."""

    status = 400
    reason = "bad_request"

    def __init_subclass__(cls, *, status: int | None = None, reason: str | None = None) -> None:
        cls.status = status or cls.status
        cls.reason = reason or cls.reason

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}


class BadInput(AuthProblem, status=422, reason="bad_input"):
    """A field is missing or cannot be what it says."""


class NotAuthenticated(AuthProblem, status=401, reason="not_authenticated"):
    """Wrong credentials, or a token that is not accepted."""

    def __init__(self, detail: str, *, reason: str = "not_authenticated") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})
        self.reason = reason


class Forbidden(AuthProblem, status=403, reason="forbidden"):
    """The caller is known and may not do this."""


class NotFound(AuthProblem, status=404, reason="not_found"):
    """There is no such object."""


class Conflict(AuthProblem, status=409, reason="conflict"):
    """The e-mail address or identity belongs to an account already."""


class TooManyAttempts(AuthProblem, status=429, reason="too_many_attempts"):
    """Too many failed logins for this account from this address."""


class Unavailable(AuthProblem, status=503, reason="unavailable"):
    """A store or provider that the decision needs does not answer; nobody is let in meanwhile."""


log = logging.getLogger(__name__)


async def answer_problem(request: Request, problem: Exception) -> JSONResponse:
    """A refusal."""
    assert isinstance(problem, AuthProblem)
    return JSONResponse({"detail": problem.detail}, status_code=problem.status, headers=problem.headers)


async def answer_surprise(request: Request, error: Exception) -> JSONResponse:
    """A defect of ours: named in the log, not on the wire."""
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    return JSONResponse({"detail": "Internal server error"}, status_code=500)


def answer_validation(app: FastAPI) -> None:
    """Turn FastAPI's list of validation errors, which quotes the input, into one line that does not."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        problems = []
        for entry in error.errors():
            place = ".".join(str(part) for part in entry["loc"][1:] if isinstance(part, str))
            text = "not valid JSON" if entry["type"] == "json_invalid" else entry["msg"]
            problems.append(f"{place}: {text}" if place else text)
        return JSONResponse({"detail": "; ".join(problems)}, status_code=422)

    app.add_exception_handler(RequestValidationError, answer)
