"""Forgeries that differ in what else stands in the token: its session, and the rights that it says its bearer has.

A service that looks a session up before it looks at the signature, or has another way for tokens without one, is told
by the first; one that has another way for administrators by the second, which name the tester's own account.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from netra_probe.forgery.attempt import Attempt, Material, token_attempt
from netra_probe.forgery.claims import resigned
from netra_probe.forgery.tokens import as_victim, claims_of, header_of, parts, unsigned
from netra_probe.history.secret import Secret

_SESSION = "OWASP ASVS 5.0 7.2.1; RFC 8725 §3.3; CWE-384"
_RIGHTS = "OWASP ASVS 5.0 8.3.1; RFC 8725 §3.3; CWE-269"
#: Names under which a token carries its session, and its own id.
SESSIONS = ("sid", "session_id", "jti")
#: What a token says of somebody who may do everything.
_EVERYTHING = {"permissions": ["admin", "*"], "roles": ["admin"], "role": "admin", "scope": "admin", "is_admin": True}

Claims = dict[str, Any]


def _without_session(material: Material) -> Claims:
    return {name: value for name, value in as_victim(material).items() if name not in SESSIONS[:2]}


def _fresh_session(material: Material) -> Claims:
    return {**as_victim(material), **dict.fromkeys(SESSIONS, str(uuid.UUID(int=material.now, version=4)))}


def _with_rights(material: Material) -> Claims:
    return {**claims_of(material.token), **_EVERYTHING}


def _without_signature(change: Callable[[Material], Claims]) -> Callable[[Material], Secret]:
    return lambda material: Secret(unsigned({"alg": "none", "typ": "JWT"}, change(material)) + ".")


def _with_the_old_signature(change: Callable[[Material], Claims]) -> Callable[[Material], Secret]:
    def make(material: Material) -> Secret:
        _, _, signature = parts(material.token)
        return Secret(f"{unsigned(header_of(material.token), change(material))}.{signature}")

    return make


def _in_an_unknown_session(material: Material, claims: Claims) -> Claims:
    named = [name for name in SESSIONS[:2] if name in claims]
    if not named:
        raise ValueError("the token names no session that could be another")
    return {**claims, **dict.fromkeys(named, str(uuid.UUID(int=material.now, version=4)))}


def _attempts() -> Iterator[Attempt]:
    signatures = (
        ("alg none", "without a signature", _without_signature),
        ("claims changed", "with the signature of the tester's own token", _with_the_old_signature),
    )
    changes = (
        ("without session", "subject", "the victim's id and no session", _SESSION, _without_session),
        ("fresh session", "subject", "the victim's id and a session that nobody began", _SESSION, _fresh_session),
        ("with all rights", "rights", "the tester's own id and every right", _RIGHTS, _with_rights),
    )
    for change, family, says, source, make in changes:
        for name, how, signature in signatures:
            yield token_attempt(f"{name}, {change}", family, f"{says}, {how}", source, signature(make))
    yield token_attempt(
        "session of nobody", "subject", "properly signed for a session that nobody began", _SESSION,
        resigned(_in_an_unknown_session), "key",
    )  # fmt: skip


SESSION_ATTEMPTS: tuple[Attempt, ...] = tuple(_attempts())
