"""Filling in a request: ids that were learned, everything else from the schema, something to be found again in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netra_probe.openapi.document import Parameter, Route
from netra_probe.openapi.examples import Instances, Plant
from netra_probe.openapi.objects import Thing, Things

#: Stands in every text that is planted, whosever it is: what a search looks for, so that it finds one's own.
COMMON = "budget"
_SEARCHES = re.compile(r"^(q|query|search|term|text|keyword|filter|contains|prompt)$", re.IGNORECASE)
_IDS = re.compile(r"(_id|_uuid|Id)$")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What one request is filled with; ``aims`` are the objects it names, the innermost last."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    aims: tuple[Thing, ...] = ()

    @property
    def aim(self) -> Thing | None:
        """The thing that the request is about."""
        return self.aims[-1] if self.aims else None


class Filler:
    """Fills the routes of one service.

    Arguments:
        things: what is known of everybody's objects.
        make: makes instances of the service's schemas.
    """

    def __init__(self, things: Things, make: Instances) -> None:
        self._things = things
        self._make = make

    def fill(
        self,
        route: Route,
        user: str,
        plant: Plant,
        *,
        whose: str | None = None,
        skip: int = 0,
        sparsely: bool = False,
    ) -> Arguments | None:
        """Everything that the route needs, and no ids beyond; ``None`` when an id is needed that nobody has told.

        Arguments:
            whose: whose objects to name in the path, where they are not the user's own.
            skip: as many of the fitting objects to pass over for the last brace.
            sparsely: leave out of the body what need not be in it.
        """
        path: dict[str, str] = {}
        aims: list[Thing] = []
        for brace in route.braces:
            last = brace == route.braces[-1]
            thing = self._things.filling(whose or user, route, brace, path, skip if last else 0)
            if thing is None:
                return None
            path[brace] = thing.id
            aims.append(thing)
        query = {one.name: self._value(one, user) for one in route.query(required=True)}
        body = self._body(route, user, plant, sparsely=sparsely)
        return Arguments(path=path, query=query, body=body, aims=tuple(aims))

    def named(self, route: Route, user: str) -> list[tuple[str, str, Thing]]:
        """Places beside the path that take the id of a thing of the user's: (``query`` or ``body``, name, thing)."""
        places = [("query", one.name) for one in route.query() if _IDS.search(one.name)]
        body = self._make(route.body) if route.body is not None else None
        places += [("body", name) for name in body if _IDS.search(name)] if isinstance(body, dict) else []
        found = [(place, name, self._things.named(user, name)) for place, name in places]
        return [(place, name, thing) for place, name, thing in found if thing is not None and thing.kind != "user"]

    def fields(self, route: Route) -> set[str]:
        """The names of the fields of its body."""
        body = self._make(route.body) if route.body is not None else None
        return set(body) if isinstance(body, dict) else set()

    def naming(self, arguments: Arguments, place: str, name: str, thing: Thing) -> Arguments:
        """The same request with the id of a thing in one of these places."""
        aims = (*arguments.aims, thing)
        if place == "query":
            return replace(arguments, query={**arguments.query, name: thing.id}, aims=aims)
        return replace(arguments, body={**arguments.body, name: thing.id}, aims=aims)

    def _value(self, parameter: Parameter, user: str) -> str:
        thing = self._things.named(user, parameter.name) if _IDS.search(parameter.name) else None
        if thing is not None:
            return thing.id
        if _SEARCHES.match(parameter.name):
            return COMMON
        value = self._make(parameter.schema)
        return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)

    def _body(self, route: Route, user: str, plant: Plant, *, sparsely: bool) -> Any:
        if route.body is None:
            return None
        body = self._make(route.body, plant)
        if not isinstance(body, dict):
            return body
        needed = self._make.required(route.body)
        for name in list(body):
            thing = self._things.named(user, name) if _IDS.search(name) else None
            if name in needed and thing is not None:
                body[name] = thing.id
            elif name not in needed and (sparsely or _IDS.search(name)):
                del body[name]
        return body


def missing(id: str) -> str:
    """An id of the same form that nobody has.

    >>> missing("thread_0a1b2c3d"), missing("42")
    ('thread_ffffffff', '2147480042')
    """
    if id.isascii() and id.isdigit():
        return str(2_147_480_000 + int(id[-3:]))
    last = re.split(r"[-_]", id)[-1]
    return id[: len(id) - len(last)] + re.sub(r"[0-9a-zA-Z]", "f", last)
