"""What a response says: its values, whether it is a refusal in disguise, and what two responses have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from netra_probe.history.untrusted import decoded

#: Values of one body that are compared; what leaks shows long before.
MOST_VALUES = 512
#: A text this long is hardly the same by accident in the data of two users.
TELLING = 8
#: Names of moments: two objects that were created at the same time have them in common.
_MOMENT = re.compile(r"(^|_)(at|on|time|timestamp|date|created|updated|modified|expires|exp|iat)$|[a-z](At|Time|Date)$")
_NO = re.compile(r'"(?:success|valid|authenticated|allowed|authorized)"\s*:\s*false', re.IGNORECASE)
_DENIED = re.compile(
    r"access denied|permission denied|forbidden|unauthori[sz]ed|not allowed|\b40[13]\b|not found|\b404\b", re.IGNORECASE
)
_DELETED = re.compile(r'"deleted(?:_at)?"\s*:\s*(?!null|false)|"status"\s*:\s*"deleted"')


def values(text: str) -> set[tuple[str, str]]:
    """The leaves of a JSON body as (name, value) pairs, up to ``MOST_VALUES``; empty for anything else.

    >>> sorted(values('{"id": "t1", "metadata": {"title": "Costs"}, "tags": ["a"]}'))
    [('id', 't1'), ('tags', 'a'), ('title', 'Costs')]
    """
    found: set[tuple[str, str]] = set()
    for pair in leaves("", decoded(text)):
        found.add(pair)
        if len(found) >= MOST_VALUES:
            break
    return found


def leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The leaves of a decoded JSON body, at any depth, as (name, value) pairs; neither null nor true or false."""
    waiting = [(name, value)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((str(inner), element) for inner, element in value.items())
        elif isinstance(value, list):
            waiting.extend((name, element) for element in value)
        elif value is not None and not isinstance(value, bool):
            yield name, str(value)


def telling(pairs: set[tuple[str, str]]) -> set[str]:
    """The values that would hardly stand in somebody else's data by accident: long ones, and no moments.

    >>> sorted(telling({("title", "Costs of March"), ("created_at", "1735689600"), ("role", "user")}))
    ['Costs of March']
    """
    return {value for name, value in pairs if len(value) >= TELLING and not _MOMENT.search(name)}


def says_no(text: str) -> bool:
    """A refusal in the body of a 200: ``{"success": false}``, ``{"valid": false}``."""
    return bool(_NO.search(text))


def denied(text: str) -> bool:
    """A refusal in the body of a 500."""
    return bool(_DENIED.search(text))


def marked_deleted(text: str) -> bool:
    """A body that says of its object that it is deleted."""
    return bool(_DELETED.search(text))


def empty(text: str) -> bool:
    """A body that holds nothing: no JSON, or no value but numbers, as in ``{"items": [], "total": 0}``.

    >>> empty('{"data": [], "total": 0, "has_more": false}'), empty('{"id": "t1"}')
    (True, False)
    """
    value = decoded(text)
    if value is None:
        return not text.strip() or text.strip() == "null"
    return not any(
        not leaf.lstrip("-").replace(".", "").isdigit() for name, leaf in leaves("", value) if name != "object"
    )
