"""How a forgery of the playbook is made again with the standard library, as an expression.

The forgery is made once from material that stands for the real one; what it consists of tells how to make it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from netra_probe.forgery import BY_NAME
from netra_probe.forgery.attempt import Attempt, Forgery, Material
from netra_probe.forgery.tokens import b64, claims_of, dumps, mac, signed, unb64
from netra_probe.history.secret import Secret
from netra_probe.report.reproducers.slicing import NoReproducerError

_OWN, _VICTIM = "0own0own0", "0victim0victim0"
_HEADER = {"alg": "HS256", "typ": "JWT"}
#: Keys that everybody can guess, as an expression makes them.
_GUESSABLE = {b"": 'b""', bytes(32): "bytes(32)", b"secret": 'b"secret"', b"null": 'b"null"', b"0": 'b"0"'}
#: A valid token with other characters in its signature, as acts present it that are not in the playbook.
CHANGED = "changed signature"
#: What of the material a reproducer has as well.
_AT_HAND = frozenset(("victim_token", "refresh"))


def presented(name: str, actor: str, victim: str) -> dict[str, str]:
    """What to present, as expressions: ``bearer``, ``headers`` and ``query``. Raises NoReproducerError."""
    if name == CHANGED:
        return {"bearer": f"tampered({victim}.token)"}
    attempt = BY_NAME.get(name)
    if attempt is None or not attempt.needs <= _AT_HAND:
        raise NoReproducerError(f'the credential "{name}" needs what a reproducer does not have')
    first, second = (_forgery(attempt, key) for key in (b"k" * 32, b"q" * 32))
    made: dict[str, str] = {}
    if first.bearer is not None and second.bearer is not None:
        made["bearer"] = _token(name, first.bearer.reveal(), second.bearer.reveal(), actor, victim)
    if first.subprotocol is not None:
        raise NoReproducerError(f'"{name}" presents two tokens in one handshake')
    headers = {one: value.reveal() for one, value in first.headers.items()}
    if first.cookies:
        headers["Cookie"] = "; ".join(f"{one}={value.reveal()}" for one, value in first.cookies.items())
    for place, values in (("headers", headers), ("query", {n: v.reveal() for n, v in first.query.items()})):
        if values:
            made[place] = _texts(name, values, actor, victim)
    return made


def _material(key: bytes) -> Material:
    return Material(
        token=signed(_HEADER, {"sub": _OWN, "typ": "own"}, key),
        victim=_VICTIM,
        now=0,
        victim_token=signed(_HEADER, {"sub": _VICTIM, "typ": "victim"}, key),
        refresh=signed(_HEADER, {"sub": _OWN, "typ": "refresh"}, key),
    )


def _forgery(attempt: Attempt, key: bytes) -> Forgery:
    try:
        return attempt(_material(key))
    except (ValueError, AssertionError):
        raise NoReproducerError(f'the credential "{attempt.name}" needs what a reproducer does not have') from None


def _whole(token: str, key: bytes, actor: str, victim: str) -> str | None:
    """An expression for a token that is one of those at hand."""
    material = _material(key)
    known = {material.token: f"{actor}.token", material.victim_token: f"{victim}.token"}
    known[material.refresh] = f"{actor}.refresh_token"
    return next((shown for one, shown in known.items() if one is not None and one.reveal() == token), None)


def _texts(name: str, values: Mapping[str, str], actor: str, victim: str) -> str:
    """A dictionary of texts in which tokens and ids stand for themselves."""
    told = []
    for field, text in values.items():
        shown = repr(text)[1:-1].replace("{", "{{").replace("}", "}}").replace('"', '\\"')
        for token in re.findall(r"eyJ[\w-]*\.[\w-]*\.[\w-]*", text):
            whole = _whole(token, b"k" * 32, actor, victim)
            if whole is None:
                raise NoReproducerError(f'"{name}" presents a forged token in a header of its own')
            shown = shown.replace(token, f"{{{whole}}}")
        shown = shown.replace(_VICTIM, f"{{{victim}.id}}").replace(_OWN, f"{{{actor}.id}}")
        told.append(f'"{field}": f"{shown}"')
    return f"{{{', '.join(told)}}}"


def _token(name: str, token: str, other: str, actor: str, victim: str) -> str:
    """An expression that makes a token; ``other`` is the same forgery where the target has another key."""
    if whole := _whole(token, b"k" * 32, actor, victim):
        return whole
    material = _material(b"k" * 32)
    assert material.victim_token is not None
    theirs = material.victim_token.reveal()
    parts, others = token.split("."), other.split(".")
    if len(parts) not in (2, 3):
        raise NoReproducerError(f'the credential "{name}" is no compact token')
    if len(token) == len(theirs) and token.rpartition(".")[0] == theirs.rpartition(".")[0]:
        tail = len(token) - next(i for i, (a, b) in enumerate(zip(token, theirs, strict=True)) if a != b)
        if parts[2] == material.token.reveal().split(".")[2]:
            return f'{victim}.token.rpartition(".")[0] + "." + {actor}.token.rpartition(".")[2]'
        return f'{victim}.token[:-{tail}] + "".join("B" if one == "A" else "A" for one in {victim}.token[-{tail}:])'
    try:
        header, claims = unb64(parts[0]).decode(), json.loads(unb64(parts[1]))
    except ValueError:
        raise NoReproducerError(f'the credential "{name}" is malformed in a way that is not made again') from None
    own = claims_of(material.token)
    if not isinstance(claims, dict) or own.keys() - claims.keys() or b64(dumps(claims)) != parts[1]:
        raise NoReproducerError(f'the claims of the credential "{name}" are not made again')
    changed = {one: value for one, value in claims.items() if own.get(one) != value}
    said = "".join(f', "{one}": {victim}.id' if v == _VICTIM else f', "{one}": {v!r}' for one, v in changed.items())
    body = f"{{**claims({actor}.token){said}}}"
    made = f"forge({header!r}, {body}"
    if len(parts) == 2:
        return f'{made}, dot="")'
    signature = parts[2]
    if not signature:
        return f"{made})"
    if signature == material.token.reveal().split(".")[2]:
        return f'{made}, signature={actor}.token.split(".")[2])'
    for key, shown in _GUESSABLE.items():
        if b64(mac(f"{parts[0]}.{parts[1]}", key)) == signature:
            return f"{made}, key={shown})"
    if signature == others[2] and Secret(signature):
        return f"{made}, signature={signature!r})"
    raise NoReproducerError(f'the signature of the credential "{name}" needs a key that a reproducer does not have')
