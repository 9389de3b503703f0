"""One plain, valid JSON value for a schema, the same every time, with room for what one wants to plant in it.

Every property that the schema names is filled, also optional ones, so that a secret stands wherever the service keeps
one. Values come from the schema itself (``const``, ``enum``, ``example``, ``default``) before anything is made up.
The result is checked with ``jsonschema-rs``, and what does not fit is taken out as far as it is optional.

Why not a generator of random instances: ``hypothesis-jsonschema`` has had no release since February 2024 and does not
know draft 2020-12, which OpenAPI 3.1 is written in; Schemathesis is kept well, but its plainest instances are empty
texts and nulls, which many a service refuses and in which nothing can be planted, and it brings a test runner along.
Its validator is taken (``jsonschema`` itself needs seconds to be imported beside Jupyter, which adds grammars for every
format), and texts for a ``pattern`` come from Hypothesis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from netra_probe.history.untrusted import number
from netra_probe.openapi.document import Json, resolve

#: Makes the text of a string property from its name and the characters it may have; ``None`` leaves it to the schema.
Plant = Callable[[str, int], str | None]

#: Objects within objects that are filled; a schema may refer to itself.
DEEPEST = 6
#: Characters of a text, or things in a list, that are made at most: a description may ask for a thousand million.
LARGEST = 1000
#: Values within one instance.
MOST = 10_000
_FORMATS = {
    "email": "probe+body@netra-probe.example",
    "idn-email": "probe+body@netra-probe.example",
    "uri": "https://netra-probe.example/",
    "url": "https://netra-probe.example/",
    "uri-reference": "/",
    "hostname": "netra-probe.example",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "7b0f7f5e-2f43-4f5e-9d52-0c1f5f1c7a10",
    "date": "2025-01-31",
    "time": "12:00:00Z",
    "date-time": "2025-01-31T12:00:00Z",
    "duration": "PT1H",
    "byte": "cHJvYmU=",
    "binary": "probe",
    "password": "Np1-body-password",
}  # fmt: skip


class Instances:
    """Makes instances for the schemas of one OpenAPI document.

    >>> make = Instances({}, seed=7)
    >>> make({"type": "object", "properties": {"title": {"type": "string", "minLength": 3}, "count": {"minimum": 2}}})
    {'title': 'text', 'count': 2}
    """

    def __init__(self, document: Json, *, seed: int) -> None:
        self._document = document
        self._seed = seed
        self._left = MOST

    def __call__(self, schema: Json, plant: Plant = lambda name, room: None) -> Any:
        """An instance; of a schema that nothing fits it is what comes closest."""
        self._left = MOST
        try:
            value = self._make("", schema, plant, 0)
        except Exception:  # no schema at all
            return "text"
        try:
            return self._mended(schema, value)
        except Exception:  # a schema that is none must not end the walk: the service will say what it thinks of it
            return value

    def required(self, schema: Json) -> frozenset[str]:
        """The properties without which an object of this schema is none."""
        return frozenset(name for name in _list(self._plain(schema).get("required")) if isinstance(name, str))

    def _make(self, name: str, schema: Any, plant: Plant, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            return None
        schema = self._plain(schema)
        for said in ("const", "example", "default"):
            if schema.get(said) not in (None, ""):
                return schema[said]
        for several in ("enum", "examples"):
            values = [value for value in _list(schema.get(several)) if value is not None]
            if values:
                return values[0]
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, plant, depth)
        if kind == "array":
            few = _size(schema, "minItems", 0)
            item = schema.get("items") or {}
            return [self._make(name, item, plant, depth + 1) for _ in range(few)] if depth < DEEPEST else []
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        if kind == "string":
            return self._text(name, schema, plant)
        return {"boolean": True, "null": None}.get(kind, self._text(name, schema, plant))

    def _object(self, schema: Json, plant: Plant, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or depth >= DEEPEST:
            # Anything goes in here, so that something to be found again does.
            planted = plant("note", 200) if depth < DEEPEST else None
            return {} if planted is None else {"note": planted}
        return {
            inner: self._make(inner, given, plant, depth + 1)
            for inner, given in properties.items()
            if not self._plain(given).get("readOnly")
        }

    def _text(self, name: str, schema: Json, plant: Plant) -> str:
        shortest, longest = _size(schema, "minLength", 0), _size(schema, "maxLength", 200)
        if isinstance(schema.get("pattern"), str):
            return matching(schema["pattern"], self._seed)
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = plant(name, longest)
        return (text if text is not None else "text"[:longest]).ljust(shortest, "x")

    def _plain(self, schema: Any) -> dict[str, Any]:
        """The schema with its reference followed, its parts put together and one of its alternatives chosen."""
        schema = resolve(schema, self._document)
        if not isinstance(schema, Mapping):
            return {}
        plain = dict(schema)
        for part in _list(plain.pop("allOf", None)):
            part = self._plain(part)
            properties = {**_mapping(part.get("properties")), **_mapping(plain.get("properties"))}
            plain = {**part, **plain, **({"properties": properties} if properties else {})}
        for several in ("oneOf", "anyOf"):
            choices = [self._plain(choice) for choice in _list(plain.pop(several, None))]
            choices = [choice for choice in choices if _kind(choice) != "null"]
            # A number can hardly be misread; the text for one has to match some pattern.
            choices.sort(key=lambda choice: "pattern" in choice)
            if choices:
                plain = {**choices[0], **plain}
        return plain

    def _mended(self, schema: Json, value: Any) -> Any:
        """The value without optional parts that do not fit."""
        validator = jsonschema_rs.validator_for({**self._document, **schema})
        for _ in range(DEEPEST):
            error = next(iter(validator.iter_errors(value)), None)
            path = list(error.instance_path) if error is not None else []
            if not path:
                break
            holder = value
            for step in path[:-1]:
                holder = holder[step]
            if isinstance(holder, dict):
                holder.pop(path[-1], None)
            else:
                break
        return value


def matching(pattern: str, chosen: int) -> str:
    """A text that matches a pattern, the same for the same number; "text" for a pattern that is none of Python's."""
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    found: list[str] = []

    @seed(chosen)
    @settings(
        max_examples=1, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(st.from_regex(pattern, fullmatch=pattern.startswith("^") and pattern.endswith("$")))
    def keep(text: str) -> None:
        found.append(text)

    try:
        keep()
    except Exception:
        return "text"
    return found[0] if found else "text"


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):  # OpenAPI 3.1: ["string", "null"]
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    return "number" if {"minimum", "maximum", "exclusiveMinimum", "multipleOf"} & schema.keys() else "string"


