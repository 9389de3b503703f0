"""JSON Web Tokens by hand: the pieces that forgeries are put together from.

No JWT library is used to make them: libraries refuse to write most of what an attacker would.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from netra_probe.forgery.attempt import Material
from netra_probe.history.secret import Secret
from netra_probe.history.untrusted import decoded

Json = Mapping[str, Any]
_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
#: Keys that have been found in production; tried offline against a valid token, which costs the target nothing.
WEAK_KEYS = (
    "secret", "Secret", "SECRET", "password", "changeme", "change-me", "change_me", "jwt", "jwt-secret", "jwt_secret",
    "jwt-secret-key", "jwtsecret", "my-secret", "mysecret", "my_secret_key", "supersecret", "super-secret",
    "super-secret-key", "secretkey", "secret-key", "secret_key", "your-secret-key", "your-256-bit-secret", "key",
    "test", "test-secret", "test_secret", "test-jwt-secret", "testing", "dev", "dev-secret", "dev_secret",
    "dev-jwt-secret", "development", "development-secret-key", "staging", "default",
    "default-secret", "placeholder", "admin", "root", "123456",
    # long enough for HS256, and published: jwt.io, Supabase, FastAPI's guide, JJWT's guides, frameworks' templates
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "your-secret-key-change-in-production", "your-super-secret-key-change-in-production",
    "dev-secret-key-change-in-production", "change-this-secret-key-in-production",
    "your-secret-key-here-change-in-production", "development-secret-key-not-for-production",
    "your-jwt-secret-key-change-in-production", "this-is-a-very-long-secret-key-for-development",
    "dev-jwt-secret-key-must-be-at-least-32-characters", "test-jwt-secret-key-must-be-at-least-32-characters",
    "12345678", "qwerty", "netra", "netra-secret", "netra-auth-service", "",
)  # fmt: skip


def b64(data: bytes | str) -> str:
    """base64url without padding (RFC 7515 §2)."""
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The bytes of a base64url text without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def dumps(value: object) -> str:
    """JSON as tokens carry it."""
    return json.dumps(value, separators=(",", ":"))


def parts(token: Secret) -> tuple[str, str, str]:
    """Header, payload and signature of a token as they stand there.

    Raises ValueError when it is not a compact JSON Web Signature; the message does not hold the token.
    """
    split = token.reveal().split(".")
    if len(split) != 3:
        raise ValueError(f"a token of {len(split)} parts is no JSON Web Token: give one with three")
    return split[0], split[1], split[2]


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        value = decoded(unb64(part))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"the {what} of the token is no JSON object: give a JSON Web Token") from None
    return value


def header_of(token: Secret) -> dict[str, Any]:
    """The header of a token."""
    return _object(parts(token)[0], "header")


def claims_of(token: Secret) -> dict[str, Any]:
    """The claims of a token."""
    return _object(parts(token)[1], "payload")


#: Claims and header fields whose values are not shown.
_UNSHOWN = frozenset(("password", "password_hash", "secret", "jti", "session_id"))


def description(token: Secret, own: Secret | None = None) -> str:
    """What a forged token says: the fields of its header, and the claims that differ from the tester's own token.

    Neither signature nor key: it is enough to make the token again, and nothing that one could present.
    "" where it is no JSON Web Token.
    """
    try:
        header, claims = header_of(token), claims_of(token)
        before = claims_of(own) if own is not None else {}
    except ValueError:
        return ""
    said = [f"{name}={_value(name, value)}" for name, value in sorted(header.items()) if name != "typ"]
    said += [
        f"{name}={_value(name, value)}"
        for name, value in sorted(claims.items())
        if name not in before or before[name] != value
    ]
    said += [f"no {name}" for name in sorted(before.keys() - claims.keys())]
    return " ".join(said)


def _value(name: str, value: Any) -> str:
    text = "…" if name in _UNSHOWN else value if isinstance(value, str) else dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def as_victim(material: Material) -> dict[str, Any]:
    """The tester's claims with the victim's id."""
    return {**claims_of(material.token), "sub": material.victim, "user_id": material.victim}


def unsigned(header: Json | str, claims: Json | str) -> str:
    """``header.payload``: the part that is signed. Texts are taken as they are, so that they may be malformed."""
    texts = (part if isinstance(part, str) else dumps(part) for part in (header, claims))
    return ".".join(map(b64, texts))


def mac(signing_input: str, key: bytes, algorithm: str = "HS256") -> bytes:
    """The HMAC of a signing input."""
    return hmac.new(key, signing_input.encode(), _HASHES[algorithm]).digest()


def signed(header: Json | str, claims: Json | str, key: bytes, algorithm: str = "HS256") -> Secret:
    """A token signed with a symmetric key, whatever its header says of the algorithm."""
    text = unsigned(header, claims)
    return Secret(f"{text}.{b64(mac(text, key, algorithm))}")


def weak_key_of(token: Secret) -> str | None:
    """The key of a token, if it is one of ``WEAK_KEYS``: found offline, without a request.

    >>> weak_key_of(signed({"alg": "HS256"}, {"sub": "a"}, b"secret"))
    'secret'
    """
    header, payload, signature = parts(token)
    algorithm = header_of(token).get("alg")
    if algorithm not in _HASHES:
        return None
    given = unb64(signature)
    for key in WEAK_KEYS:
        if any(hmac.compare_digest(mac(f"{header}.{payload}", form, algorithm), given) for form in _forms_of(key)):
            return key
    return None


def _forms_of(key: str) -> Iterator[bytes]:
    """A key as libraries take it: as it is written, and decoded where it is written in hexadecimal or base64."""
    yield key.encode()
    for decode in (bytes.fromhex, base64.b64decode):
        with contextlib.suppress(ValueError):
            yield decode(key)


@functools.cache
def tester_rsa() -> rsa.RSAPrivateKey:
    """The tester's own RSA key, made once: a target that trusts it trusts anybody."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def tester_ec() -> ec.EllipticCurvePrivateKey:
    """The tester's own P-256 key, made once."""
    return ec.generate_private_key(ec.SECP256R1())


