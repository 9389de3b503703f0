"""HTTP with a memory: every request and its outcome is in the history before the caller sees it."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import httpx
import msgspec

from netra_probe.clients.replies import Answered, Broken, Refused, Reply, Silent, Timeouts, Unreachable, seconds_to_wait
from netra_probe.clients.route import NetworkRoute
from netra_probe.history.frames import ID_FIELDS, UNDECODABLE
from netra_probe.history.operation import Operation
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.tls import why


class Gate(Protocol):
    """Decides whether and when a request may go, and is told what became of it."""

    async def request(
        self, method: str, route: str, *, anonymous: bool, path: Mapping[str, str], sent_to: str, body: Any
    ) -> str:
        """ "" for one that may go now, else why it may not."""

    def is_public(self, method: str, route: str, sent_to: str) -> bool:
        """Whether what comes from here is meant for everybody."""

    def begin(
        self, method: str, route: str, *, user: str | None, surface: str, path: Mapping[str, str], attempt: bool
    ) -> Any:
        """One is about to be sent; ``attempt`` says that it is meant to be refused."""

    def end(self, passage: Any, reply: Reply | None) -> None:
        """It was answered, or was not; ``passage`` is what ``begin`` returned."""


#: Carries the request's nonce; a target that echoes it proves which response belongs to which request.
NONCE_HEADER = "X-Request-ID"
#: An idle connection is not used again after this time: servers close theirs after about five seconds, and a request
#: that crosses the close on its way is cut without a reply.
KEEP_ALIVE_SECONDS = 2.0
#: Statuses that say something of the session or of the moment, and not of what was asked for.
REFUSED_FOR_NOW = (401, 429)
#: Bodies beyond this many characters are kept shortened; nothing beyond is searched.
LONGEST_BODY = 1_000_000
#: Why a request has no response that the probe itself hung up on.
CANCELLED = "cancelled"


#: Response headers that are kept: what they say about caches, other origins, limits and the software.
KEPT_HEADERS = (
    "cache-control", "access-control-allow-origin", "access-control-allow-credentials", "server", "x-powered-by",
    "x-aspnet-version", "retry-after", "ratelimit-limit", "x-ratelimit-limit",
)  # fmt: skip


_BRACES = re.compile(r"\{([^{}]*)\}")


class Keeper(Protocol):
    """Keeps a user's session alive for the clients that act with its token."""

    async def token_for(self, held: Secret | None) -> Secret | None:
        """The token to send now instead of the one that a client holds: a fresh one where that is about to expire."""

    def refused(self, action: str, status: int) -> None:
        """An ordinary request with the session's token was refused."""


