"""HTTP as one user speaks it: who sends what with which token, and whether it may go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from netra_probe.clients.replies import Refused, Reply, Timeouts, Unreachable
from netra_probe.clients.route import NetworkRoute
from netra_probe.history.frames import ID_FIELDS
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder

#: Statuses that say something of the session or of the moment, and not of what was asked for.
REFUSED_FOR_NOW = (401, 429)
#: Why a request has no response that the probe itself hung up on.
CANCELLED = "cancelled"

_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service as one user reaches it.

    Arguments:
        base_url: of the service.
        surface: ``auth`` or ``rest``.
        user: alias of the principal whose connection this is; ``None`` for nobody.
        backend: name of the backend behind ``base_url``, where it is one.
        pinned: name of the one TCP connection that all requests share, whoever sends them; each then says its
            ``principal``. Without it connections are opened as needed.
    """

    base_url: str
    surface: str
    user: str | None = None
    backend: str | None = None
    pinned: str | None = None

    @property
    def connection(self) -> str:
        """What the history calls it."""
        return self.pinned or f"{self.user or 'nobody'}/{self.surface}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as ``Http.request`` describes it, with the token that it is sent with.

    Arguments:
        bearer: the token; ``None`` sends none.
        public: whether what comes back is meant for everybody.
        detour: a way around; ``None`` goes straight to the service.
    """

    method: str
    route: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    bearer: Secret | None = None
    principal: str | None = None
    attempt: Mapping[str, Any] = field(default_factory=dict)
    nonce: str = ""
    public: bool = False
    detour: NetworkRoute | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> str:
        """What the history calls it: ``GET /api/threads/{id}``."""
        return f"{self.method} {self.route}"

    @property
    def url(self) -> str:
        return filled(self.route, self.path)


class Exchange(Protocol):
    """Where the requests of one client go: to a service, or to a recording of one."""

    service: Service
    history: Recorder
    timeouts: Timeouts

    async def send(self, request: Request) -> Reply:
        """What came of a request; what the target does never raises."""

    async def close(self) -> None:
        """Give the connections back."""


class Gate(Protocol):
    """Decides whether and when a request may be sent, and receives its outcome."""

    async def request(
        self, method: str, route: str, *, anonymous: bool, path: Mapping[str, str], sent_to: str, body: Any
    ) -> str:
        """ "" for one that may go now, else why it may not."""

    def is_public(self, method: str, route: str, sent_to: str) -> bool:
        """Whether what comes from here is meant for everybody."""

    def begin(
        self,
        method: str,
        route: str,
        *,
        user: str | None,
        client: str | None,
        surface: str,
        path: Mapping[str, str],
        attempt: bool,
    ) -> Any:
        """One is about to be sent; ``attempt`` says that it is meant to be refused, ``client`` whose client sends it
        where it carries nobody's credential."""

    def end(self, passage: Any, reply: Reply | None) -> None:
        """It was answered, or was not; ``passage`` is what ``begin`` returned."""


class Keeper(Protocol):
    """Keeps a user's session alive for the clients that act with its token."""

    async def token_for(self, held: Secret | None) -> Secret | None:
        """The token to send now instead of the one that a client holds: a fresh one where that is about to expire."""

    def refused(self, action: str, status: int) -> None:
        """An ordinary request with the session's token was refused."""


