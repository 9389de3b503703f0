"""Tokens signed with the real key and wrong in one claim: a signature does not make a token right.

They are what a stolen key, another service of the same issuer, or yesterday's token looks like. All of them name the
tester's own account, so that acceptance harms nobody, but for the ones that juggle the victim's id in ``sub``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from netra_probe.forgery.attempt import REFUSED, SELF, Attempt, Material, token_attempt
from netra_probe.forgery.tokens import b64 as encoded
from netra_probe.forgery.tokens import claims_of, dumps, header_of, mac, parts, signed, unsigned
from netra_probe.history.secret import Secret

_TIME = "RFC 7519 §4.1.4 to §4.1.6; OWASP ASVS 5.0 9.2.1"
_LIFETIME = "OWASP ASVS 5.0 7.3.2; CWE-613; RFC 8725 §3.8"
_AUDIENCE = "RFC 8725 §3.9; OWASP ASVS 5.0 9.2.3"
_ISSUER = "RFC 8725 §3.8"
_TYPE = "RFC 8725 §3.11 and §3.12; OWASP ASVS 5.0 9.2.2"
_SUBJECT = "RFC 8725 §3.8; CWE-290"
_FORM = "RFC 8725 §3.3 and §2.6; RFC 7515 §4.1.11"
_DAY = 86_400

Change = Callable[[Material, dict[str, Any]], dict[str, Any]]


def resigned(change: Change) -> Callable[[Material], Secret]:
    """The tester's token with changed claims, signed with the real key and the algorithm of the original."""

    def make(material: Material) -> Secret:
        assert material.key is not None
        header = header_of(material.token)
        claims = change(material, claims_of(material.token))
        return signed(header, claims, material.key.reveal().encode(), str(header.get("alg", "HS256")))

    return make


def _with(**changed: Any) -> Change:
    return lambda _, claims: {**claims, **changed}


def _at(**offsets: int) -> Change:
    """Claims set relative to now, in seconds."""
    return lambda material, claims: {**claims, **{name: material.now + offset for name, offset in offsets.items()}}


def _without(*names: str) -> Change:
    return lambda _, claims: {name: value for name, value in claims.items() if name not in names}


def _victim_as(spell: Callable[[str], Any]) -> Change:
    return lambda material, claims: {**claims, "sub": spell(material.victim)}


def _behind(name: str) -> Change:
    """The right value with more behind it: right for whoever compares beginnings."""
    return lambda _, claims: {**claims, name: f"{claims.get(name)}.evil"}


_SWEEP: tuple[tuple[str, str, str, str, Change], ...] = (
    # time
    ("exp a minute ago", "time", "properly signed and past its exp for a minute", _TIME, _at(exp=-60, iat=-_DAY)),
    ("exp a year ago", "time", "properly signed and past its exp for a year", _TIME, _at(exp=-365 * _DAY)),
    ("exp missing", "time", "properly signed and valid for ever", _TIME, _without("exp")),
    ("exp null", "time", "exp is null: read as none", _TIME, _with(exp=None)),
    ("exp zero", "time", "exp is 0: read as false, that is, as none", _TIME, _with(exp=0)),
    ("exp negative", "time", "exp lies before 1970", _TIME, _with(exp=-1)),
    ("exp a text", "time", "exp is no number", _TIME, _with(exp="never")),
    ("exp a list", "time", "exp is a list", _TIME, _with(exp=[])),
    ("exp in ten years", "time", "properly signed and valid far longer than anything is issued for", _LIFETIME,
     _at(exp=3650 * _DAY)),
    ("iat ten years ago", "time", "valid until tomorrow, for ten years already: far longer than is issued", _LIFETIME,
     _at(iat=-3650 * _DAY, nbf=-3650 * _DAY, exp=_DAY)),
    ("nbf tomorrow", "time", "properly signed and not valid before tomorrow", _TIME, _at(nbf=_DAY, exp=2 * _DAY)),
    ("iat tomorrow", "time", "properly signed tomorrow", _TIME, _at(iat=_DAY, exp=2 * _DAY)),
    # audience and issuer
    ("aud of services", "audience", "addressed to services", _AUDIENCE, _with(aud="netra-services")),
    ("aud of strangers", "audience", "addressed to another platform", _AUDIENCE, _with(aud="another-platform")),
    ("aud missing", "audience", "addressed to nobody", _AUDIENCE, _without("aud")),
    ("aud empty", "audience", "addressed to an empty list", _AUDIENCE, _with(aud=[])),
    ("aud prefix", "audience", "the right audience with more behind it", _AUDIENCE, _behind("aud")),
    ("iss of strangers", "audience", "issued by another service", _ISSUER, _with(iss="another-issuer")),
    ("iss missing", "audience", "issued by nobody", _ISSUER, _without("iss")),
    ("iss prefix", "audience", "the right issuer with more behind it", _ISSUER, _behind("iss")),
    # type and environment
    ("type refresh", "audience", "a refresh token by its type", _TYPE, _with(type="refresh", token_type="refresh")),
    (
        "type service", "audience", "a service token by its type", _TYPE,
        _with(type="service", token_type="service", service="netra-probe"),
    ),
    ("type unknown", "audience", "a token of a type that does not exist", _TYPE, _with(type="x", token_type="x")),
    ("type missing", "audience", "a token of no type", _TYPE, _without("type", "token_type")),
    ("types at odds", "audience", "token_type says access, type says refresh", _TYPE, _with(type="refresh")),
    ("env of strangers", "audience", "issued for another environment", _AUDIENCE, _with(env="another-environment")),
    # subject
    ("sub missing", "subject", "properly signed for nobody", _SUBJECT, _without("sub", "user_id")),
    ("sub empty", "subject", "properly signed for an empty id", _SUBJECT, _with(sub="")),
    ("sub null", "subject", "sub is null", _SUBJECT, _with(sub=None)),
    ("sub a number", "subject", "sub is 0", _SUBJECT, _with(sub=0)),
    ("sub a list", "subject", "sub is a list with the victim", _SUBJECT, _victim_as(lambda victim: [victim])),
    ("sub an object", "subject", "sub is an object with the victim", _SUBJECT, _victim_as(lambda id: {"id": id})),
    ("sub a wildcard", "subject", "sub, used as a pattern, matches everybody", _SUBJECT, _with(sub="*")),
    ("sub a placeholder", "subject", "sub is a word for no user at all", _SUBJECT, _with(sub="default")),
    ("sub upper case", "subject", "the victim's id in capitals", _SUBJECT, _victim_as(str.upper)),
    ("sub with a blank", "subject", "the victim's id and a blank", _SUBJECT, _victim_as(lambda victim: f"{victim} ")),
    ("sub with a null byte", "subject", "the victim's id, a null byte", _SUBJECT, _victim_as(lambda id: f"{id}\0x")),
    ("sub with a path", "subject", "a path to the victim's id", _SUBJECT, _victim_as(lambda id: f"x/../{id}")),
    (
        "sub of nobody", "subject", "properly signed for an account that does not exist", _SUBJECT,
        _with(sub="00000000-0000-4000-8000-000000000000"),
    ),
)  # fmt: skip


