"""What a target offers, and clients of a user at a backend of one's choice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netra_probe.clients.rest import BackendClient

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

_NAME = re.compile(r"\{[^}]*\}")


def supported_route(probe: Investigation, method: str, *candidates: str) -> str:
    """The first of these routes that the backend says it has; names in braces do not matter. "" when it has none.

    A backend that does not publish its routes is believed to have the first one: trying shows.
    """
    published = {(verb, _NAME.sub("{}", path)) for verb, path in probe.routes.backend}
    if not published:
        return candidates[0] if candidates else ""
    return next((route for route in candidates if (method, _NAME.sub("{}", route)) in published), "")


def backend_client(probe: Investigation, user: User, backend: int) -> BackendClient:
    """A client of the user at the backend with this number, over connections of its own."""
    urls = probe.target.backend_urls
    number = backend % len(urls)
    http = probe.wire.http(urls[number], surface="rest", user=user.name, backend=f"backend-{number + 1}")
    http.token = user.rest.http.token
    http.keeper = user
    http.detour = user.detour
    return BackendClient(http)