class Http:
    """A recording HTTP client of one user at one service.

    >>> reply = await http.request("GET", "/api/threads/{id}", path={"id": thread})   # doctest: +SKIP

    Arguments:
        history: where operations go.
        base_url: of the service.
        surface: ``auth`` or ``rest``.
        user: alias of the principal whose connection this is; ``None`` for nobody.
        backend: name of the backend behind ``base_url``, where it is one.
        pinned: name of the one TCP connection that all requests of this client share, whoever sends them; each then
            says its ``principal``. Without it connections are opened as needed.
        verify: whom to trust over TLS; false is anybody.
        gate: asked before each request; it may make it wait, or say why it is not sent.

    ``detour`` is a way around, such as the nemesis's; ``None`` goes straight to the service.
    """

    def __init__(
        self,
        history: Recorder,
        base_url: str,
        *,
        surface: str,
        user: str | None = None,
        backend: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | ssl.SSLContext = True,
        timeouts: Timeouts | None = None,
        pinned: str | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.history = history
        self.surface = surface
        self.user = user
        self.backend = backend
        self.connection = pinned or f"{user or 'nobody'}/{surface}"
        self.token: Secret | None = None
        self.detour: NetworkRoute | None = None
        #: Renews the token before it expires; not asked about requests that are to show what a token is worth.
        self.keeper: Keeper | None = None
        self.base_url = base_url
        self._gate = gate
        #: Our end of the TCP connection of the last response, where all are to share one.
        self._pinned, self._line = pinned is not None, ""
        self.timeouts = timeouts or Timeouts()
        self._nonces = (f"{self.connection}-{secrets.token_hex(3)}-{number}" for number in itertools.count(1))
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=dict(headers or {}),
            verify=_trust(verify) if isinstance(verify, bool) else verify,
            timeout=httpx.Timeout(self.timeouts.reply, connect=self.timeouts.connect),
            limits=httpx.Limits(max_connections=1 if pinned else None, keepalive_expiry=KEEP_ALIVE_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

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

        A request whose task is cancelled is recorded as ``info``: it may have happened.

        Returns ``Answered``, ``Refused``, ``Broken``, ``Silent`` or ``Unreachable``; what the target does never
        raises.
        """
        kept = self.keeper if token is None and not anonymous and "expect" not in (attempt or {}) else None
        if kept is not None:
            self.token = await kept.token_for(self.token)
        bearer = None if anonymous else (token or self.token)
        url, gate = filled(route, path or {}), self._gate
        if gate is not None and (
            reason := await gate.request(
                method,
                route,
                anonymous=anonymous or (bearer or self.user) is None,
                path=path or {},
                sent_to=url,
                body=json,
            )
        ):
            return Unreachable(reason=reason)
        nonce = nonce or next(self._nonces)
        sent = {NONCE_HEADER: nonce, **(headers or {})}
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer.reveal()}"
        sender = None if anonymous else principal or self.user
        passage = None
        if gate is not None:
            passage = gate.begin(
                method, route, user=sender, surface=self.surface, path=path or {}, attempt="attempt" in (attempt or {})
            )
        call = self.history.invoke(
            f"{method} {route}",
            user=principal or self.user,
            connection=self.connection,
            backend=self.backend,
            surface=self.surface,
            nonce=nonce,
            payload=urlencode(form) if form is not None else _text(json),
            detail={
                "path": url,
                **({"query": dict(query)} if query else {}),
                **({"via": self.detour.name} if self.detour else {}),
                **({"public": True} if gate is not None and gate.is_public(method, route, url) else {}),
                **(attempt or {}),
            },
        )
        reply: Reply | None = None
        try:
            reply = await self._exchanged(
                call, method, url, headers=sent, json=json, form=form, query=query, extensions=extensions
            )
        finally:
            if gate is not None:
                gate.end(passage, reply)
        if kept is not None and isinstance(reply, Refused) and reply.status in REFUSED_FOR_NOW:
            kept.refused(call.action, reply.status)
        return reply

    async def _exchanged(
        self,
        call: Operation,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        json: Any,
        form: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        extensions: Mapping[str, Any] | None,
    ) -> Reply:
        """Send it, and record what came back."""
        url, around, extra = self._way(url, extensions or {})
        try:
            response = await self._client.request(
                method, url, json=json, data=form, params=query, headers={**headers, **around}, extensions=extra
            )
        except asyncio.CancelledError:
            self.history.complete(call, "info", detail={"reason": CANCELLED})
            raise
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            return self._unreachable(call, error, sent=False)
        except httpx.TimeoutException:
            done = self.history.complete(call, "info", detail={"silent": self.timeouts.reply})
            return Silent(seconds=self.timeouts.reply, operation=done.index)
        except (httpx.HTTPError, OSError) as error:
            # An alert that TLS sends after the handshake, such as for a certificate, comes through as it is.
            return self._unreachable(call, error, sent=True)
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            # What a target has told can be such that it makes no request: a path, a header, a number.
            return self._unreachable(call, error, sent=False)
        return self._record(call, response)

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

    def _way(self, url: str, extensions: Mapping[str, Any]) -> tuple[str, dict[str, str], dict[str, Any]]:
        """Where to send: straight, or to the address of the detour with the names that the service goes by."""
        address = self.detour.address(self.base_url) if self.detour is not None else None
        if address is None:
            return url, {}, dict(extensions)
        parts = urlsplit(self.base_url)
        dialled = urlunsplit((parts.scheme, f"{address[0]}:{address[1]}", parts.path.rstrip("/") + url, "", ""))
        return dialled, {"Host": parts.netloc}, {"sni_hostname": parts.hostname, **extensions}

    def _unreachable(self, call: Operation, error: Exception, *, sent: bool) -> Unreachable:
        # The library's message can hold a URL with credentials: its kind says enough.
        reason = why(error, host=urlsplit(self.base_url).hostname)
        done = self.history.complete(call, "info" if sent else "fail", detail={"reason": reason})
        return Unreachable(reason=reason, sent=sent, operation=done.index)

    def _record(self, call: Operation, response: httpx.Response) -> Reply:
        try:
            text = response.text[:LONGEST_BODY]
        except (UnicodeError, LookupError):  # not in the encoding that it says it is in
            text = response.content[:LONGEST_BODY].decode("utf-8", "replace")
        try:
            body: Any = msgspec.json.decode(response.content)
        except UNDECODABLE:
            body = text
        status = response.status_code
        outcome: Any = "ok" if status < 400 else "fail" if status < 500 else "info"
        detail: dict[str, Any] = {}
        if returned := response.headers.get(NONCE_HEADER):
            detail["nonce_back"] = returned
        if self._pinned:
            line = _line(response)
            detail["line"] = "same" if line == self._line else "new"
            self._line = line
        if location := response.headers.get("location"):
            detail["location"] = location
        detail["headers"] = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        if cookies := _cookies(response):
            detail["cookies"] = cookies
        done = self.history.complete(call, outcome, status=status, payload=text, ids=read_ids(body), detail=detail)
        if status < 400:
            return Answered(status=status, body=body, location=location or "", operation=done.index)
        if status < 500:
            return Refused(
                status=status, body=body, retry_after=seconds_to_wait(response.headers), operation=done.index
            )
        return Broken(status=status, body=body, operation=done.index)

    async def close(self) -> None:
        await self._client.aclose()


@lru_cache
def _trust(verify: bool) -> ssl.SSLContext:
    """Whom to trust over TLS, made once: reading all certificate authorities takes longer than most requests."""
    return httpx.create_ssl_context(verify=verify, trust_env=False)


def _cookies(response: httpx.Response) -> dict[str, str]:
    """The attributes of the cookies that a response sets, by name, without their values."""
    tls = "; over-tls" if response.url.scheme == "https" else ""
    cookies = {}
    for line in response.headers.get_list("set-cookie"):
        pair, _, attributes = line.partition(";")
        cookies[pair.partition("=")[0].strip()] = attributes.strip().lower() + tls
    return cookies


def filled(route: str, path: Mapping[str, str]) -> str:
    """The route with its braces filled; those that nothing is known for stay.

    >>> filled("/api/threads/{thread_id}/messages", {"thread_id": "a/b"})
    '/api/threads/a%2Fb/messages'
    """
    return _BRACES.sub(
        lambda brace: quote(path[brace[1]].encode("utf-8", "replace"), safe="") if brace[1] in path else brace[0], route
    )


def _text(json: Any) -> str:
    try:
        return "" if json is None else msgspec.json.encode(json).decode()
    except (UnicodeError, RecursionError):
        return repr(json)


def _line(response: httpx.Response) -> str:
    """What tells the TCP connection of a response from others: our end of it."""
    stream = response.extensions.get("network_stream")
    try:
        return str(stream.get_extra_info("client_addr")) if stream is not None else ""
    except OSError:  # closed by now
        return ""


def read_ids(body: Any) -> dict[str, str]:
    """The ids that a response body names: its own fields, and the user's in ``user.id``."""
    if not isinstance(body, dict):
        return {}
    ids = {name: str(body[name]) for name in (*ID_FIELDS, "id") if isinstance(body.get(name), str | int)}
    user = body.get("user")
    if isinstance(user, dict) and isinstance(user.get("id"), str):
        ids.setdefault("user_id", user["id"])
    return ids