def rs256(header: Json, claims: Json) -> Secret:
    """A token signed with the tester's RSA key."""
    text = unsigned(header, claims)
    return Secret(f"{text}.{b64(tester_rsa().sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}")


def es256(header: Json, claims: Json) -> Secret:
    """A token signed with the tester's P-256 key."""
    text = unsigned(header, claims)
    r, s = decode_dss_signature(tester_ec().sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return Secret(f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}")


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def rsa_jwk() -> dict[str, str]:
    """The tester's public RSA key as a JSON Web Key."""
    numbers = tester_rsa().public_key().public_numbers()
    return {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": "tester",
        "n": _number(numbers.n),
        "e": _number(numbers.e),
    }


def ec_jwk() -> dict[str, str]:
    """The tester's public P-256 key as a JSON Web Key."""
    numbers = tester_ec().public_key().public_numbers()
    x, y = (b64(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "use": "sig", "alg": "ES256", "kid": "tester", "crv": "P-256", "x": x, "y": y}


def self_signed_certificate(now: int) -> str:
    """A certificate that the tester issued to themselves, as ``x5c`` carries it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "netra-probe tester")])
    begin = datetime.datetime.fromtimestamp(now - 86_400, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(tester_rsa().public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=30))
        .sign(tester_rsa(), hashes.SHA256())
    )
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()


def with_other_signature(token: Secret, where: slice = slice(0, 1)) -> Secret:
    """The same token with other characters in its signature.

    Usually the first one, which carries six significant bits; the last one may carry padding only.

    >>> with_other_signature(Secret("head.body.Axyz")).reveal()
    'head.body.Bxyz'
    >>> with_other_signature(Secret("opaque"), slice(-2, None)).reveal()
    'opaqAA'
    """
    head, dot, signature = token.reveal().rpartition(".")
    characters = list(signature)
    characters[where] = ["A" if character != "A" else "B" for character in characters[where]]
    return Secret(f"{head}{dot}{''.join(characters)}")


def subprotocols(token: Secret) -> tuple[str, ...]:
    """A token as the platform's clients put it into ``Sec-WebSocket-Protocol``."""
    return ("jwt-auth", f"jwt.{b64(token.reveal())}")
