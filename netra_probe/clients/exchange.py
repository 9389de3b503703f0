"""Requests that go to a target: each one and its outcome is in the history before the caller sees it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx
import msgspec

from netra_probe.clients.http import CANCELLED, Request, Service, read_ids
from netra_probe.clients.replies import Answered, Broken, Refused, Reply, Silent, Timeouts, Unreachable, seconds_to_wait
from netra_probe.history.operation import Operation
from netra_probe.history.store import Recorder
from netra_probe.history.untrusted import decoded
from netra_probe.target.tls import why

#: Carries the request's nonce; a target that echoes it proves which response belongs to which request.
NONCE_HEADER = "X-Request-ID"
#: An idle connection is not used again after this time: servers close theirs after about five seconds, and a request
#: that crosses the close on its way is cut without a reply.
KEEP_ALIVE_SECONDS = 2.0
#: Bodies beyond this many characters are kept shortened; nothing beyond is searched.
LONGEST_BODY = 1_000_000
#: Response headers that are kept: what they say about caches, other origins, limits and the software.
KEPT_HEADERS = (
    "cache-control", "access-control-allow-origin", "access-control-allow-credentials", "server", "x-powered-by",
    "x-aspnet-version", "retry-after", "ratelimit-limit", "x-ratelimit-limit",
)  # fmt: skip


class LiveExchange:
    """Sends the requests of one client to its service.

    Arguments:
        headers: sent with every request.
        verify: whom to trust over TLS; false is anybody.
    """

    def __init__(
        self,
        history: Recorder,
        service: Service,
        *,
        headers: Mapping[str, str] | None = None,
        verify: bool | ssl.SSLContext = True,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.history = history
        self.service = service
        self.timeouts = timeouts or Timeouts()
        #: Our end of the TCP connection of the last response, where all are to share one.
        self._line = ""
        self._nonces = (f"{service.connection}-{secrets.token_hex(3)}-{number}" for number in itertools.count(1))
        self._client = httpx.AsyncClient(
            base_url=service.base_url,
            headers=dict(headers or {}),
            verify=_trust(verify) if isinstance(verify, bool) else verify,
            timeout=httpx.Timeout(self.timeouts.reply, connect=self.timeouts.connect),
            limits=httpx.Limits(max_connections=1 if service.pinned else None, keepalive_expiry=KEEP_ALIVE_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, request: Request) -> Reply:
        """Send it, and record what came back; one whose task is cancelled is recorded as ``info``."""
        nonce = request.nonce or next(self._nonces)
        service, form = self.service, request.form
        call = self.history.invoke(
            request.action,
            user=request.principal or service.user,
            connection=service.connection,
            backend=service.backend,
            surface=service.surface,
            nonce=nonce,
            payload=urlencode(form) if form is not None else _text(request.json),
            detail={
                "path": request.url,
                **({"query": dict(request.query)} if request.query else {}),
                **({"via": request.detour.name} if request.detour else {}),
                **({"public": True} if request.public else {}),
                **request.attempt,
            },
        )
        sent = {NONCE_HEADER: nonce, **request.headers}
        if request.bearer is not None:
            sent["Authorization"] = f"Bearer {request.bearer.reveal()}"
        url, around, extensions = self._way(request)
        try:
            response = await self._client.request(
                request.method,
                url,
                json=request.json,
                data=form,
                params=request.query,
                headers={**sent, **around},
                extensions=extensions,
            )
        except asyncio.CancelledError:
            self.history.complete(call, "info", detail={"reason": CANCELLED})
            raise
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            return await self._unreachable(call, error, sent=False)
        except httpx.TimeoutException:
            done = self.history.complete(call, "info", detail={"silent": self.timeouts.reply})
            return Silent(seconds=self.timeouts.reply, operation=done.index)
        except (httpx.HTTPError, OSError) as error:
            # An alert that TLS sends after the handshake, such as for a certificate, comes through as it is.
            return await self._unreachable(call, error, sent=True)
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            # A value from the target can be unfit for a request: a path, a header, a number.
            return await self._unreachable(call, error, sent=False)
        return self._record(call, response)

    def _way(self, request: Request) -> tuple[str, dict[str, str], dict[str, Any]]:
        """Where to send: straight, or to the address of the detour with the names that the service goes by."""
        base = self.service.base_url
        address = request.detour.address(base) if request.detour is not None else None
        if address is None:
            return request.url, {}, dict(request.extensions)
        parts = urlsplit(base)
        dialled = urlunsplit((parts.scheme, f"{address[0]}:{address[1]}", parts.path.rstrip("/") + request.url, "", ""))
        return dialled, {"Host": parts.netloc}, {"sni_hostname": parts.hostname, **request.extensions}

    async def _unreachable(self, call: Operation, error: Exception, *, sent: bool) -> Unreachable:
        # The library's message can hold a URL with credentials: its kind says enough.
        reason = await why(error, url=self.service.base_url)
        done = self.history.complete(call, "info" if sent else "fail", detail={"reason": reason})
        return Unreachable(reason=reason, sent=sent, operation=done.index)

    def _record(self, call: Operation, response: httpx.Response) -> Reply:
        text = _body(response)
        body = decoded(response.content, text)
        status = response.status_code
        outcome: Any = "ok" if status < 400 else "fail" if status < 500 else "info"
        detail: dict[str, Any] = {}
        if returned := response.headers.get(NONCE_HEADER):
            detail["nonce_back"] = returned
        if self.service.pinned:
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


def _body(response: httpx.Response) -> str:
    """The beginning of a body as text, in the encoding that it says it is in where that is one for texts."""
    try:
        text = response.content[: 4 * LONGEST_BODY].decode(response.charset_encoding or "utf-8", "replace")
        text.encode()  # some encodings have halves of characters
    except (UnicodeError, LookupError, ValueError):
        text = response.content[:LONGEST_BODY].decode("utf-8", "replace")
    return text[:LONGEST_BODY]


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