def _raw(claims: Callable[[Material], str], **extra: Any) -> Callable[[Material], Secret]:
    """Claims written by hand, signed with the real key."""

    def make(material: Material) -> Secret:
        assert material.key is not None
        return signed({**header_of(material.token), **extra}, claims(material), material.key.reveal().encode())

    return make


def _twice(name: str, first: Callable[[Material, Any], Any]) -> Callable[[Material], str]:
    """The claims with one name standing there twice: first another value, last the right one."""

    def text(material: Material) -> str:
        claims = claims_of(material.token)
        return f"{{{dumps(name)}:{dumps(first(material, claims.get(name)))},{dumps(claims)[1:]}"

    return text


def _plain(material: Material) -> str:
    return dumps(claims_of(material.token))


def _unencoded(material: Material) -> Secret:
    """RFC 7797: the payload is signed as it stands; who ignores ``crit`` checks other bytes than are meant."""
    assert material.key is not None
    header = {**header_of(material.token), "b64": False, "crit": ["b64"]}
    payload = parts(material.token)[1]
    text = f"{encoded(dumps(header))}.{payload}"
    return Secret(f"{text}.{encoded(mac(text, material.key.reveal().encode()))}")


def _other_hash(material: Material) -> Secret:
    assert material.key is not None
    header = {**header_of(material.token), "alg": "HS512"}
    return signed(header, claims_of(material.token), material.key.reveal().encode(), "HS512")


def _four_parts(material: Material) -> Secret:
    assert material.key is not None
    text = unsigned(header_of(material.token), claims_of(material.token))
    return Secret(f"{text}.{encoded(mac(text, material.key.reveal().encode()))}.{encoded(dumps({}))}")


def _forms() -> Iterator[Attempt]:
    written = (
        (
            "sub twice",
            "subject",
            "sub stands there twice, the victim first and the tester last: only the last may count",
            "RFC 7519 §4; RFC 8725 §2.6",
            _raw(_twice("sub", lambda material, _: material.victim)),
            SELF,
        ),
        (
            "exp twice",
            "time",
            "exp stands there twice, tomorrow first and an hour ago last: only the last may count",
            "RFC 7519 §4; RFC 8725 §2.6",
            _raw(
                lambda material: (
                    f'{{"exp":{material.now + _DAY},'
                    + dumps({**claims_of(material.token), "exp": material.now - 3600})[1:]
                )
            ),
            REFUSED,
        ),
        (
            "exp infinite",
            "time",
            "exp is Infinity, which is no JSON and which some parsers read",
            _TIME,
            _raw(
                lambda material: dumps({**claims_of(material.token), "exp": None}).replace(
                    '"exp":null', '"exp":Infinity'
                )
            ),
            REFUSED,
        ),
        (
            "unknown crit",
            "form",
            "crit names an extension that the target cannot know and must therefore refuse",
            f"{_FORM}; CVE-2025-59420",
            _raw(_plain, crit=["netra-probe-unknown"], **{"netra-probe-unknown": True}),
            REFUSED,
        ),
        (
            "unencoded payload",
            "form",
            "b64 is false and critical (RFC 7797)",
            f"{_FORM}; RFC 7797 §6",
            _unencoded,
            REFUSED,
        ),
        (
            "other hash",
            "algorithm",
            "HS512 with the real key, where HS256 is in use",
            "RFC 8725 §3.1",
            _other_hash,
            REFUSED,
        ),
        ("four parts", "form", "a fourth part behind the signature", "RFC 7515 §3.1", _four_parts, REFUSED),
        ("claims a list", "form", "the claims are a list", "RFC 7519 §7.2", _raw(lambda _: "[]"), REFUSED),
    )
    for name, family, description, source, make, expect in written:
        yield token_attempt(name, family, description, source, make, "key", expect=expect)


CLAIM_ATTEMPTS: tuple[Attempt, ...] = (
    *(
        token_attempt(name, family, description, source, resigned(change), "key")
        for name, family, description, source, change in _SWEEP
    ),
    *_forms(),
)
