"""Mutations of the lab made by rule over its composition root: nobody has written one with a checker in mind.

    owner    what is refused because it is somebody else's is done in the name of whoever owns it
    cache    an answer is kept for two seconds under the call's arguments alone, whoever asks
    reset    every second call is made in the name of whoever called before
    shared   every second object that is made for one user is the one that was made for the user before
    swapped  two calls that follow each other exchange their first id

Each is one fault, ``M-<rule>-<part>.<method>``; the module is given to a lab with ``fault_modules``.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any

from netra_probe.lab.backend.composition import healthy_parts
from netra_probe.lab.backend.errors import Forbidden, NotFound
from netra_probe.lab.shared.faults import Fault, Parts

SECONDS = 2.0


class Mutation(Fault):
    """One rule, applied to one part."""

    layer = "mutation"
    part = ""
    method = ""

    def install(self, parts: Parts) -> None:
        rule: Callable[..., Any] = RULES[type(self).id.split("-")[1]]
        if not self.method:
            parts[self.part] = rule(self, parts[self.part])
            return
        healthy = parts[self.part]
        mutant = type(healthy.__name__, (healthy,), {self.method: rule(self, getattr(healthy, self.method))})
        parts[self.part] = mutant


def owner(fault: Mutation, healthy: Any) -> Any:
    seen: set[str] = set()

    @functools.wraps(healthy)
    async def mutant(self: Any, *arguments: Any, **options: Any) -> Any:
        fault.reached()
        seen.add(self._user_id)
        try:
            return await healthy(self, *arguments, **options)
        except (Forbidden, NotFound):
            own = self._user_id
            for other in sorted(seen - {own}):
                try:
                    self._user_id = other
                    found = await healthy(self, *arguments, **options)
                except (Forbidden, NotFound):
                    continue
                finally:
                    self._user_id = own
                fault.triggered()
                return found
            raise

    return mutant


def cache(fault: Mutation, healthy: Any) -> Any:
    kept: dict[str, tuple[float, Any, Any]] = {}

    @functools.wraps(healthy)
    async def mutant(*arguments: Any, **options: Any) -> Any:
        fault.reached()
        who = _who(arguments, options)
        key = repr(([one for one in arguments[1:] if _plain(one)], {k: v for k, v in options.items() if _plain(v)}))
        at, whose, value = kept.get(key, (0.0, None, None))
        if time.monotonic() - at < SECONDS:
            if whose != who:
                fault.triggered()
            return value
        value = await healthy(*arguments, **options)
        kept[key] = time.monotonic(), who, value
        return value

    return mutant


def reset(fault: Mutation, healthy: Any) -> Any:
    last: dict[str, Any] = {"user": None, "calls": 0}

    @functools.wraps(healthy)
    async def mutant(self: Any, *arguments: Any, **options: Any) -> Any:
        fault.reached()
        own, before = self._user_id, last["user"]
        last["user"], last["calls"] = own, last["calls"] + 1
        if before in (None, own) or last["calls"] % 2:
            return await healthy(self, *arguments, **options)
        fault.triggered()
        try:
            self._user_id = before
            return await healthy(self, *arguments, **options)
        finally:
            self._user_id = own

    return mutant


def shared(fault: Mutation, healthy: Any) -> Any:
    last: dict[str, Any] = {"user": None, "made": None, "calls": 0}

    @functools.wraps(healthy, updated=())
    def make(*arguments: Any, **options: Any) -> Any:
        fault.reached()
        who = _who((None, *arguments), options)
        last["calls"] += 1
        if last["made"] is not None and last["user"] != who and last["calls"] % 2:
            fault.triggered()
            return last["made"]
        last["user"], last["made"] = who, healthy(*arguments, **options)
        return last["made"]

    return make


def swapped(fault: Mutation, healthy: Any) -> Any:
    last: dict[str, Any] = {"id": None}

    @functools.wraps(healthy)
    async def mutant(self: Any, id: str, *arguments: Any, **options: Any) -> Any:
        fault.reached()
        before, last["id"] = last["id"], id
        if before is not None and before != id:
            fault.triggered()
            id = before
        return await healthy(self, id, *arguments, **options)

    return mutant


RULES = {"owner": owner, "cache": cache, "reset": reset, "shared": shared, "swapped": swapped}


def _who(arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The user that a call is for, as far as its arguments tell."""
    for one in (*arguments, *options.values()):
        principal = getattr(one, "principal", one)
        for name in ("user_id", "_user_id"):
            if isinstance(found := getattr(principal, name, None), str):
                return found
    return next((one for one in arguments if isinstance(one, str)), None)


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | None | tuple | dict | list)


def _mutations() -> Iterator[tuple[str, str, str]]:
    """(rule, part, method) of every place that a rule fits."""
    for part, healthy in sorted(healthy_parts().items()):
        if isinstance(healthy, type):
            parameters = inspect.signature(healthy).parameters
            methods = [
                (name, inspect.signature(method))
                for name, method in inspect.getmembers(healthy, inspect.iscoroutinefunction)
                if not name.startswith("_")
            ]
            of_a_user = "user_id" in parameters
            for name, signature in methods:
                first = [*signature.parameters.values()][1:2]
                named = bool(first) and first[0].name.endswith("_id") and first[0].default is inspect.Parameter.empty
                if of_a_user:
                    yield from ((rule, part, name) for rule in ("reset", *(("owner",) if named else ())))
                    if "None" not in str(signature.return_annotation):
                        yield "cache", part, name
                elif named:
                    yield "swapped", part, name
            if of_a_user or "context" in parameters or "user_context" in parameters:
                yield "shared", part, ""
        elif part.startswith("GET ") and "caller" in inspect.signature(healthy).parameters:
            yield "cache", part, ""


def _slug(part: str, method: str) -> str:
    return "".join(one if one.isalnum() or one == "." else "_" for one in f"{part}.{method}".rstrip("."))


IDS = []
for _rule, _part, _method in _mutations():
    _id = f"M-{_rule}-{_slug(_part, _method)}"
    IDS.append(_id)
    globals()[_id] = type(_id, (Mutation,), {
        "__module__": __name__, "id": _id, "part": _part, "method": _method, "title": f"{_rule}: {_part} {_method}",
        "service": "backend",
    })  # fmt: skip
