"""Credentials of all kinds, shown at every endpoint: who does the target take one for?

The forgeries are those of ``netra_probe.forgery``; ``checkers.tokens`` judges them by the user id that the target
answers with. Valid credentials in between are positive controls; some endpoints also close unless one comes after a few
bad tokens (netra-wire §1).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from netra_probe.clients.replies import Answered
from netra_probe.forgery import ATTEMPTS, REFUSED, SELF, Attempt, Forgery, Material
from netra_probe.forgery.tokens import signed
from netra_probe.history import actions
from netra_probe.history.principals import People
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import survey
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import (
    SHORT_LIFE,
    SURELY_OVER,
    attempt,
    claims,
    control,
    gather,
    outcome_of,
    restore,
    try_keys_offline,
)
from netra_probe.workloads.auth.identity_endpoints import (
    IdentityEndpoint,
    SocketEndpoint,
    all_endpoints,
    open_endpoints,
)
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

SURFACES = ("auth", "rest", "websocket")


@workload(Mode.ATTACK, "forging tokens", title="Forged tokens")
async def forge(
    probe: Investigation,
    *,
    tester: User,
    victim: User,
    surfaces: Iterable[str] = SURFACES,
    families: Collection[str] | None = None,
    bypass: bool = False,
    spread: bool = False,
) -> Outcome:
    """Try the whole playbook: ``tester`` shows every forged, expired, foreign or contradictory credential everywhere.

    >>> await forge(probe, tester=bob, victim=alice)   # doctest: +SKIP
    Forged tokens (bob, alice): 11 endpoints, 674 presented, 674 rejected

    Triggers faults A1 to A5 and A9; with ``bypass`` also F1. Handshakes get every forgery at the place where tokens
    usually travel on the first backend, and one of each family everywhere else.

    Arguments:
        surfaces: which of ``auth``, ``rest`` and ``websocket`` to try.
        families: only these of the playbook: ``algorithm``, ``signature``, ``key``, ``time``, ``audience``,
            ``subject``, ``rights``, ``form``, ``conflict``, ``header``, ``bypass``.
        bypass: also what a development bypass would recognise; only where the case is about it.
        spread: present each forgery at one HTTP endpoint of each surface, and one of each family at all of them.
    """
    found = await survey(probe)
    wanted = [one for one in ATTEMPTS if (bypass or not one.bypass) and (families is None or one.family in families)]
    needs = {need for one in wanted for need in one.needs}
    good_until = time.monotonic() + tester.auth.seconds_left
    material = await gather(probe, found, tester=tester, victim=victim, needs=needs)
    over = time.monotonic() + SHORT_LIFE + SURELY_OVER
    try_keys_offline(probe, (tester, victim))
    attempts = [one for one in wanted if one.possible(material)]
    endpoints = await open_endpoints(probe, all_endpoints(probe, found, surfaces=surfaces), like=tester)
    shown = held = 0
    try:
        # What has to expire first does so while the others are shown.
        for late in (False, True):
            batch = [one for one in attempts if late == ("expired" in one.needs)]
            if late and batch:
                await probe.wire.pause(over - time.monotonic())
            shares = _shares(endpoints, batch, material, live=probe.wire.live) if spread else None
            menus = list(zip(endpoints, _menus(endpoints, batch, shares), strict=True))
            # Handshakes one after the other, because the bad ones of all endpoints count together (netra-wire §1).
            lines = [[one] for one in menus if not isinstance(one[0], SocketEndpoint)]
            lines.append([one for one in menus if isinstance(one[0], SocketEndpoint)])
            for counts in await asyncio.gather(
                *(_walk(probe, line, material, tester=tester, victim=victim) for line in lines)
            ):
                shown, held = shown + counts[0], held + counts[1]
    finally:
        for endpoint in endpoints:
            await endpoint.close()
    if time.monotonic() > good_until:
        probe.notes.limit(f"forge: {tester.name}'s token had expired before all forgeries made of it were shown")
    return _outcome([tester, victim], endpoints=len(endpoints), shown=shown, held=held)


async def _walk(
    probe: Investigation,
    line: Iterable[tuple[IdentityEndpoint, list[Attempt]]],
    material: Material,
    *,
    tester: User,
    victim: User,
) -> tuple[int, int]:
    """From endpoint to endpoint, with what is to be shown at each."""
    shown = held = 0
    for endpoint, chosen in line:
        counts = await _try_all(probe, endpoint, chosen, material, tester=tester, victim=victim)
        shown, held = shown + counts[0], held + counts[1]
    return shown, held


def _shares(
    endpoints: Iterable[IdentityEndpoint], attempts: list[Attempt], material: Material, *, live: bool
) -> dict[IdentityEndpoint, list[Attempt]]:
    """The fewest for each HTTP endpoint with which each surface sees each forgery, and each endpoint each family."""
    shares: dict[IdentityEndpoint, list[Attempt]] = {}
    for surface in SURFACES:
        among = [
            endpoint
            for endpoint in endpoints
            if endpoint.surface == surface and not isinstance(endpoint, SocketEndpoint)
        ]
        taking = {
            one.name: [endpoint for endpoint in among if forgery is None or endpoint.takes(forgery)]
            for one in attempts
            for forgery in [forgery_of(one, material, live=live)]
        }
        for endpoint in among:
            families = _one_of_each_family(one for one in attempts if endpoint in taking[one.name])
            own = [one for position, one in enumerate(attempts) if _turn(taking[one.name], position) is endpoint]
            shares[endpoint] = [one for one in attempts if one in own or one in families]
    return shares


def _turn(endpoints: list[IdentityEndpoint], position: int) -> IdentityEndpoint | None:
    return endpoints[position % len(endpoints)] if endpoints else None


def _menus(
    endpoints: Iterable[IdentityEndpoint],
    attempts: list[Attempt],
    shares: Mapping[IdentityEndpoint, list[Attempt]] | None,
) -> Iterator[list[Attempt]]:
    """What to present at each endpoint: everything, but less at further sockets and at those that name no user."""
    met = False
    for endpoint in endpoints:
        chosen = attempts if shares is None else shares.get(endpoint, attempts)
        if isinstance(endpoint, SocketEndpoint):
            if met or endpoint.names_nobody:
                chosen = _one_of_each_family(attempts)
            if endpoint.names_nobody:
                chosen = [one for one in chosen if one.expect == REFUSED]
            met = True
        yield chosen


async def _try_all(
    probe: Investigation,
    endpoint: IdentityEndpoint,
    attempts: list[Attempt],
    material: Material,
    *,
    tester: User,
    victim: User,
) -> tuple[int, int]:
    """Every attempt at one endpoint, with valid credentials around them; how many were presented, and rejected."""
    if not attempts:
        return 0, 0
    await control(probe, endpoint, victim)
    if not await control(probe, endpoint, tester):
        return 0, 0
    shown = held = in_a_row = 0
    for one in attempts:
        forgery = forgery_of(one, material, live=probe.wire.live)
        if forgery is None or not endpoint.takes(forgery):
            continue
        if one.name == "same beginning":
            # A cache that is keyed by a beginning has to hold the victim's token first.
            await control(probe, endpoint, victim)
        expect = tester.name if one.expect == SELF else REFUSED
        owner = victim.name if one.family == "conflict" and expect != REFUSED else None
        seen = await attempt(probe, endpoint, user=tester, name=one.name, forgery=forgery, expect=expect, owner=owner)
        shown += 1
        held += seen.who in ("", tester.id if expect != REFUSED else "")
        in_a_row = 0 if seen.who == tester.id else in_a_row + 1
        if in_a_row >= endpoint.patience:
            in_a_row = 0
            if not await control(probe, endpoint, tester):
                break
    await restore(probe, endpoint, tester)
    return shown, held


def forgery_of(one: Attempt, material: Material, *, live: bool) -> Forgery | None:
    """The forgery; ``None`` where it cannot be made from opaque tokens. A recording needs no more than a stand-in."""
    try:
        return one(material)
    except ValueError:
        return None if live else Forgery(bearer=material.token)


def _one_of_each_family(attempts: Iterable[Attempt]) -> list[Attempt]:
    first: dict[str, Attempt] = {}
    for one in attempts:
        first.setdefault(one.family, one)
    return list(first.values())


#: Where deployments have their development login (netra-wire §2).
_DEVELOPMENT_LOGINS = ("/auth/dev/login", "/auth/dev_login", "/api/v1/auth/dev_login", "/api/v1/auth/dev/login")


@workload(Mode.ATTACK, "looking for a bypass", title="Attempted bypasses")
async def try_bypasses(probe: Investigation, *, tester: User, victim: User) -> Outcome:
    """Look for a development bypass: a login that asks for nothing, headers and words that tests are let in with.

    Only for cases that are about that bypass: these headers can switch it on (netra-wire §1). Triggers F1.
    """
    found = await survey(probe)
    people = People(probe.history)
    login = next((path for path in _DEVELOPMENT_LOGINS if found.auth.offers("POST", path)), None)
    shown = held = 0
    if login is not None:
        http = probe.wire.http(probe.target.auth_url, surface="auth")
        detail = {"attempt": "development login", "expect": REFUSED, "phase": "GET /auth/me"}
        call = probe.history.invoke(actions.ATTEMPT, connection="nobody/door", surface="auth", detail=detail)
        try:
            reply = await http.request("POST", login, anonymous=True, attempt=detail)
        finally:
            await http.close()
        who = people.in_answer(reply.body) if isinstance(reply, Answered) else ""
        probe.history.complete(call, outcome_of(reply), ids={"user_id": who} if who else {})
        shown, held = 1, int(not who)
    others = (await forge(probe, tester=tester, victim=victim, families=("bypass",), bypass=True)).counts
    return _outcome(
        [tester, victim],
        endpoints=others.get("endpoints", 0) + (login is not None),
        shown=others.get("presented", 0) + shown,
        held=others.get("rejected", 0) + held,
    )


@workload(Mode.ATTACK, "forging tokens", title="Tokens with the same prefix")
async def same_prefix_tokens(
    probe: Investigation, users: Iterable[User], *, rounds: int = 2, surfaces: Iterable[str] = SURFACES
) -> Outcome:
    """Valid tokens of several users at each endpoint, one right after the other: each must stay who they are.

    Between them goes each user's token with another end, and, where the signing key is lent, tokens of all of them that
    begin alike as far as can be. Triggers fault A5 (a cache keyed by the beginning of a token, or by the address) and
    X1 on authentication.
    """
    party = list(users)
    found = await survey(probe)
    endpoints = await open_endpoints(
        probe, all_endpoints(probe, found, surfaces=surfaces, places=("header",)), like=party[0]
    )
    shown = held = 0
    key = probe.target.secret("jwt_secret")
    for endpoint in endpoints:
        try:
            for _ in range(rounds):
                for user in party:
                    await control(probe, endpoint, user)
                for user in party:
                    token = user.auth.access
                    if token is None:
                        continue
                    forgery = Forgery(bearer=with_another_end(token))
                    seen = await attempt(
                        probe, endpoint, user=user, name="same beginning", forgery=forgery, expect=REFUSED
                    )
                    shown, held = shown + 1, held + (not seen.who)
                    if key is not None and claims(token):
                        crafted = _sub_at_the_end(token, party[0].auth.access or token, key)
                        await attempt(
                            probe, endpoint, user=user, name="sub at the end", forgery=Forgery(bearer=crafted),
                            expect=user.name,
                        )  # fmt: skip
                    await control(probe, endpoint, user)
        finally:
            await endpoint.close()
    return _outcome(party, endpoints=len(endpoints), shown=shown, held=held)


def with_another_end(token: Secret) -> Secret:
    text = token.reveal()
    return Secret(text[:-8] + "".join("A" if character != "A" else "B" for character in text[-8:]))


def _sub_at_the_end(token: Secret, common: Secret, key: Secret) -> Secret:
    """The user's token, signed again, with the claims of another one before its own ``sub``, ``email`` and session."""
    own, others = claims(token), claims(common)
    shared = {name: value for name, value in others.items() if name in ("iat", "nbf", "exp", "iss", "aud", "env")}
    rest = {name: value for name, value in own.items() if name not in shared and name != "sub"}
    return signed({"alg": "HS256", "typ": "JWT"}, {**shared, **rest, "sub": own.get("sub")}, key.reveal().encode())


def _outcome(users: Iterable[User], *, endpoints: int, shown: int, held: int) -> Outcome:
    if not endpoints:
        return Outcome(users=names(users), missing="an endpoint that reports who the caller is")
    return Outcome(users=names(users), counts={"endpoints": endpoints, "presented": shown, "rejected": held})
