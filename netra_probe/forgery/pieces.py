"""Tokens signed with the real key in which one claim is nearly right: a piece of the right value, or a list around it.

Equal is equal (RFC 7519 §4.1.1 and §4.1.3: case-sensitive strings). Whoever looks whether one value is *in* the other,
begins or ends like it, or reads lists where a text belongs takes these for good. All name the tester's own account.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from netra_probe.forgery.attempt import Attempt, Material, token_attempt
from netra_probe.forgery.claims import resigned
from netra_probe.history.secret import Secret

#: Each claim that says what a token is for, with the names under which it goes.
_PURPOSE = {"iss": ("iss",), "aud": ("aud",), "env": ("env", "environment"), "type": ("type", "token_type")}
_SOURCE = "RFC 8725 §3.8 and §3.9; CVE-2024-53861; CWE-697"
_SEPARATOR = re.compile(r"[^A-Za-z0-9]+")


def _words(text: str) -> list[str]:
    return [word for word in _SEPARATOR.split(text) if word]


def _first(text: str) -> str:
    words = _words(text)
    return words[0] if len(words) > 1 else text[: len(text) // 2]


def _last(text: str) -> str:
    words = _words(text)
    return words[-1] if len(words) > 1 else text[len(text) // 2 :]


#: How the right value is spoilt, and what whoever accepts it has compared instead.
_SPELLINGS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("piece of {} at its beginning", "only the beginning of the right {}", _first),
    ("piece of {} at its end", "only the end of the right {}", _last),
    ("piece of {} that is empty", "an empty {}, which is part of every text", lambda _: ""),
    ("list around {}", "the right {} among others, in a list where one text belongs", lambda text: ["x", text]),
    ("list of pieces of {}", "pieces of the right {} in a list", lambda text: [_first(text), _last(text)]),
    ("{} behind more", "the right {} behind something else", lambda text: f"evil.{text}"),
)
#: An audience may be a list, and whoever stands in it is meant (RFC 7519 §4.1.3).
_ALLOWED = frozenset({"list around aud"})


def _changed(names: tuple[str, ...], spoil: Callable[[str], Any]) -> Callable[[Material], Secret]:
    def change(_: Material, claims: dict[str, Any]) -> dict[str, Any]:
        spoilt = {
            name: spoil(claims[name])
            for name in names
            if isinstance(claims.get(name), str) and spoil(claims[name]) != claims[name]
        }
        if not spoilt:
            raise ValueError(f"the token has no {names[0]} that could be spoilt")
        return {**claims, **spoilt}

    return resigned(change)


def _attempts() -> Iterator[Attempt]:
    for claim, names in _PURPOSE.items():
        for name, description, spoil in _SPELLINGS:
            if name.format(claim) not in _ALLOWED:
                yield token_attempt(
                    name.format(claim), "audience", description.format(claim), _SOURCE, _changed(names, spoil), "key"
                )


PIECE_ATTEMPTS: tuple[Attempt, ...] = tuple(_attempts())