def _number(schema: Json, *, whole: bool) -> int | float:
    """A small number within the bounds; 1, where it fits."""
    step = _bound(schema, "multipleOf") or (1 if whole else None)
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    if schema.get("exclusiveMinimum") is True:  # OpenAPI 3.0: flags beside the bounds
        low, above = None, low
    if schema.get("exclusiveMaximum") is True:
        high, below = None, high
    least = max((bound for bound in (low, above) if bound is not None), default=None)
    most = min((bound for bound in (high, below) if bound is not None), default=None)
    value: int | float = 1
    if least is not None and (value < least or value == above):
        value = least if least != above else least + (step or 1)
    if most is not None and (value > most or value == below):
        value = most if most != below else most - (step or 1)
        if least is not None and (value < least or value == above):
            value = (least + most) / 2
    if step:
        value = math.ceil(value / step) * step
    return int(value) if whole or float(value).is_integer() else value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _bound(schema: Json, name: str) -> int | float | None:
    value = schema.get(name)
    return None if isinstance(value, str) or number(value) is None else value


def _size(schema: Json, name: str, usual: int) -> int:
    """How long a text or a list has to be; beyond ``LARGEST`` the service can say what it thinks of a shorter one."""
    return min(LARGEST, max(0, int(_bound(schema, name) or usual)))
