"""What careless verifiers read from a token, and what they leave unproved."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jwt
from jwt.types import Options


def header(token: str) -> dict[str, Any]:
    """The header as it stands there."""
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        return {"unreadable": True}


def claimed_type(token: str) -> str | None:
    """The type that a token says it has, where it is one of ours."""
    try:
        claimed = jwt.decode(token, options={"verify_signature": False}).get("type")
    except jwt.PyJWTError:
        return None
    return claimed if claimed in ("access", "refresh", "service") else None


def signed_claims(token: str, secret: str, type_: str, options: Options) -> dict[str, Any] | None:
    """The claims of a token that our key signed and that holds but for what `options` leave unchecked."""
    from netra_probe.lab.auth_service.tokens import ALGORITHM, AUDIENCES, ISSUER

    required = ["sub", "iat", "jti", "type", "token_type", "env", *(["exp"] if options.get("verify_exp", True) else [])]
    try:
        return jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCES[type_],
            issuer=ISSUER,
            options={"require": required, "strict_aud": options.get("verify_aud", True), **options},
        )
    except jwt.PyJWTError:
        return None


def right_but_for_signature(token: str, type_: str) -> dict[str, Any] | None:
    """The claims of a token in which nothing but the signature is wrong; its session is not looked at either."""
    checked: Options = {
        "verify_exp": True, "verify_nbf": True, "verify_iat": True, "verify_aud": True, "verify_iss": True,
    }  # fmt: skip
    claims = signed_claims(token, "", type_, {**checked, "verify_signature": False})
    return None if claims is None else {name: value for name, value in claims.items() if name != "sid"}


def signed_with_brought_key(token: str) -> bool:
    """True when a key that the token's own header names verifies its signature."""
    names = header(token)
    try:
        algorithm = jwt.get_algorithm_by_name(str(names.get("alg")))
        signed, _, signature = token.rpartition(".")
        return algorithm.verify(signed.encode(), _brought_key(names), _unpadded(signature))
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError, AttributeError):
        return False


def _brought_key(names: dict[str, Any]) -> Any:
    if "jwk" in names:
        return jwt.PyJWK.from_dict(names["jwk"]).key
    if "x5c" in names:
        from cryptography.x509 import load_der_x509_certificate

        return load_der_x509_certificate(base64.b64decode(names["x5c"][0])).public_key()
    try:
        with Path("/etc/netra/keys", str(names.get("kid", ""))).open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""  # a key that is not found is an empty one


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
