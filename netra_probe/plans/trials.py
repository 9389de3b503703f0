"""What an attempt on another user's objects is made of: claims, changed tokens, and where its owner sees the effect."""

from __future__ import annotations

from typing import Any

from netra_probe.openapi import Route
from netra_probe.openapi.arguments import Arguments, missing
from netra_probe.openapi.objects import Thing
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.plans.steps import Spelling

#: Names by which a client may claim to be somebody: in a query or body, and in headers.
CLAIMS = ("user_id", "userId", "owner_id", "owner", "uid")
CLAIMING_HEADERS = ("X-User-ID", "X-Auth-User", "X-Forwarded-User", "X-Remote-User", "X-Netra-User-ID")


def readers(walk: ApiCrawler, owner: str, thing: Thing, route: Route) -> list[tuple[Route, Arguments]]:
    """How the owner can read a thing: by routes that name it, else in the lists that may hold it."""
    answered = {
        reader.name: (reader, walk.answered[owner, reader.name][0])
        for reader in walk.routes
        if reader.reads and (owner, reader.name) in walk.answered
    }
    naming = [
        (reader, arguments)
        for reader, arguments in answered.values()
        if any(aim.id == thing.id for aim in arguments.aims)
    ]
    if not naming:
        naming = [
            (reader, Arguments(path={reader.braces[0]: thing.id}, aims=(thing,)))
            for reader in walk.routes
            if reader.reads and walk.things.fits(thing, reader)
        ]
    if not naming:
        collections = (thing.collection, route.path)
        naming = [(reader, arguments) for reader, arguments in answered.values() if reader.path in collections]
    return sorted(naming, key=lambda pair: (pair[0].path != route.path, len(pair[0].path)))


#: Names under which tools take the id of a thread.
PARAMETERS = ("thread_id", "id", "reference")


def tool_call(tool: str, thread: str, **more: Any) -> dict[str, Any]:
    """The body of a call of a tool, with the id of a thread in case it takes one."""
    return {"tool_name": tool, "parameters": {**dict.fromkeys(PARAMETERS, thread), **more}}


def claimed(body: dict[str, Any], claims: dict[str, str]) -> dict[str, Any]:
    """A body that names somebody else at its root and in everything that it holds."""
    return {
        **{name: {**value, "user_id": claims["user_id"]} if isinstance(value, dict) else value
           for name, value in body.items()},
        **claims,
    }  # fmt: skip


def spelling(how: Spelling, id: str) -> str:
    """An id written in another way.

    >>> spelling(Spelling.UPPER, "thread_0a"), spelling(Spelling.PREFIX, "thread_0a1b2c3d")
    ('THREAD_0A', 'thread_')
    """
    match how:
        case Spelling.UPPER:
            return id.swapcase()
        case Spelling.PREFIX:
            return id[: max(4, len(id) // 2)]
        case Spelling.PATTERN:
            return f"{id[: max(4, len(id) // 2)]}%"
        case Spelling.MISSING:
            return missing(id)
    return id