class Http:
    """A client of one user at one service.

    >>> reply = await http.request("GET", "/api/threads/{id}", path={"id": thread})   # doctest: +SKIP

    Arguments:
        exchange: where requests go.
        gate: asked before each request; it may make it wait, or say why it is not sent.

    ``detour`` is a way around, such as the nemesis's; ``None`` goes straight to the service.
    """

    def __init__(self, exchange: Exchange, *, gate: Gate | None = None) -> None:
        service = exchange.service
        self.base_url = service.base_url
        self.surface = service.surface
        self.user = service.user
        self.backend = service.backend
        self.connection = service.connection
        self.history = exchange.history
        self.timeouts = exchange.timeouts
        self.token: Secret | None = None
        self.detour: NetworkRoute | None = None
        #: Renews the token before it expires; not asked about requests that are to show what a token is worth.
        self.keeper: Keeper | None = None
        self._exchange = exchange
        self._gate = gate

    async def request(
        self,
        method: str,
        route: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        token: Secret | None = None,
        anonymous: bool = False,
        attempt: Mapping[str, Any] | None = None,
        path: Mapping[str, str] | None = None,
        principal: str | None = None,
        nonce: str | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Send one request and record what came of it.

        Arguments:
            method, route: as in OpenAPI, such as ``GET`` and ``/api/threads/{id}``; ``path`` fills the braces.
            json, form: the body, as JSON or as a browser sends a form.
            token: bearer token instead of the client's own.
            anonymous: send no token at all.
            attempt: marks an act that must not succeed: ``{"attempt", "object", "owner", "expect"}``.
            principal: alias of who sends it, where that is not the client's own user (pinned connections).
            nonce: the request's mark instead of a fresh one.
            extensions: for the HTTP library, such as a trace.

        Returns ``Answered``, ``Refused``, ``Broken``, ``Silent`` or ``Unreachable``; what the target does never
        raises.
        """
        attempt, path = attempt or {}, path or {}
        kept = self.keeper if token is None and not anonymous and "expect" not in attempt else None
        if kept is not None:
            self.token = await kept.token_for(self.token)
        bearer = None if anonymous else (token or self.token)
        url, gate = filled(route, path), self._gate
        if gate is not None and (
            reason := await gate.request(
                method, route, anonymous=anonymous or (bearer or self.user) is None, path=path, sent_to=url, body=json
            )
        ):
            return Unreachable(reason=reason)
        request = Request(
            method=method,
            route=route,
            path=path,
            query=query,
            headers=headers or {},
            json=json,
            form=form,
            bearer=bearer,
            principal=principal,
            attempt=attempt,
            nonce=nonce or "",
            public=gate is not None and gate.is_public(method, route, url),
            detour=self.detour,
            extensions=extensions or {},
        )
        passage = None
        if gate is not None:
            sender = None if anonymous else principal or self.user
            passage = gate.begin(
                method,
                route,
                user=sender,
                client=self.user,
                surface=self.surface,
                path=path,
                attempt="attempt" in attempt,
            )
        reply: Reply | None = None
        try:
            reply = await self._exchange.send(request)
        finally:
            if gate is not None:
                gate.end(passage, reply)
        if kept is not None and isinstance(reply, Refused) and reply.status in REFUSED_FOR_NOW:
            kept.refused(request.action, reply.status)
        return reply

    async def abandon(self, method: str, route: str, *, after: float = 0.0, **request: Any) -> Reply:
        """Send a request and hang up on it ``after`` seconds past its last byte, as an impatient client does.

        Returns ``Unreachable(reason="cancelled", sent=True)``, or the response if it was quicker. Takes what
        ``request`` takes.
        """
        written = asyncio.Event()

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            if event.endswith("send_request_body.complete"):
                written.set()

        asking = asyncio.ensure_future(self.request(method, route, extensions={"trace": trace}, **request))
        writing = asyncio.ensure_future(written.wait())
        try:
            await asyncio.wait((asking, writing), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((asking,), timeout=after)
            asking.cancel()
            await asyncio.wait((asking,))
            return Unreachable(reason=CANCELLED, sent=True) if asking.cancelled() else asking.result()
        finally:
            writing.cancel()
            asking.cancel()

    async def close(self) -> None:
        await self._exchange.close()


def filled(route: str, path: Mapping[str, str]) -> str:
    """The route with its braces filled; those that nothing is known for stay.

    >>> filled("/api/threads/{thread_id}/messages", {"thread_id": "a/b"})
    '/api/threads/a%2Fb/messages'
    """
    return _BRACES.sub(
        lambda brace: quote(path[brace[1]].encode("utf-8", "replace"), safe="") if brace[1] in path else brace[0], route
    )


def read_ids(body: Any) -> dict[str, str]:
    """The ids that a response body names: its own fields, and the user's in ``user.id``."""
    if not isinstance(body, dict):
        return {}
    ids = {name: str(body[name]) for name in (*ID_FIELDS, "id") if isinstance(body.get(name), str | int)}
    user = body.get("user")
    if isinstance(user, dict) and isinstance(user.get("id"), str):
        ids.setdefault("user_id", user["id"])
    return ids
