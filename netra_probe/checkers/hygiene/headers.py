"""What a response says beside its body: caches, cookies, redirects, other origins, versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

from netra_probe.checkers.hygiene.base import CROSS_ORIGIN, QUERY_TOKEN, Exchange, Issue, Rule
from netra_probe.history.untrusted import address

#: Ends of routes that tell everybody the same.
PUBLIC = ("/health", "/ready", "/live", "/status", "/config", "/openapi.json", "/docs", "/metrics", "/version")
#: Parameters that hold a credential.
_CREDENTIALS = frozenset(
    ("token", "access_token", "refresh_token", "id_token", "jwt", "api_key", "apikey", "session", "session_id", "sid",
     "password")
)  # fmt: skip
_VERSION = re.compile(r"\d+\.\d+")
#: Headers that name the software behind a service.
_PRODUCTS = ("server", "x-powered-by", "x-aspnet-version")
#: Cookies that scripts are meant to read: the double-submit kind against forged requests.
_FOR_SCRIPTS = re.compile("csrf|xsrf", re.IGNORECASE)


class Cached(Rule):
    """What a cache keeps of one user it can show to the next at the same machine."""

    kind = "personal answer may be cached"
    topic = "tokens"
    clause = "OWASP ASVS 5.0 14.3.2; WSTG-ATHN-06; RFC 6749 section 5.1"
    demand = "answers with tokens or personal data carry Cache-Control: no-store"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.call.user is None or not 200 <= exchange.status < 300 or not exchange.done.payload:
            return
        if exchange.call.action.endswith(PUBLIC) or "headers" not in exchange.done.detail:
            return
        self.seen["personal answers"] += 1
        if "no-store" not in exchange.headers.get("cache-control", "").lower():
            yield exchange.issue("personal answers without Cache-Control: no-store")


class Cookies(Rule):
    """A cookie without its attributes is open to scripts, to plain connections or to other sites."""

    kind = "cookie without protection"
    topic = "tokens"
    clause = "OWASP ASVS 5.0 3.3.1, 3.3.2 and 3.3.4; WSTG-SESS-02"
    demand = "cookies are HttpOnly, SameSite and, over TLS, Secure"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        cookies = exchange.done.detail.get("cookies")
        if not isinstance(cookies, dict):
            return
        for name, said in cookies.items():
            attributes = {part.strip().partition("=")[0] for part in str(said).split(";")}
            if "max-age=0" in str(said).replace(" ", "") or "1970" in str(said):
                continue  # a cookie that is taken away
            self.seen["cookies"] += 1
            missing = [
                label
                for label, attribute in (("HttpOnly", "httponly"), ("SameSite", "samesite"), ("Secure", "secure"))
                if attribute not in attributes
                and not (attribute == "httponly" and _FOR_SCRIPTS.search(name))
                and not (attribute == "secure" and "over-tls" not in attributes)
            ]
            if missing:
                yield Issue(
                    said=f"a cookie is set without {' and '.join(missing)}",
                    shows=exchange.shows, surface=exchange.call.surface, place=exchange.place,
                )  # fmt: skip


class CredentialsInRedirect(Rule):
    """What stands in the query of an address stands in logs, histories and referrers."""

    kind = "credential in an address"
    topic = "tokens"
    clause = "OWASP ASVS 5.0 14.2.1; WSTG-SESS-04"
    demand = "addresses that one is sent to hold no token before the fragment"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        location = exchange.done.detail.get("location")
        if not isinstance(location, str) or not location:
            return
        self.seen["redirects"] += 1
        names = {name.lower() for name, _ in parse_qsl(address(location).query)} & _CREDENTIALS
        if names:
            yield exchange.issue(f"one is sent on with {', '.join(sorted(names))} in the query")


class TokenInQuery(Rule):
    """A service that takes tokens from the query makes its clients write them into every log on the way."""

    kind = "token accepted in the query"
    topic = "tokens"
    clause = "OWASP ASVS 5.0 14.2.1; WSTG-SESS-04; RFC 6750 section 5.3"
    demand = "requests are authenticated by a header, not by their address"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.trial != QUERY_TOKEN:
            return
        if exchange.call.surface == "websocket":
            # A documented way in for browsers, which can set no header there (netra-wire §4): counted only.
            self.seen["sockets that take a token from the query"] += exchange.done.type == "ok"
            return
        self.seen["requests with a token in the query"] += 1
        if exchange.done.type == "ok":
            yield exchange.issue("a token in the query is as good as one in the header")


class ForeignOrigin(Rule):
    """Any page in the world may then read the answers that its visitor's browser is given."""

    kind = "other origins are let in"
    topic = "refusals"
    clause = "OWASP ASVS 5.0 3.4.2; WSTG-CLNT-07"
    demand = "Access-Control-Allow-Origin is fixed, or answers to a list of origins"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        allowed = exchange.headers.get("access-control-allow-origin", "")
        if exchange.trial == CROSS_ORIGIN:
            self.seen["requests from other origins"] += 1
            if allowed and allowed == exchange.call.detail.get("origin"):
                trusted = exchange.headers.get("access-control-allow-credentials", "").lower() == "true"
                yield Issue(
                    said=f"an origin that nobody knows is allowed{', with credentials' if trusted else ''}",
                    shows=exchange.shows, surface=exchange.call.surface, place=exchange.place,
                )  # fmt: skip
        if allowed == "*" and exchange.call.user is not None and 200 <= exchange.status < 300:
            yield exchange.issue("personal answers are allowed to every origin (*)")


class Versions(Rule):
    """A version is the first thing that somebody looks up who has a list of holes."""

    kind = "version of the software told"
    topic = "refusals"
    clause = "OWASP ASVS 5.0 13.4.6; WSTG-INFO-02"
    demand = "headers do not tell versions of what is behind them"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        for name in _PRODUCTS:
            told = exchange.headers.get(name, "")
            if _VERSION.search(told):
                yield Issue(
                    said=f"the header {name} tells a version", shows=exchange.shows, surface=exchange.call.surface
                )


RULES: tuple[type[Rule], ...] = (
    Cached,
    Cookies,
    CredentialsInRedirect,
    TokenInQuery,
    ForeignOrigin,
    Versions,
)
