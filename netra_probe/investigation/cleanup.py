"""Removing what an investigation made, and looking whether it is really gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from netra_probe.checkers.verdict import CleanUp, Verdict
from netra_probe.clients.account_ledger import Belonging, short
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Refused, Reply, Silent, Unreachable
from netra_probe.history import actions
from netra_probe.investigation.context import InvestigationContext, Routes
from netra_probe.investigation.users import TOO_MANY, thread_ids
from netra_probe.openapi.objects import TELLING, collection_of, listed

if TYPE_CHECKING:
    from netra_probe.clients.policy import Gate
    from netra_probe.investigation.users import User

#: Refusals that say that a thing is not there, and the one that says that the session is over.
GONE, FORBIDDEN, UNAUTHENTICATED = (404, 410), 403, 401
#: What is said of something that is left and stays, and of something that may be left.
FOR_GOOD, UNCHECKED = " (nothing deletes it)", " (could not be checked)"
#: Routes by which an account removes itself, most thorough last; a target may have any of them, or none.
BACKEND_REMOVAL = ("/api/users/me", "/api/user/me", "/api/users/{id}")
AUTH_REMOVAL = ("/auth/users/{id}", "/auth/users/me", "/auth/me", "/auth/account")


async def discover_routes(probe: InvestigationContext) -> Routes:
    """What the auth service and the first backend of the target offer."""
    target = probe.target
    found = []
    for url in (target.auth_url, target.backend_urls[0]):
        http = probe.wire.http(url, surface="probe")
        found.append(await _operations(http))
        await http.close()
    probe.rules.learn(found[0] | found[1])
    return Routes(auth=found[0], backend=found[1])


async def _operations(http: Http) -> frozenset[tuple[str, str]]:
    """The operations of a service; empty when it does not publish them."""
    reply = await http.request("GET", "/openapi.json", anonymous=True)
    if not isinstance(reply, Answered) or not isinstance(reply.body, dict):
        return frozenset()
    paths = reply.body.get("paths")
    return frozenset(
        (method.upper(), path)
        for path, operations in (paths.items() if isinstance(paths, dict) else ())
        if isinstance(operations, dict)
        for method in operations
    )


async def remove_user(user: User, routes: Routes) -> list[str]:
    """Remove one account and everything it owns; returns what is left, by name."""
    if not user.id and user.unsure:
        # The answer to the registration never came: whoever can log in was registered.
        reply = await user.login()
        if not reply and not isinstance(reply, Refused):
            return [f"account of {user.name}"]
    if not user.id:
        return []
    left = await _remove_belongings(user)
    route = routes.removal("backend", BACKEND_REMOVAL)
    if route is None:
        left += await _remove_threads(user)
    elif await _delete(user, user.rest.http, route):
        left = []
    else:
        left.append(f"data of {user.name}")
    if any(not item.endswith(FOR_GOOD) for item in left):
        # The account is the only key to what is left: it stays, for the next sweep to try again.
        return [*left, f"account of {user.name}"]
    if routes.removal("auth", AUTH_REMOVAL) is None:
        # Without a way out the least one owes is an ended session and a name on the list.
        await user.auth.logout()
        left.append(f"account of {user.name}")
    elif not await remove_account(user, routes):
        left.append(f"account of {user.name}")
    else:
        again = await user.in_time(lambda: user.auth.login(email=user.email, password=user._password))
        if isinstance(again, Refused) and again.status == TOO_MANY:
            left.append(f"account of {user.name}{UNCHECKED}")
        elif not isinstance(again, Refused):
            left.append(f"account of {user.name}")
    return left


async def remove_account(user: User, routes: Routes) -> bool:
    """Let an account remove itself at the auth service; whether it has one to do that by, and it was answered."""
    route = routes.removal("auth", AUTH_REMOVAL)
    return route is not None and await _delete(user, user.auth.http, route)


async def _delete(user: User, http: Http, route: str) -> bool:
    """Let an account remove itself."""
    path = {route.split("{")[1].split("}")[0]: user.id} if "{" in route else {}
    reply = await _insist(user, lambda: http.request("DELETE", route, path=path), gone=(401, 404, 410))
    return bool(reply)


async def _insist(user: User, ask: Callable[[], Awaitable[Reply]], *, gone: Container[int] = ()) -> Reply:
    """The reply, however often it takes: it waits where asked to, starts an ended session again, and what
    may or may not have happened (a cut connection, a time-out) is asked for once more.

    Arguments:
        gone: refusals that then say that it had happened.
    """
    reply = await user.in_time(ask)
    if isinstance(reply, Refused) and reply.status == UNAUTHENTICATED and await user.login():
        return await user.in_time(ask)
    if isinstance(reply, Silent) or (isinstance(reply, Unreachable) and reply.sent):
        again = await user.in_time(ask)
        return Answered(status=again.status) if isinstance(again, Refused) and again.status in gone else again
    return reply


async def remove(probe: InvestigationContext, user: User, one: Belonging) -> bool:
    """Delete one thing that the user has made, and look whether it is gone; what is not stays on the books."""
    gate = probe.wire.gate
    route = _deletion(gate, one) if gate is not None else ""
    if gate is None or not one.id or not route:
        return False
    http = user.auth.http if one.surface == "auth" else user.rest.http
    path = _filled(route, one)
    reply = await _insist(user, lambda: http.request("DELETE", route, path=path), gone=GONE)
    if not reply and not (isinstance(reply, Refused) and reply.status in GONE):
        one.unchecked = not isinstance(reply, Refused)
        return False
    gone = await _is_gone(gate, user, http, route, path, one)
    if gone:
        gate.belongings.settle(one)
    one.unchecked = gone is None
    return bool(gone)


async def _is_gone(
    gate: Gate, user: User, http: Http, route: str, path: Mapping[str, str], one: Belonging
) -> bool | None:
    """Whether a thing is neither read any more by its id nor listed; ``None`` where there is no way to look."""
    offered, looked = gate.rules.offered, False
    if ("GET", route) in offered or not offered:
        reply = await _insist(user, lambda: http.request("GET", route, path=path))
        if isinstance(reply, Answered) and reply.body not in (None, "", {}, []):
            return False
        looked = isinstance(reply, Refused) and reply.status in (*GONE, FORBIDDEN)
    collection = collection_of(one.route)
    for listing in {collection, f"{collection}/"} & {path for method, path in offered if method == "GET"}:
        reply = await _insist(user, partial(http.request, "GET", listing, path=one.within))
        if isinstance(reply, Answered) and any(one.id in map(str, item.values()) for item in _items(reply)):
            return False
        # A collection that is gone went with what it was in.
        looked = looked or isinstance(reply, Answered) or (isinstance(reply, Refused) and reply.status in GONE)
    return True if looked else None


def _items(reply: Answered) -> list[dict[str, object]]:
    return [item for item in listed(reply.body) if isinstance(item, dict)]


def _deletion(gate: Gate, one: Belonging) -> str:
    """The route by which a thing is deleted; "" where the target has none."""
    if route := gate.rules.deletion(one.route):
        return route
    return "/api/threads/{id}" if one.kind == "thread" and not gate.rules.offered else ""


def _filled(route: str, one: Belonging) -> dict[str, str]:
    names = [part.partition("}")[0] for part in route.split("{")[1:]]
    return {**one.within, names[-1]: one.id} if names else {}


async def _remove_belongings(user: User) -> list[str]:
    """Delete what the user has made, the last first; returns what is left, by name."""
    probe = user._probe
    gate = probe.wire.gate
    if gate is None:
        return []
    mine = [one for one in gate.belongings.left if one.owner == user.name]
    if gate.rules.lab and not user.existing:
        return []  # goes with its account
    for one in mine:
        await remove(probe, user, one)
    removed = {one.id for one in gate.belongings.all if one.gone and one.id}
    for one in mine:
        # What has no deletion of its own went with what it was made in.
        if not one.gone and not _deletion(gate, one) and one.within and set(one.within.values()) <= removed:
            gate.belongings.settle(one)
    return [one.name + _how(gate, one) for one in mine if not one.gone]


def _how(gate: Gate, one: Belonging) -> str:
    """What is said of a thing that is left."""
    if one.unchecked or not one.id:
        return UNCHECKED
    return "" if _deletion(gate, one) else FOR_GOOD


async def _remove_threads(user: User, only: Container[str] | None = None) -> list[str]:
    """Remove the user's threads, all or ``only`` these; returns what is left, by name."""
    left = []
    for id in thread_ids(await _insist(user, user.rest.threads)):
        if only is None or id in only:
            reply = await _insist(user, partial(user.rest.delete_thread, id), gone=GONE)
            if not reply and not (isinstance(reply, Refused) and reply.status in GONE):
                left.append(f"thread {short(id)} of {user.name}")
    return left


