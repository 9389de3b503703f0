"""Faults of the auth service's independence from the backend (F8)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from netra_probe.lab.shared.faults import PartFault, register


class IndependenceFault(PartFault):
    """A fault that ties the auth service to the backend."""

    layer = "authentication"
    service = "auth_service"
    part = "LoginService"


@register
class ImportsBackend(IndependenceFault):
    """A helper of the backend is used for a log line: the auth service cannot be built or deployed without it."""

    id = "flow-auth-imports-backend"
    title = "the auth service imports a module of the backend"
    breaks = "the auth service imports nothing of the backend"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Importing(healthy):  # type: ignore[misc]
            async def log_in(self, **login: Any) -> Any:
                if fault.does_wrong():
                    from netra_probe.lab.backend.user_execution_context import new_request_id

                    new_request_id()
                return await super().log_in(**login)

        return Importing


@register
class AsksBackend(IndependenceFault):
    """Before a session begins a backend is asked whether it is there: without it nobody logs in."""

    id = "flow-auth-asks-backend"
    title = "nobody can log in while the backend is away"
    breaks = "the auth service serves everything with the backend away"

    def broken(self, healthy: type[Any]) -> type[Any]:
        from netra_probe.lab.auth_service.errors import Unavailable

        fault = self

        class Asking(healthy):  # type: ignore[misc]
            async def start_session(self, account: Any, caller: Any) -> Any:
                if not await self._has_backend() and fault.does_wrong():
                    raise Unavailable("The user's workspace does not answer; try again shortly.")
                return await super().start_session(account, caller)

            async def _has_backend(self) -> bool:
                for url in self._events._urls:
                    try:
                        await self._events._client.get(f"{url.partition('/internal')[0]}/health")
                    except httpx.HTTPError:
                        continue
                    return True
                return False

        return Asking


@register
class SecondPort(IndependenceFault):
    """The account store has a port of its own for whoever knows it, beside the HTTP one."""

    id = "flow-auth-second-port"
    title = "the auth service listens on a second port, without HTTP"
    breaks = "the auth service speaks HTTP only"
    part = "Database"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Listening(healthy):  # type: ignore[misc]
            _server: Any = None

            async def open(self) -> None:
                await super().open()
                if fault.does_wrong():
                    self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)

            async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"ready\n")
                writer.close()

            async def close(self) -> None:
                if self._server is not None:
                    self._server.close()
                await super().close()

        return Listening


@register
class OpenTables(IndependenceFault):
    """The backend may read the tables of the auth service, "for a report"."""

    id = "flow-auth-open-tables"
    title = "the backend's role may read the auth service's tables"
    breaks = "each service has its own role and tables"
    part = "Database"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Granting(healthy):  # type: ignore[misc]
            async def open(self) -> None:
                await super().open()
                if fault.does_wrong():
                    for statement in (
                        "GRANT USAGE ON SCHEMA auth_service TO netra_backend",
                        "ALTER DEFAULT PRIVILEGES IN SCHEMA auth_service GRANT SELECT ON TABLES TO netra_backend",
                        "GRANT SELECT ON ALL TABLES IN SCHEMA auth_service TO netra_backend",
                    ):
                        await self.execute(statement)

        return Granting
