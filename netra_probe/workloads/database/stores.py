"""Credentials at the stores: what opens a user's data is that user's own valid token, and nothing else one can show.

The endpoints of ``introduce`` and ``forge`` name the caller; here the data itself is requested. Each attempt comes with
the owner's own request of the same, so that ``checkers.authorisation`` can tell a refusal from an empty store.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Answered, Refused, Reply
from netra_probe.forgery import ATTEMPTS, REFUSED, Attempt, Forgery
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import survey
from netra_probe.openapi import Route
from netra_probe.openapi.arguments import Arguments
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import SHORT_LIFE, SURELY_OVER, gather
from netra_probe.workloads.auth.credential_end import GRACE
from netra_probe.workloads.auth.forged_tokens import forgery_of, with_another_end
from netra_probe.workloads.database.pools import saturate_pool
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

_MISSING = "lists of one's own"
#: Families that are about tokens; what a development bypass recognises is the business of ``try_bypasses``.
_FAMILIES = frozenset(("algorithm", "signature", "key", "time", "audience", "subject", "conflict"))


@workload(Mode.PROBE, "asking without a valid token", title="Data stores with valid and invalid tokens")
async def open_stores(
    probe: Investigation,
    users: Sequence[User] = (),
    *,
    wrong: int | None = None,
    backend: int = 0,
    budget: Budget | None = None,
) -> Outcome:
    """Everybody, in the same instant, opens each of their stores with their token, and with what is none.

    >>> await open_stores(probe)   # doctest: +SKIP
    Data stores with valid and invalid tokens (alice, bob, carol): 48 opened, 72 presented, 72 refused

    Right after the owner's own request goes the same one with no token, with the owner's token that has another end,
    and with the refresh token. Triggers faults A1, A4 and A5, and a cache in front of the application (faults K1, K3).

    Arguments:
        wrong: how many of these three each store is shown, in turn; all of them when left out.
    """
    party = list(users) or probe.users
    walk = ApiCrawler(
        probe, await survey(probe), tuple(party), budget=budget or Budget(), backend=backend, act="open_stores"
    )
    try:
        await probe.together(walk.create_all(user.name, runs=False) for user in party)
        counts = await probe.together(_open_own(walk, user, wrong) for user in party)
    finally:
        await walk.close()
    if not any(opened for opened, _, _ in counts):
        return Outcome(users=names(party), missing=_MISSING)
    sums = dict(zip(("opened", "presented", "refused"), map(sum, zip(*counts, strict=True)), strict=True))
    return Outcome(users=names(party), counts=sums)


@workload(Mode.ATTACK, "forging tokens", title="Forged tokens at data stores")
async def forge_at_stores(
    probe: Investigation, *, tester: User, victim: User, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """Ask for the victim's data with every forged, expired, foreign or contradictory token of the playbook.

    >>> await forge_at_stores(probe, tester=bob, victim=alice)   # doctest: +SKIP
    Forged tokens at data stores (bob, alice): 8 stores, 96 presented, 96 rejected

    Each store is asked by both users first; then the attempts go round all of them: what is checked of a token has to
    be checked for every store. Triggers faults A1 to A4, and A9 by ids that the client claims.
    """
    found = await survey(probe)
    walk = ApiCrawler(probe, found, (tester, victim), budget=budget or Budget(), backend=backend, act="forge_at_stores")
    try:
        await probe.together(walk.create_all(user.name, runs=False) for user in (tester, victim))
        routes = [route for route in _stores(walk, victim) if (tester.name, route.name) in walk.answered]
        wanted = [one for one in ATTEMPTS if one.family in _FAMILIES and not one.bypass]
        needs = {need for one in wanted for need in one.needs}
        material = await gather(probe, found, tester=tester, victim=victim, needs=needs)
        over = time.monotonic() + SHORT_LIFE + SURELY_OVER
        # What has to expire first does so while the others are shown.
        possible = sorted((one for one in wanted if one.possible(material)), key=lambda one: "expired" in one.needs)
        for route in routes:
            for user in (tester, victim):
                await _ask(walk, user, route, of=victim)
        shown = held = 0
        for one, route in zip(possible, cycle(routes), strict=False):
            if "expired" in one.needs:
                await probe.wire.pause(over - time.monotonic())
            forgery = forgery_of(one, material, live=probe.wire.live)
            if forgery is not None and forgery.subprotocol is None:
                shown += 1
                held += await _ask_forged(walk, route, one, forgery, tester=tester, victim=victim)
    finally:
        await walk.close()
    if not routes:
        return Outcome(users=names((tester, victim)), missing=_MISSING)
    counts = {"stores": len(routes), "presented": shown, "rejected": held}
    return Outcome(users=names((tester, victim)), counts=counts)


@workload(Mode.PROBE, "logging out", title="Data access after logout")
async def outlive_sessions(
    probe: Investigation, users: Sequence[User] = (), *, cycles: int = 3, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """Log in, open every store and log out, cycle after cycle; then ask every store with each token that was let go.

    >>> await outlive_sessions(probe, [alice])   # doctest: +SKIP
    Data access after logout (alice): 4 sessions, 28 uses afterwards, 28 refused

    What the target holds on to is measured after each cycle (resources); after a moment of grace no token may open
    anything (lifecycle). Triggers fault A6.
    """
    party = list(users) or probe.users
    walk = ApiCrawler(
        probe, await survey(probe), tuple(party), budget=budget or Budget(), backend=backend, act="outlive_sessions"
    )
    ended: list[tuple[User, str, Secret]] = []
    used = refused = 0
    try:
        await probe.together(walk.create_all(user.name, runs=False) for user in party)
        await saturate_pool(probe, party)
        async for _ in probe.cycles(cycles):
            for user in party:
                session = await user.another_session()
                if session is None or session.access is None:
                    continue
                name = session.credential or user.name
                for route in _stores(walk, user):
                    await _ask(walk, user, route, credential=name, token=session.access)
                if await session.logout():
                    ended.append((user, name, session.access))
                await session.http.close()
        if not ended:
            return Outcome(users=names(party), missing="login and logout")
        await probe.wire.pause(GRACE)
        for user, name, token in ended:
            for route in _stores(walk, user):
                mark = {"attempt": "after logout", "expect": REFUSED, "credential": name}
                arguments = walk.answered[user.name, route.name][0]
                reply = await walk.send(user.name, route, arguments, mark=mark, token=token)
                used, refused = used + 1, refused + isinstance(reply, Refused)
                if reply:
                    # The control: whether one needs a credential for this at all.
                    await walk.send(None, route, arguments)
    finally:
        await walk.close()
    counts = {"sessions": len(ended), "uses afterwards": used, "refused": refused}
    return Outcome(users=names(party), counts=counts)


# One store


def _stores(walk: ApiCrawler, user: User) -> list[Route]:
    """Routes that list or show what is the user's, and name nothing: whose it is follows from the token alone."""
    return [route for route in walk.routes if route.reads and not route.braces and walk.is_personal(user.name, route)]