async def _leave_account(probe: InvestigationContext, user: User) -> list[str]:
    """Take out of an account that existed before what the probe has put into it, and end the session."""
    left = await _remove_belongings(user)
    spoken_of = {id for operation in probe.history if operation.user == user.name for id in operation.ids.values()}
    known = {one.id for one in probe.wire.gate.belongings.all} if probe.wire.gate is not None else set()
    left += await _remove_threads(user, (spoken_of - user.threads_before - known) | set(user.threads_made))
    await user.auth.logout()
    return left


async def clean_up(probe: InvestigationContext, users: list[User], more: Iterable[str] = ()) -> CleanUp:
    """Remove all users, then look into every surface there is for what should be gone.

    ``fail`` when something is left that the target's own operations should have removed; ``not applicable`` when all
    that is left is what the target offers no way to remove; ``inconclusive`` when it has not answered any more, or
    nobody could look whether something is gone.

    Arguments:
        more: what is left of what was made elsewhere.
    """
    begin = len(probe.history)
    lists = await asyncio.gather(
        *(_leave_account(probe, user) if user.existing else remove_user(user, probe.routes) for user in users)
    )
    left = [*more, *(item for items in lists for item in items)]
    can_remove = probe.routes.removal("auth", AUTH_REMOVAL) is not None
    ids = {user.id: user.name for user in users if user.id}
    staying = {user.name for user in users if user.existing}
    gone = {id: name for id, name in ids.items() if f"account of {name}" not in left and name not in staying}
    if probe.database is not None and gone:
        left += [f"{number} row(s) in {table}" for table, number in (await probe.database.count(gone)).items()]
    if probe.cache is not None and gone:
        names = await probe.cache.naming(gone)
        left += [f"cache key {_without_ids(name, gone)}" for name in names]
    if probe.database is not None and staying and probe.wire.gate is not None:
        made = [one.id for one in probe.wire.gate.belongings.all if one.id and len(one.id) >= TELLING]
        here = {id: name for id, name in ids.items() if name in staying}
        rows = await probe.database.naming(here, made) if made else {}
        left += [f"{number} row(s) in {table} about what was made{FOR_GOOD}" for table, number in rows.items()]
    left += [f"socket {user.socket.name}" for user in users if user.socket is not None and user.socket.closed is None]
    left = sorted(set(left))
    stays = [item for item in left if item.endswith(FOR_GOOD) or (not can_remove and item.startswith("account of "))]
    unsure = [item for item in left if item.endswith(UNCHECKED)]
    if not left:
        verdict = Verdict.PASS
    elif len(stays) == len(left):
        verdict = Verdict.NOT_APPLICABLE
    elif len(stays) + len(unsure) == len(left) or _is_silent(probe, since=begin):
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.FAIL
    probe.history.observe(actions.CLEANUP, detail={"verdict": str(verdict), "left": left, "users": len(ids)})
    # What the target cannot remove is named once, here; keeping it on the books would name it for ever.
    struck = {user.email for user in users if f"account of {user.name}" not in left or not can_remove}
    await asyncio.to_thread(probe.ledger.strike, struck)
    if probe.wire.gate is not None and (journal := probe.wire.gate.belongings.journal) is not None:
        journal.close(keep=len(stays) < len(left))
    return CleanUp(verdict=verdict, left=tuple(left))


def _is_silent(probe: InvestigationContext, *, since: int) -> bool:
    """Whether nothing that was asked since then got an answer of any kind: the target is not there any more."""
    ends = [operation for operation in probe.history if operation.index >= since and operation.call is not None]
    return bool(ends) and all(end.type != "ok" and end.status is None for end in ends)


def _without_ids(key: str, users: dict[str, str]) -> str:
    for id, name in users.items():
        key = key.replace(id, f"<{name}>")
    return key
