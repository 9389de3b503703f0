"""Identity endpoints: the endpoints of a target that accept a credential and name its user.

A credential is judged by *who am I* and not by its status code, so an endpoint counts only if it names the user whose
valid credential is presented there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Closed, Refused
from netra_probe.clients.websocket import Handshake, Opened, Socket
from netra_probe.forgery import Forgery
from netra_probe.forgery.tokens import subprotocols
from netra_probe.history.operation import Outcome
from netra_probe.history.principals import UNNAMED, People
from netra_probe.investigation.survey import Survey

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Ends of backend routes that tell who one is, the most telling first; otherwise a list of one's own objects has to do.
_WHO_AM_I = ("/users/me", "/user/me", "/users/profile", "/user/profile", "/users/current", "/whoami", "/me", "/profile")
_OWN_THINGS = "/api/threads"
#: How a token may travel in a handshake (netra-wire §4).
PLACES = ("header", "subprotocol", "query")
#: A close with one of these is the target's failure and no refusal; 1011 is how some refuse (netra-wire §4).
_FAILURES = frozenset((1006, 1012, 1013))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of showing a credential: the user id that one was taken for, or "" for a refusal.

    ``outcome`` is ``info`` where the target neither let in nor refused.
    """

    outcome: Outcome
    who: str = ""
    status: int | None = None


class IdentityEndpoint(ABC):
    """One place that says whom it takes somebody for."""

    name: str
    surface: str
    backend: str | None = None
    #: Forgeries in a row before a valid credential has to be shown in between.
    patience = 10

    def takes(self, forgery: Forgery) -> bool:
        """Whether this forgery can be shown here as it is meant."""
        return True

    def __str__(self) -> str:
        return f"{self.name} ({self.backend or self.surface})"

    @abstractmethod
    async def show(self, user: User, forgery: Forgery, detail: Mapping[str, Any]) -> Seen:
        """Show a credential, over a connection of ``user``."""

    async def ask_nobody(self) -> None:  # noqa: B027 - a handshake has its own control
        """Ask the same without any credential: whether one is needed at all."""

    async def close(self) -> None:  # noqa: B027 - most have nothing to hang up
        """Hang up."""


class HttpEndpoint(IdentityEndpoint):
    """A route that answers who one is; ``in_body`` where the token is what the question is about."""

    def __init__(
        self,
        probe: Investigation,
        people: People,
        *,
        method: str,
        route: str,
        surface: str,
        base_url: str,
        backend: str | None = None,
        in_body: bool = False,
    ) -> None:
        self.name = f"{method} {route}"
        self.surface = surface
        self.backend = backend
        self._method, self._route, self._in_body = method, route, in_body
        self._probe, self._people, self._base_url = probe, people, base_url
        self._clients: dict[str, Http] = {}

    def takes(self, forgery: Forgery) -> bool:
        lone = not (forgery.headers or forgery.cookies or forgery.query or forgery.subprotocol)
        return (lone and forgery.bearer is not None) if self._in_body else forgery.subprotocol is None

    async def show(self, user: User, forgery: Forgery, detail: Mapping[str, Any]) -> Seen:
        http = self._clients.get(user.name)
        if http is None:
            http = self._probe.wire.http(self._base_url, surface=self.surface, user=user.name, backend=self.backend)
            self._clients[user.name] = http
        if self._in_body and forgery.bearer is not None:
            reply = await http.request(
                self._method,
                self._route,
                json={"token": forgery.bearer.reveal()},
                headers=service_headers(self._probe),
                anonymous=True,
                attempt=detail,
            )
        else:
            reply = await http.request(
                self._method,
                self._route,
                headers=forgery.http_headers(),
                query={name: value.reveal() for name, value in forgery.query.items()},
                anonymous=True,
                attempt=detail,
            )
        if isinstance(reply, Answered):
            return Seen(outcome="ok", who=self._people.in_answer(reply.body), status=reply.status)
        if isinstance(reply, Refused):
            return Seen(outcome="fail", status=reply.status)
        return Seen(outcome="info", status=getattr(reply, "status", None))

    async def ask_nobody(self) -> None:
        if not self._in_body:
            http = self._probe.wire.http(self._base_url, surface=self.surface, backend=self.backend)
            await http.request(self._method, self._route, anonymous=True)
            await http.close()

    async def close(self) -> None:
        for http in self._clients.values():
            await http.close()


