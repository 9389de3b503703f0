"""What other services tell the backend; they prove themselves with the service credentials."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel, Field

from netra_probe.lab.backend.errors import NotAuthenticated
from netra_probe.lab.backend.routes.caller import AnyServices


class AuthEventBody(BaseModel):
    """Something happened to a user in the auth service."""

    event: Annotated[str, Field(min_length=1, max_length=100)]
    user_id: Annotated[str, Field(min_length=1, max_length=200)]


async def auth_event(
    services: AnyServices,
    body: AuthEventBody,
    x_service_id: Annotated[str, Header()] = "",
    x_service_secret: Annotated[str, Header()] = "",
) -> dict[str, str]:
    """Take an event of the auth service."""
    settings = services.settings
    known = hmac.compare_digest(x_service_id.encode(), settings.service_id.encode())
    given = x_service_secret.encode()
    right = [hmac.compare_digest(given, secret.encode()) for secret in settings.service_secrets()]
    if not known or not any(right):
        raise NotAuthenticated("Service credentials are required.")
    await services.chat.take_auth_event(body.event, body.user_id)
    return {"status": "taken"}
