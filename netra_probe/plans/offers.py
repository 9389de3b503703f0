"""What a target offers, as far as a planner needs to know it: operations, their roles, and where ids stand in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from netra_probe.openapi.document import Route
from netra_probe.openapi.objects import singular
from netra_probe.plans.steps import Place, Role

_SEARCHES = re.compile(r"search|find|query|lookup", re.IGNORECASE)
#: The role of an operation by a word in its path, for writing operations and for reading ones.
_WRITES = (
    (re.compile(r"stop|cancel|abort", re.IGNORECASE), Role.STOP),
    (re.compile(r"logout|sign-?out|revoke", re.IGNORECASE), Role.END),
    (re.compile(r"token|ticket|api-?key|login|refresh|credential", re.IGNORECASE), Role.ISSUE),
    (re.compile(r"export|download|report|backup", re.IGNORECASE), Role.EXPORT),
    (re.compile(r"execut|/run$|/runs$|stream|complet|/ask$|/start$", re.IGNORECASE), Role.START),
)
_READS = (
    (re.compile(r"count|total|stat(s|istics)|summary", re.IGNORECASE), Role.COUNT),
    (_SEARCHES, Role.SEARCH),
)
_ID = re.compile(r"(_id|_uuid|Id)$")


class Offer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation that a target offers.

    Arguments:
        takes: where somebody else's value can stand in it.
        removal: the operation that removes what it makes, or what it names; "" where there is none.
        withheld: why it is not sent; "" where it may be.
        personal: whether what it answers is about whoever asks.
    """

    name: str
    role: Role
    surface: str = "rest"
    kind: str = ""
    takes: tuple[Place, ...] = ()
    removal: str = ""
    withheld: str = ""
    personal: bool = True


class Offers(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a target before anything is done there.

    Arguments:
        backends: how many there are.
        has: what it has beside: ``registration``, ``login``, ``logout``, ``removal`` of accounts, ``websocket``,
            ``sse``, and ``attack`` where another user's objects may be attacked.
        unlisted: places that no description names and that were tried all the same.
    """

    offers: tuple[Offer, ...] = ()
    backends: int = 1
    has: frozenset[str] = frozenset()
    unlisted: tuple[str, ...] = ()


def role_of(method: str, path: str) -> Role:
    """What an operation is for, by its method and its words.

    >>> role_of("GET", "/api/threads/{id}"), role_of("GET", "/api/threads"), role_of("POST", "/api/runs/{id}/stop")
    (<Role.READ: 'read'>, <Role.LIST: 'list'>, <Role.STOP: 'stop'>)
    """
    if method == "GET":
        word = next((role for pattern, role in _READS if pattern.search(path)), None)
        return word or (Role.READ if path.rstrip("/").endswith("}") else Role.LIST)
    if method == "DELETE":
        return Role.DELETE
    if method in ("PUT", "PATCH"):
        return Role.UPDATE
    return next((role for pattern, role in _WRITES if pattern.search(path)), Role.CREATE)


def offers_of(
    routes: Iterable[Route], *, withheld: Callable[[Route], str], fields: Callable[[Route], set[str]]
) -> tuple[Offer, ...]:
    """What a service's routes are to a planner.

    Arguments:
        withheld: why a route is not sent; "" where it may be.
        fields: the names of a body's fields.
    """
    routes = tuple(routes)
    removals = {singular(route.path): route.name for route in routes if route.method == "DELETE" and route.braces}
    found = []
    for route in routes:
        why = withheld(route)
        kind = singular(route.prefix(route.braces[-1])) if route.braces else singular(route.path)
        found.append(
            Offer(
                name=route.name,
                role=role_of(route.method, route.path),
                surface="auth" if route.service == "auth" else "rest",
                kind=kind,
                takes=() if why else _places(route, fields(route)),
                removal=removals.get(kind, "") if route.name != removals.get(kind) else "",
                withheld=why,
            )
        )
    return tuple(found)


def _places(route: Route, fields: set[str]) -> tuple[Place, ...]:
    places = [Place.PATH] if route.braces else []
    if any(_ID.search(one.name) for one in route.query()):
        places.append(Place.QUERY)
    if any(_ID.search(name) for name in fields):
        places.append(Place.BODY)
    if route.reads:
        places += [Place.CLAIM_QUERY, Place.CLAIM_HEADER]
    elif fields:
        places.append(Place.CLAIM_BODY)
    if route.method == "POST" and not route.braces:
        places.append(Place.KEY)
    return tuple(places)


#: Calls of tools by hand: where, and what a step of them is called.
TOOLS, EXECUTE, TOOL = "GET /api/tools", "POST /api/tools/execute", "tool "


def tool_offers(body: Any) -> tuple[Offer, ...]:
    """What a list of tools offers, however it is wrapped.

    >>> [offer.name for offer in tool_offers({"tools": [{"name": "thread_lookup"}]})]
    ['tool thread_lookup']
    """
    found = body.get("tools", []) if isinstance(body, dict) else body
    names = [one.get("name") if isinstance(one, dict) else one for one in found] if isinstance(found, list) else []
    return tuple(
        Offer(name=f"{TOOL}{name}", role=Role.READ, kind="thread", takes=(Place.ARGUMENT,))
        for name in names
        if isinstance(name, str)
    )


#: Client messages (netra-wire §5): what each is for, and whether it names a thread or a run.
MESSAGES: tuple[tuple[str, Role, str], ...] = (
    ("subscribe", Role.LIST, "thread"),
    ("switch_thread", Role.READ, "thread"),
    ("get_thread_history", Role.READ, "thread"),
    ("user_typing", Role.UPDATE, "thread"),
    ("stop_agent", Role.STOP, "run"),
    ("refresh_token", Role.ISSUE, ""),  # which names a token
)
#: A question to the agent over a socket, and the opening of one.
QUESTION, HANDSHAKE = "question", "handshake"


def socket_offers() -> tuple[Offer, ...]:
    """What every target with the platform's socket offers there; which messages it understands is seen."""
    messages = [
        Offer(name=f"message {name}", role=role, surface="websocket", kind=kind, takes=(Place.MESSAGE,))
        for name, role, kind in MESSAGES
    ]
    question = Offer(
        name=QUESTION, role=Role.START, surface="websocket", kind="run", takes=(Place.MESSAGE, Place.CLAIM_BODY)
    )
    handshake = Offer(name=HANDSHAKE, role=Role.CONNECT, surface="websocket", takes=(Place.CLAIM_QUERY,))
    return (*messages, question, handshake)