class SocketEndpoint(IdentityEndpoint):
    """The WebSocket handshake of one backend, with the token in one of its places."""

    surface = "websocket"
    #: Five bad tokens in a row can shut out everybody (netra-wire §1).
    patience = 2

    def __init__(self, probe: Investigation, people: People, *, number: int, place: str) -> None:
        self.name = f"handshake, token in the {place}"
        self.backend = f"backend-{number + 1}"
        self._probe, self._people, self._number, self._place = probe, people, number, place
        #: Whether welcomes tell who one is; learned from the first.
        self.names_nobody = False

    def takes(self, forgery: Forgery) -> bool:
        return self._place == "header" or (forgery.subprotocol is None and "Authorization" not in forgery.headers)

    async def show(self, user: User, forgery: Forgery, detail: Mapping[str, Any]) -> Seen:
        headers = {name: value.reveal() for name, value in forgery.headers.items()}
        query = {name: value.reveal() for name, value in forgery.query.items()}
        spoken = forgery.subprotocol or (forgery.bearer if self._place == "subprotocol" else None)
        if forgery.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value.reveal()}" for name, value in forgery.cookies.items())
        if forgery.bearer is not None and self._place == "header":
            headers["Authorization"] = f"Bearer {forgery.bearer.reveal()}"
        elif forgery.bearer is not None and self._place == "query":
            query["token"] = forgery.bearer.reveal()
        opened = await self._probe.wire.open(
            Handshake(
                name=user.connection_name(),
                user=user.name,
                backend=self._number,
                token=None,
                headers=headers,
                query=query,
                subprotocols=subprotocols(spoken) if spoken is not None else (),
                attempt=detail,
            )
        )
        seen = self._seen(opened)
        if isinstance(opened, Socket):
            await opened.close()
        return seen

    def _seen(self, opened: Opened) -> Seen:
        if isinstance(opened, Socket):
            if opened.welcome is None:
                return Seen(outcome="info")
            said = opened.welcome.ids.get("user_id", "")
            self.names_nobody = not said
            return Seen(outcome="ok", who=self._people.whole(said) if said else UNNAMED)
        if isinstance(opened, Refused):
            return Seen(outcome="fail", status=opened.status)
        if isinstance(opened, Closed) and opened.code not in _FAILURES:
            return Seen(outcome="fail", status=opened.code)
        return Seen(outcome="info", status=getattr(opened, "status", None) or getattr(opened, "code", None))


def service_headers(probe: Investigation) -> dict[str, str]:
    """What proves that one is a service; nothing when the target's parameters hold no such credentials."""
    secret = probe.target.secret("service_secret")
    if secret is None or probe.target.service_id is None:
        return {}
    return {"X-Service-ID": probe.target.service_id, "X-Service-Secret": secret.reveal()}


def all_endpoints(
    probe: Investigation, found: Survey, *, surfaces: Iterable[str], places: Iterable[str] = PLACES
) -> list[IdentityEndpoint]:
    """Every place that could say who one is; which of them do is seen when a valid credential is shown."""
    people, target = People(probe.history), probe.target
    endpoints: list[IdentityEndpoint] = []
    if "auth" in surfaces:
        endpoints += [
            HttpEndpoint(
                probe, people, method=method, route=route, surface="auth", base_url=target.auth_url, in_body=in_body
            )
            for method, route, in_body in (
                ("GET", "/auth/me", False), ("GET", "/auth/verify", False), ("POST", "/auth/validate", True),
            )
            if found.auth.offers(method, route)
        ]  # fmt: skip
    if "rest" in surfaces:
        endpoints += [
            HttpEndpoint(
                probe, people, method="GET", route=route, surface="rest", base_url=url, backend=f"backend-{number}"
            )
            for number, url in enumerate(target.backend_urls, start=1)
            for route in _who_am_i(found)
        ]
    if "websocket" in surfaces:
        endpoints += [
            SocketEndpoint(probe, people, number=number, place=place)
            for number in range(len(target.backend_urls))
            for place in places
        ]
    return endpoints


def _who_am_i(found: Survey) -> list[str]:
    plain = [route.path for route in found.backend.routes if route.reads and not route.braces]
    telling = [path for end in _WHO_AM_I for path in plain if path.endswith(end)]
    if found.backend.described:
        return telling[:1] or [path for path in plain if path == _OWN_THINGS]
    return [*telling, _OWN_THINGS]


async def open_endpoints(
    probe: Investigation, endpoints: Iterable[IdentityEndpoint], *, like: User
) -> list[IdentityEndpoint]:
    """Those endpoints that accept ``like`` under their own name: at least one for each surface and backend, if any."""
    good: list[IdentityEndpoint] = []
    for endpoint in endpoints:
        if endpoint.surface == "rest" and any(
            other.backend == endpoint.backend and other.surface == "rest" for other in good
        ):
            await endpoint.close()
            continue
        seen = await endpoint.show(like, Forgery(bearer=like.auth.access), {})
        nameless = isinstance(endpoint, SocketEndpoint) and endpoint.names_nobody and seen.outcome == "ok"
        if seen.who == like.id or nameless:
            good.append(endpoint)
        else:
            await endpoint.close()
    return good
