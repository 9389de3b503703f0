"""Caller: the authenticated user of one REST request, with the components bound to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from netra_probe.lab.backend.data_access_factory import UserData
from netra_probe.lab.backend.services import Services
from netra_probe.lab.backend.unified_authentication_service import Principal, bearer_token


def services_of(request: Request) -> Services:
    """The assembled backend behind this request."""
    services: Services = request.app.state.services
    return services


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever sent this request, as the auth service says."""

    principal: Principal
    services: Services
    data: UserData

    async def ensure_profile(self) -> None:
        """Make the caller's row and seed their data, before their first write."""
        await self.data.profile.ensure(self.principal.email)


async def current_caller(request: Request) -> Caller:
    """Authenticate the request and count it against the caller's quota."""
    services = services_of(request)
    principal = await services.authentication.authenticate_token(bearer_token(request.headers.get("authorization")))
    limits = services.settings.limits
    await services.limiter.check(principal.user_id, "rest", limit=limits.rest_requests)
    thread_id: Any = request.path_params.get("thread_id")
    data = services.chat.data_of(principal, thread_id=thread_id if is_plain_id(thread_id) else None)
    return Caller(principal=principal, services=services, data=data)


def is_plain_id(value: object) -> bool:
    """True for something shaped like one of our thread ids."""
    return isinstance(value, str) and value.startswith("thread_") and value.isidentifier()


CurrentCaller = Annotated[Caller, Depends(current_caller)]
AnyServices = Annotated[Services, Depends(services_of)]
