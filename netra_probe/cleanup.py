"""Removing what an investigation made, and looking whether it is really gone."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Refused, Silent, Unreachable
from netra_probe.history import actions
from netra_probe.users import thread_ids
from netra_probe.verdict import CleanUp, Verdict

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation
    from netra_probe.users import User

#: Routes by which an account removes itself, most thorough last; a target may have any of them, or none.
BACKEND_REMOVAL = ("/api/users/me", "/api/user/me", "/api/users/{id}")
AUTH_REMOVAL = ("/auth/users/{id}", "/auth/users/me", "/auth/me", "/auth/account")


@dataclass(frozen=True, kw_only=True)
class Routes:
    """What each service says it offers: pairs of method and path from its ``/openapi.json``."""

    auth: frozenset[tuple[str, str]]
    backend: frozenset[tuple[str, str]]

    def removal(self, service: str, candidates: Iterable[str]) -> str | None:
        """The first route of the candidates that takes DELETE; parameter names do not matter."""
        routes = self.auth if service == "auth" else self.backend
        offered = {path.split("{")[0]: path for method, path in routes if method == "DELETE"}
        for candidate in candidates:
            stem = candidate.split("{")[0]
            if stem in offered and ("{" in offered[stem]) == ("{" in candidate):
                return offered[stem]
        return None


async def discover_routes(probe: Investigation) -> Routes:
    """What the auth service and the first backend of the target offer."""
    target = probe.target
    found = []
    for url in (target.auth_url, target.backend_urls[0]):
        http = probe.wire.http(url, surface="probe")
        found.append(await _operations(http))
        await http.close()
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
    left: list[str] = []
    route = routes.removal("backend", BACKEND_REMOVAL)
    if route is None:
        left += await _remove_threads(user)
    elif not await _delete(user.rest.http, route, user.id):
        left.append(f"data of {user.name}")
    if left:
        # The account is the only key to what is left: it stays, for the next sweep to try again.
        return [*left, f"account of {user.name}"]
    route = routes.removal("auth", AUTH_REMOVAL)
    if route is None:
        # Without a way out the least one owes is an ended session and a name on the list.
        await user.auth.logout()
        left.append(f"account of {user.name}")
    elif not await _delete(user.auth.http, route, user.id) or not isinstance(
        await user.auth.login(email=user.email, password=user._password), Refused
    ):
        left.append(f"account of {user.name}")
    return left


async def _delete(http: Http, route: str, user_id: str) -> bool:
    """Send DELETE; where it may or may not have happened (a cut connection, a time-out) send it once more."""
    path = {route.split("{")[1].split("}")[0]: user_id} if "{" in route else {}
    reply = await http.request("DELETE", route, path=path)
    if isinstance(reply, Silent) or (isinstance(reply, Unreachable) and reply.sent):
        again = await http.request("DELETE", route, path=path)
        return bool(again) or (isinstance(again, Refused) and again.status in (401, 404, 410))
    return bool(reply)


async def _remove_threads(user: User, only: Container[str] | None = None) -> list[str]:
    """Remove the user's threads, all or ``only`` these; returns what is left, by name."""
    left = []
    for id in thread_ids(await user.rest.threads()):
        if (only is None or id in only) and not await user.rest.delete_thread(id):
            left.append(f"a thread of {user.name}")
    return left


async def _leave_account(probe: Investigation, user: User) -> list[str]:
    """Take out of an account that existed before what the probe has put into it, and end the session."""
    spoken_of = {id for operation in probe.history if operation.user == user.name for id in operation.ids.values()}
    left = await _remove_threads(user, (spoken_of - user.threads_before) | set(user.threads_made))
    await user.auth.logout()
    return left


async def clean_up(probe: Investigation, users: list[User]) -> CleanUp:
    """Remove all users, then look into every surface there is for what should be gone.

    ``fail`` when something was removed by the target's own account and is still there; ``not applicable`` when the
    target offers no way to remove an account, which is then named as left; ``inconclusive`` when it has not answered
    any more.
    """
    begin = len(probe.history)
    lists = await asyncio.gather(
        *(_leave_account(probe, user) if user.existing else remove_user(user, probe.routes) for user in users)
    )
    left = [item for items in lists for item in items]
    can_remove = probe.routes.removal("auth", AUTH_REMOVAL) is not None
    ids = {user.id: user.name for user in users if user.id}
    staying = {user.name for user in users if user.existing}
    gone = {id: name for id, name in ids.items() if f"account of {name}" not in left and name not in staying}
    if probe.database is not None and gone:
        left += [f"{number} row(s) in {table}" for table, number in (await probe.database.count(gone)).items()]
    if probe.cache is not None and gone:
        names = await probe.cache.naming(gone)
        left += [f"cache key {_without_ids(name, gone)}" for name in names]
    left += [f"socket {user.socket.name}" for user in users if user.socket is not None and user.socket.closed is None]
    left = sorted(set(left))
    if not left:
        verdict = Verdict.PASS
    elif not can_remove and all(item.startswith("account of ") for item in left):
        verdict = Verdict.NOT_APPLICABLE
    elif _is_silent(probe, since=begin):
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.FAIL
    probe.history.observe(actions.CLEANUP, detail={"verdict": str(verdict), "left": left, "users": len(ids)})
    # What the target cannot remove is named once, here; keeping it on the books would name it for ever.
    probe.ledger.strike({user.email for user in users if f"account of {user.name}" not in left or not can_remove})
    return CleanUp(verdict=verdict, left=tuple(left))


def _is_silent(probe: Investigation, *, since: int) -> bool:
    """Whether nothing that was asked since then got an answer of any kind: the target is not there any more."""
    ends = [operation for operation in probe.history if operation.index >= since and operation.call is not None]
    return bool(ends) and all(end.type != "ok" and end.status is None for end in ends)


def _without_ids(key: str, users: dict[str, str]) -> str:
    for id, name in users.items():
        key = key.replace(id, f"<{name}>")
    return key
