"""AuthProxy: registering and logging in through the backend, for front ends that know no other address.

The auth service decides and answers; the backend adds where the caller is, which it is believed because it proves who
it is, so that brakes on guessing passwords go on counting per address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from netra_probe.lab.backend.unified_authentication_service import AuthenticationOutage

_PASSED_BACK = ("retry-after", "www-authenticate")


@dataclass(frozen=True, kw_only=True)
class ProxiedAnswer:
    """What the auth service answered."""

    status: int
    body: Any = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


class AuthProxy:
    """Passes requests on with this service's credentials."""

    def __init__(self, client: httpx.AsyncClient, *, service_id: str, service_secret: Callable[[], str]) -> None:
        self._client = client
        self._service_id = service_id
        self._service_secret = service_secret

    async def send(
        self,
        method: str,
        path: str,
        *,
        address: str,
        user_agent: str = "",
        authorization: str | None = None,
        body: Any = None,
    ) -> ProxiedAnswer:
        """One request on behalf of a caller.

        Raises:
            DependencyDown: the auth service does not answer, or not as expected.
        """
        headers = {
            "X-Service-ID": self._service_id,
            "X-Service-Secret": self._service_secret(),
            "X-Client-Address": address,
            "User-Agent": user_agent,
        }
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            answer = await self._client.request(method, path, json=body, headers=headers)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise AuthenticationOutage() from error
        passed = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return ProxiedAnswer(status=answer.status_code, body=content, headers=passed)
