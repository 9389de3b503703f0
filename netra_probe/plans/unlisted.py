"""Routes that nobody lists, derived from those that are: a forgotten one stands beside a checked one.

Only names of reading routes are made, and none that says by its name that it does something but export or download.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, zip_longest

from netra_probe.openapi.document import Route, shape_of
from netra_probe.openapi.objects import singular

#: What stands behind a listed path, commonest first.
BEHIND = ("export", "all", "admin", "debug", "raw", "download", "list", "history", "details", "dump")
#: What stands before it, or instead of its version.
BEFORE = ("admin", "internal", "debug", "public")
VERSIONS = ("v1", "v0", "v2", "beta")
_VERSION = re.compile(r"^(v\d+|beta|alpha)$")


def neighbours(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Paths beside the listed ones that no description lists, the likeliest of each first.

    >>> listed = [Route(service="backend", method="GET", path=path) for path in ("/api/notes", "/api/notes/{note_id}")]
    >>> [route.path for route in neighbours(listed)[:4]]
    ['/api/notes/export', '/api/notes/{note_id}/export', '/api/notes/all', '/api/notes/{note_id}/all']
    >>> "/api/note/{note_id}" in [route.path for route in neighbours(listed)]
    True
    """
    listed = [route for route in routes if route.service == "backend"]
    shapes = {shape_of(route.path) for route in listed}
    reads = [route for route in listed if route.reads]
    queues = [_beside(route, reads) for route in sorted(reads, key=lambda route: (route.path.count("/"), route.path))]
    found: dict[str, Route] = {}
    for route in chain.from_iterable(zip_longest(*queues)):
        if route is not None and shape_of(route.path) not in shapes:
            found.setdefault(shape_of(route.path), route)
    return tuple(found.values())


def _beside(route: Route, reads: list[Route]) -> Iterator[Route]:
    """Names behind its path; its singular or plural; another prefix; the children that its siblings have."""
    path = route.path.rstrip("/")
    head, *rest = path.strip("/").split("/")
    tail = [part for part in rest if not _VERSION.match(part)]
    paths = [f"{path}/{word}" for word in BEHIND[:4]]
    paths += [_renumbered(path)]
    paths += ["/".join(("", head, version, *tail)) for version in VERSIONS]
    paths += ["/".join(("", head, word, *tail)) for word in BEFORE]
    paths += [f"{path}/{word}" for word in BEHIND[4:]]
    if path.endswith("}"):
        paths += [f"{path}/{child}" for child in _children(reads)]
    else:
        paths += [f"{path}/{{{singular(path)}_id}}"]
    for other in paths:
        if other and other != path:
            yield replace(route, path=other, parameters=tuple(one for one in route.parameters if one.place == "path"))


def _renumbered(path: str) -> str:
    """The path with its collection in the singular, or in the plural where it is singular."""
    parts = path.split("/")
    number = next((n for n in range(len(parts) - 1, 0, -1) if parts[n] and not parts[n].startswith("{")), 0)
    if not number:
        return ""
    word = parts[number]
    parts[number] = word[:-1] if word.endswith("s") else f"{word}s"
    return "/".join(parts)


def _children(reads: list[Route]) -> list[str]:
    """The last words of paths under some object: ``messages`` of ``/threads/{id}/messages``."""
    return sorted({last for route in reads for _, _, last in [route.path.rpartition("}/")] if last and "/" not in last
                   and "}/" in route.path})  # fmt: skip
