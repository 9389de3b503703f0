"""One service's interface as its OpenAPI document describes it, version 2, 3.0 or 3.1, in one model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netra_probe.history.untrusted import address

Json = Mapping[str, Any]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_BRACES = re.compile(r"\{([^{}]+)\}")
#: References followed from one place before it counts as a loop.
DEEPEST = 20


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a route; ``place`` is ``path``, ``query`` or ``header``."""

    name: str
    place: str
    required: bool = False
    schema: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation of a service: a method and a path, and what it takes.

    Arguments:
        service: ``auth`` or ``backend``.
        body: schema of its JSON body, or ``None`` when it takes none.
        form: whether the body is described as something else than JSON (a form, a file).
        secured: whether the description says that it wants credentials.
    """

    service: str
    method: str
    path: str
    parameters: tuple[Parameter, ...] = ()
    body: Json | None = field(default=None, repr=False)
    form: bool = False
    secured: bool = False

    @property
    def name(self) -> str:
        """As the history calls it: ``GET /api/threads/{id}``."""
        return f"{self.method} {self.path}"

    @property
    def braces(self) -> tuple[str, ...]:
        """The names in the path's braces, in order."""
        return tuple(_BRACES.findall(self.path))

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    def prefix(self, brace: str) -> str:
        """The path before a brace: the collection that its id comes from, ``/api/threads``."""
        return self.path.partition("{" + brace + "}")[0].rstrip("/")

    def query(self, *, required: bool | None = None) -> Iterator[Parameter]:
        """Its query parameters; only required or only optional ones, if asked for."""
        return (
            parameter
            for parameter in self.parameters
            if parameter.place == "query" and required in (None, parameter.required)
        )

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Interface:
    """All operations of one service, and the document that their schemas refer into.

    ``described`` is false when the service publishes no description and the usual operations stand in.
    """

    service: str
    routes: tuple[Route, ...]
    document: Json = field(default_factory=dict, repr=False)
    described: bool = True

    def offers(self, method: str, path: str) -> bool:
        """Whether it has, or may have, this operation; names of path parameters do not matter."""
        wanted = shape_of(path)
        return any(route.method == method and shape_of(route.path) == wanted for route in self.routes)

    def __repr__(self) -> str:
        return f"<Interface of {self.service}: {len(self.routes)} operations>"


def read_interface(service: str, document: Any) -> Interface | None:
    """Read an OpenAPI document; ``None`` when it is none. What cannot be understood in it is left out."""
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict):
        return None
    base = _base_path(document)
    routes = []
    for path, item in paths.items():
        item = resolve(item, document)
        if not isinstance(item, dict) or not isinstance(path, str) or not path.startswith("/"):
            continue
        for method in METHODS:
            operation = resolve(item.get(method.lower()), document)
            if isinstance(operation, dict):
                routes.append(_route(service, method, base + path, item, operation, document))
    return Interface(service=service, routes=tuple(routes), document=document)


def resolve(value: Any, document: Json) -> Any:
    """What a local ``$ref`` points to; the value itself when it is none, ``{}`` when it leads nowhere."""
    for _ in range(DEEPEST):
        reference = value.get("$ref") if isinstance(value, dict) else None
        if not isinstance(reference, str):
            return value
        if not reference.startswith("#/"):
            return {}
        value = document
        for part in reference[2:].split("/"):
            value = value.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(value, Mapping) else {}
    return {}


def _route(service: str, method: str, path: str, item: Json, operation: Json, document: Json) -> Route:
    parameters: dict[tuple[str, str], Parameter] = {}
    body, form = None, False
    for given in (*_list(item.get("parameters")), *_list(operation.get("parameters"))):
        given = resolve(given, document)
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            continue
        place, name = str(given.get("in")), given["name"]
        if place == "body":  # OpenAPI 2
            body = given.get("schema") or {}
        elif place == "formData":
            form = True
        elif place in ("path", "query", "header"):
            schema = given.get("schema") or {key: given[key] for key in ("type", "enum", "format") if key in given}
            parameters[place, name] = Parameter(
                name=name, place=place, required=given.get("required") is True, schema=schema
            )
    content = _mapping(_mapping(resolve(operation.get("requestBody"), document)).get("content"))
    if content:
        wanted = next((kind for kind in content if "json" in kind), next(iter(content)))
        form = "json" not in wanted
        body = None if form else _mapping(content[wanted]).get("schema") or {}
    security = operation.get("security", document.get("security"))
    return Route(
        service=service,
        method=method,
        path=path,
        parameters=tuple(parameters.values()),
        body=body,
        form=form,
        secured=bool(security) and {} not in _list(security),
    )


def _base_path(document: Json) -> str:
    servers = _list(document.get("servers"))
    url = servers[0].get("url") if servers and isinstance(servers[0], dict) else document.get("basePath")
    path = address(url).path.rstrip("/") if isinstance(url, str) else ""
    return "" if "{" in path else path


def shape_of(path: str) -> str:
    """A path without the names of its parameters: ``/notes/{}`` for ``/notes/{note_id}``."""
    return _BRACES.sub("{}", path.rstrip("/"))


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _mapping(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}
