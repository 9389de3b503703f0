"""Asking each service of a target what it offers."""

from __future__ import annotations

from dataclasses import dataclass

from netra_probe.clients.replies import Answered
from netra_probe.investigation.context import InvestigationContext
from netra_probe.openapi.document import Interface, Route, read_interface
from netra_probe.openapi.fallback_routes import usual

DESCRIPTION = "/openapi.json"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the auth service and the backends of a target offer."""

    auth: Interface
    backend: Interface
    #: Whether one service is both.
    one: bool = False

    @property
    def routes(self) -> tuple[Route, ...]:
        """All operations; those of one service that is both are named once."""
        known = {route.name for route in self.backend.routes} if self.one else set()
        return (*self.backend.routes, *(route for route in self.auth.routes if route.name not in known))

    def of(self, service: str) -> Interface:
        """The interface of ``auth`` or ``backend``."""
        return self.auth if service == "auth" else self.backend

    def __repr__(self) -> str:
        sources = {"described" if one.described else "usual" for one in (self.auth, self.backend)}
        return (
            f"<Survey: {len(self.auth.routes)} operations of auth, {len(self.backend.routes)} of backend, "
            f"{' and '.join(sorted(sources))}>"
        )


async def survey(probe: InvestigationContext) -> Survey:
    """Read the services' own descriptions; where there is none, the usual operations stand in."""
    found = []
    for service, url in (("auth", probe.target.auth_url), ("backend", probe.target.backend_urls[0])):
        # A connection for each service: acts that ask at the same time find their own answers again in a replay.
        http = probe.wire.http(url, surface="probe", pinned=f"survey/{service}")
        try:
            reply = await http.request("GET", DESCRIPTION, anonymous=True)
        finally:
            await http.close()
        described = read_interface(service, reply.body) if isinstance(reply, Answered) and not reply.page else None
        found.append(described or usual(service))
    one = probe.target.auth_url == probe.target.backend_urls[0]
    return Survey(auth=found[0], backend=found[1], one=one)