async def _open_own(walk: ApiCrawler, user: User, wrong: int | None) -> tuple[int, int, int]:
    """How many of a user's stores opened to them, and how much that is no token was shown and refused."""
    opened = shown = refused = 0
    kinds = list(_held(user))
    turn = cycle(kinds)
    for route in _stores(walk, user):
        arguments = walk.answered[user.name, route.name][0]
        for name, token in islice(turn, len(kinds) if wrong is None else wrong):
            # The owner first, each time: what a cache keeps of this answer is for nobody else.
            opened += isinstance(await _ask(walk, user, route), Answered)
            mark = {"attempt": name, "object": _object(route, user), "owner": user.name, "expect": REFUSED}
            reply = await walk.send(None, route, arguments, mark=mark, token=token)
            shown, refused = shown + 1, refused + isinstance(reply, Refused)
    return opened, shown, refused


def _held(user: User) -> Iterator[tuple[str, Secret | None]]:
    """What somebody holds, or leaves out, that is no access token."""
    yield "no token", None
    if user.auth.access is not None:
        yield "same beginning", with_another_end(user.auth.access)
    if user.auth.refreshing is not None:
        yield "refresh token as access token", user.auth.refreshing


async def _ask_forged(
    walk: ApiCrawler, route: Route, one: Attempt, forgery: Forgery, *, tester: User, victim: User
) -> bool:
    """Show one forgery at one store; whether it held."""
    arguments = walk.answered[tester.name, route.name][0]
    query = {**arguments.query, **{name: value.reveal() for name, value in forgery.query.items()}}
    expect = REFUSED if one.expect == REFUSED else tester.name
    mark = {"attempt": one.name, "object": _object(route, victim), "owner": victim.name, "expect": expect}
    reply = await walk.send(
        None if expect == REFUSED else tester.name,
        route,
        Arguments(path=arguments.path, query=query),
        mark=mark,
        token=forgery.bearer,
        headers={name: value for name, value in forgery.http_headers().items() if name != "Authorization"},
    )
    shows = victim.id in str(reply.body) if isinstance(reply, Answered) else False
    return not shows and (expect != REFUSED or isinstance(reply, Refused))


async def _ask(
    walk: ApiCrawler,
    user: User,
    route: Route,
    *,
    of: User | None = None,
    credential: str = "",
    token: Secret | None = None,
) -> Reply | None:
    """The user's own request: the positive control of what is tried on their store."""
    mark: dict[str, Any] = {"credential": credential} if credential else {"object": _object(route, of or user)}
    return await walk.send(user.name, route, walk.answered[user.name, route.name][0], mark=mark, token=token)


def _object(route: Route, user: User) -> Mapping[str, Any]:
    return {"kind": "list", "id": f"{route.path} of {user.name}"}
