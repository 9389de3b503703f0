"""The routes of the auth service; each is a part of its own, named ``"<METHOD> <path>"``, that a fault can replace."""

from __future__ import annotations

from netra_probe.lab.auth_service.routes.accounts import ENDPOINTS as ACCOUNTS
from netra_probe.lab.auth_service.routes.endpoint import Endpoint
from netra_probe.lab.auth_service.routes.federation import ENDPOINTS as FEDERATION
from netra_probe.lab.auth_service.routes.health import ENDPOINTS as HEALTH
from netra_probe.lab.auth_service.routes.introspection import ENDPOINTS as INTROSPECTION
from netra_probe.lab.auth_service.routes.services import ENDPOINTS as SERVICES

ENDPOINTS: tuple[Endpoint, ...] = (*HEALTH, *ACCOUNTS, *FEDERATION, *INTROSPECTION, *SERVICES)
