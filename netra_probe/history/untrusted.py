"""What a target has sent, read without ever raising: JSON, addresses and numbers that may be anything."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

#: What decoding raises on what is not JSON, not text, or nested beyond reason.
UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
#: Levels of objects and lists in a JSON value; one with more is taken for no JSON, since who walks it would not return.
DEEPEST = 200

_decode = msgspec.json.Decoder().decode
_NO_ADDRESS = SplitResult("", "", "", "", "")


def decoded(text: str | bytes, otherwise: Any = None) -> Any:
    """The JSON value of a text; ``otherwise`` where it is none.

    >>> decoded('{"id": 7}'), decoded("[" * 100_000), decoded("9" * 10_000, "no JSON")
    ({'id': 7}, None, 'no JSON')
    """
    if not text:
        return otherwise
    try:
        value = _decode(text)
    except UNDECODABLE:
        return otherwise
    return otherwise if _is_deep(value, text) else value


def _is_deep(value: Any, text: str | bytes) -> bool:
    """Whether a value is nested beyond ``DEEPEST``; a text with few brackets need not be walked."""
    brackets = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if brackets <= DEEPEST:
        return False
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        inner = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [one for one in inner if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def address(text: str) -> SplitResult:
    """The parts of an address, all of them empty where it is none.

    >>> address("https://a.example/b?c=d").path, address("http://[").path, address("http://a:99999999/").netloc
    ('/b', '', '')
    """
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is none
    except ValueError:
        return _NO_ADDRESS
    return parts if text.isprintable() else _NO_ADDRESS


def number(value: Any) -> float | None:
    """A number as it came in JSON or in a header; ``None`` for anything else, and for one beyond all measure.

    >>> number(1.5), number("60"), number(10**4000), number("9" * 10_000), number("²"), number(True)
    (1.5, 60.0, None, None, None, None)
    """
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        told = float(value)
    except OverflowError:
        return None
    return told if math.isfinite(told) else None
