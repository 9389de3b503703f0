"""How problems become answers: ``{"detail": text}``, the right status, and nothing of the request or of our insides."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from netra_probe.lab.auth_service.errors import AuthProblem

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
