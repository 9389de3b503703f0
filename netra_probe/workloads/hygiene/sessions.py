"""Looking at tokens and at what refusals say: what an ordinary user's own requests show of a target's hygiene.

Whatever is sent here is either a user's own business or malformed; nothing is forged. ``checkers.hygiene`` (H1) judges,
and judges besides what every other act has recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from netra_probe.checkers.hygiene.base import (
    AFTER_REUSE,
    BAD_TOKEN,
    CROSS_ORIGIN,
    MALFORMED,
    MARK,
    PLAIN,
    QUERY_TOKEN,
    REUSED,
)
from netra_probe.clients.auth import AuthClient
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Reply, body_of
from netra_probe.forgery.tokens import header_of, weak_key_of
from netra_probe.history import actions
from netra_probe.history.principals import People
from netra_probe.history.secret import Secret
from netra_probe.history.untrusted import number
from netra_probe.investigation.survey import Survey, survey
from netra_probe.openapi import Route
from netra_probe.openapi.arguments import missing
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import claims
from netra_probe.workloads.auth.credential_end import GRACE
from netra_probe.workloads.auth.oauth import LOGIN, Browser, _callback, configured
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: An origin that no platform can know.
ELSEWHERE = "https://elsewhere.invalid"
#: A credential that is none, and no secret; whoever repeats it repeats what really is one.
NONSENSE = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
#: Bodies that no route expects.
_ODD_BODIES: Mapping[str, Any] = {"a list": [], "a wrong type": {"email": {"a": 1}, "title": {"a": 1}}, "a number": 7}
#: Ids that no object has.
_ODD_IDS: Mapping[str, str] = {"a quote in its id": "'", "an endless id": "9" * 300, "a zero byte in its id": "\x00"}
_PLAIN_ID = "nobodys-object"
#: Routes that take a body and may be called with a wrong one: nothing can come of it but a refusal.
_TAKE_BODIES = (
    ("auth", "/auth/login"),
    ("auth", "/auth/register"),
    ("auth", "/auth/refresh"),
    ("backend", "/api/threads"),
)


@workload(Mode.PROBE, "logging in")
async def inspect_tokens(probe: Investigation, user: User) -> Outcome:
    """Log in twice, renew, and note what each token says of itself beside what is said of it.

    >>> await inspect_tokens(probe, alice)   # doctest: +SKIP
    Inspect tokens (alice): 6 tokens
    """
    tokens = 0
    for credential in (f"{user.name}-inspected", f"{user.name}-inspected-again"):
        http = probe.wire.http(probe.target.auth_url, surface="auth", user=user.name)
        session = AuthClient(http, credential=credential)
        try:
            reply = await session.login(email=user.email, password=user._password)
            tokens += _note_pair(probe, user, session, reply, by="the log-in")
            me = await session.me() if reply else reply
            _note_statement(probe, user, session, me)
            if reply and session.refreshing is not None:
                tokens += _note_pair(probe, user, session, await session.refresh(), by="the renewal")
            await session.logout()
        finally:
            await http.close()
    return Outcome(users=(user.name,), counts={"tokens": tokens})


def _note_pair(probe: Investigation, user: User, session: AuthClient, reply: Reply, *, by: str) -> int:
    body = body_of(reply)
    tokens = {
        "access token": session.access if body.get("access_token") else None,
        "refresh token": session.refreshing if body.get("refresh_token") else None,
    }
    for kind, token in tokens.items():
        if token is not None:
            stated = body.get("expires_in") if kind == "access token" else body.get("refresh_expires_in")
            _note(probe, user, kind, token, stated=stated, by=by, answer=reply.operation)
    return sum(token is not None for token in tokens.values())


def _note_statement(probe: Investigation, user: User, session: AuthClient, reply: Reply) -> None:
    """The answer about oneself may name the time at which the token ends."""
    body = body_of(reply)
    ends = _timestamp(body.get("token_expires_at"))
    issued = number(claims(session.access).get("iat"))
    if ends is not None and issued is not None and session.access is not None:
        stated = ends - issued
        _note(probe, user, "access token", session.access, stated=stated, by="GET /auth/me", answer=reply.operation)


def _note(probe: Investigation, user: User, kind: str, token: Secret, *, stated: Any, by: str, answer: int) -> None:
    said = claims(token)
    detail: dict[str, Any] = {"kind": kind, "form": "jwt" if said else "opaque", "by": by, "answer": answer}
    if said:
        detail["algorithm"] = str(header_of(token).get("alg", ""))
        detail["claims"] = " ".join(sorted(said))
        # Tried offline, against the published list: nothing is sent, and the key itself is not kept.
        detail["known_key"] = weak_key_of(token) is not None
        issued, expires = number(said.get("iat")), number(said.get("exp"))
        if issued is not None and expires is not None:
            detail["lifetime"] = expires - issued
    if not isinstance(stated, str) and number(stated) is not None:
        detail["stated"] = stated
    probe.history.observe(actions.TOKEN, user=user.name, detail=detail)


def _timestamp(value: Any) -> float | None:
    if not isinstance(value, str):
        return number(value)
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


@workload(Mode.ATTACK, "using a refresh token again", title="Used refresh token presented again")
async def bring_back_refresh_token(probe: Investigation, user: User) -> Outcome:
    """Renew, wait a moment, and show the used refresh token again, then the one that came of it.

    >>> await bring_back_refresh_token(probe, alice)   # doctest: +SKIP
    Used refresh token presented again (alice): 2 presented, 0 accepted

    A target may overlook a reuse within a moment, since a client may not have got the answer; so the act waits.
    """
    http = probe.wire.http(probe.target.auth_url, surface="auth", user=user.name)
    session = AuthClient(http, credential=f"{user.name}-renewed")
    try:
        await session.login(email=user.email, password=user._password)
        used = session.refreshing
        if used is None or not await session.refresh() or session.refreshing is None:
            return Outcome(users=(user.name,), missing="refresh tokens")
        await probe.wire.pause(GRACE)
        accepted = 0
        for token, trial in ((used, REUSED), (session.refreshing, AFTER_REUSE)):
            body = {"refresh_token": token.reveal()}
            accepted += bool(
                await http.request("POST", "/auth/refresh", json=body, anonymous=True, attempt={MARK: trial})
            )
    finally:
        await http.close()
    return Outcome(users=(user.name,), counts={"presented": 2, "accepted": accepted})


@workload(Mode.PROBE, "sending a token in a query", title="Token in the query")
async def ask_with_query(probe: Investigation, user: User) -> Outcome:
    """Ask who one is with the token in the address instead of a header, at every service."""
    found = await survey(probe)
    token = user.auth.access
    asked = taken = 0
    for http, route in _who_am_i(probe, found, user):
        try:
            for name in ("token", "access_token"):
                reply = await http.request(
                    "GET", route, query={name: token.reveal() if token else ""}, anonymous=True,
                    attempt={MARK: QUERY_TOKEN},
                )  # fmt: skip
                asked += 1
                taken += bool(reply)
        finally:
            await http.close()
    return Outcome(users=(user.name,), counts={"asked": asked, "answered": taken})


@workload(Mode.PROBE, "sending malformed requests")
async def provoke_refusals(probe: Investigation, user: User) -> Outcome:
    """Send what no service expects, and requests of another origin's page; each deserves a plain refusal.

    >>> await provoke_refusals(probe, bob)   # doctest: +SKIP
    Provoke refusals (bob): 30 malformed, 6 invalid tokens, 4 from other origins
    """
    found = await survey(probe)
    clients = {
        "auth": probe.wire.http(probe.target.auth_url, surface="auth", user=user.name),
        "backend": probe.wire.http(user.backend_url, surface="rest", user=user.name, backend=user.backend),
    }
    for http in clients.values():
        http.token = user.auth.access
        http.keeper = user
    counts = {"malformed": 0, "invalid tokens": 0, "from other origins": 0}
    try:
        for service, path in _TAKE_BODIES:
            if found.of(service).offers("POST", path):
                for what, body in _ODD_BODIES.items():
                    mark = {MARK: MALFORMED, "what": what}
                    await clients[service].request("POST", path, json=body, anonymous=service == "auth", attempt=mark)
                    counts["malformed"] += 1
        for route in found.routes:
            if route.reads and len(route.braces) == 1:
                # The control: what comes of a text that is no id and has nothing odd in it.
                await clients[route.service].request(
                    "GET", route.path, path={route.braces[0]: _PLAIN_ID}, attempt={MARK: PLAIN}
                )
                for what, id in _ODD_IDS.items():
                    mark = {MARK: MALFORMED, "what": what}
                    await clients[route.service].request("GET", route.path, path={route.braces[0]: id}, attempt=mark)
                    counts["malformed"] += 1
        counts["invalid tokens"] = await _bad_tokens(probe, found, user)
        counts["from other origins"] = await _other_origins(probe, found, user)
    finally:
        for http in clients.values():
            await http.close()
    return Outcome(users=(user.name,), counts=counts)


async def _bad_tokens(probe: Investigation, found: Survey, user: User) -> int:
    """Headers that are none, and a token that was tampered with: the refusal must not repeat them."""
    own = user.auth.access.reveal() if user.auth.access else ""
    sent = 0
    for http, route in _who_am_i(probe, found, user):
        try:
            for value in (f"Bearer {NONSENSE}", f"Probe {NONSENSE}", f"Bearer {own[:-6]}AAAAAA"):
                mark = {MARK: BAD_TOKEN, "what": "a bad credential", "sent": NONSENSE if NONSENSE in value else ""}
                await http.request("GET", route, headers={"Authorization": value}, anonymous=True, attempt=mark)
                sent += 1
        finally:
            await http.close()
    return sent


async def _other_origins(probe: Investigation, found: Survey, user: User) -> int:
    sent = 0
    for http, route in _who_am_i(probe, found, user):
        http.token = user.auth.access
        http.keeper = user
        try:
            for origin in (ELSEWHERE, "null"):
                mark = {MARK: CROSS_ORIGIN, "origin": origin}
                await http.request("GET", route, headers={"Origin": origin}, attempt=mark)
                sent += 1
        finally:
            await http.close()
    return sent


@workload(Mode.PROBE, "asking for other users' objects by id")
async def compare_refusals(probe: Investigation, first: User, second: User) -> Outcome:
    """Ask for each other's objects by id, and for objects that nobody has: do the refusals differ?

    Both make a thread first; whoever owns a thing reads it, which shows that it is there.
    """
    found = await survey(probe)
    threads = {user.name: await user.new_thread() for user in (first, second)}
    compared = 0
    for owner, intruder in ((first, second), (second, first)):
        things = (("backend", "thread", threads[owner.name]), ("auth", "user", owner.id))
        for service, kind, id in things:
            own, other = (
                (owner.auth.http, intruder.auth.http) if service == "auth" else (owner.rest.http, intruder.rest.http)
            )
            for route in found.of(service).routes if id else ():
                if route.reads and _names(route.path, kind):
                    await _ask_both(route, own, other, owner=owner.name, kind=kind, id=id)
                    compared += 1
    users = names((first, second))
    if not compared:
        return Outcome(users=users, missing="operations that take an id")
    return Outcome(users=users, counts={"ids": compared})


@workload(Mode.PROBE, "logging in through a provider")
async def follow_login(probe: Investigation, user: User) -> Outcome:
    """Log in through a provider on this machine and look at what the way there and back sets and tells."""
    found = await survey(probe)
    browser = Browser(probe, People(probe.history), user)
    try:
        for provider in await configured(probe) if found.auth.offers("GET", LOGIN) else []:
            callback = await _callback(browser, provider)
            if callback:
                who = await browser.come_back(callback, name="own login", expect=user.name, control=True)
                return Outcome(users=(user.name,), counts={"logins": int(bool(who))})
    finally:
        await browser.close()
    return Outcome(users=(user.name,), missing="an OAuth provider on this machine")


async def _ask_both(route: Route, own: Http, other: Http, *, owner: str, kind: str, id: str) -> None:
    """The owner asks, somebody else asks, and somebody else asks for an id that nobody has."""
    brace, nobodys = route.braces[0], missing(id)
    aim = {"kind": kind, "id": id}
    foreign = {"attempt": "foreign id", "object": aim, "owner": owner, "expect": "refused"}
    nothing = {"attempt": "missing id", "object": {"kind": kind, "id": nobodys}, "expect": "refused"}
    await own.request("GET", route.path, path={brace: id}, attempt={"object": aim})
    await other.request("GET", route.path, path={brace: id}, attempt=foreign)
    await other.request("GET", route.path, path={brace: nobodys}, attempt=nothing)


def _names(path: str, kind: str) -> bool:
    """Whether the one id in a path is that of such a thing: ``/api/threads/{id}/messages`` of a thread."""
    before, brace, _ = path.partition("/{")
    return bool(brace) and path.count("{") == 1 and before.endswith((f"/{kind}s", f"/{kind}"))


def _who_am_i(probe: Investigation, found: Survey, user: User) -> list[tuple[Http, str]]:
    """A client without a token, and a route that answers with the user's own, at each service."""
    asked = []
    if found.auth.offers("GET", "/auth/me"):
        asked.append((probe.wire.http(probe.target.auth_url, surface="auth", user=user.name), "/auth/me"))
    routes = [one.path for one in found.backend.routes if one.reads and not one.braces]
    own = next((path for path in ("/api/users/me", "/api/user/me", "/api/threads") if path in routes), "")
    if own:
        http = probe.wire.http(user.backend_url, surface="rest", user=user.name, backend=user.backend)
        asked.append((http, own))
    return asked
