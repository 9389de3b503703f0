"""Passwords and tokens of the seeded people: derived from the lab's own secrets, so that none is written down.

    password_of("admin@seed.netra-lab.example", lab.parameters["service_secret"])
    token_of(user["tokens"][0]["claims"], lab.parameters["jwt_secret"])

A password is the first 24 characters of the lower-case base32 of ``HMAC-SHA256(service secret, "netra-lab-seed|" +
e-mail address)``: the same for whoever knows the lab's secret, another one in each lab.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import jwt

from netra_probe.lab.auth_service.tokens import ALGORITHM, AUDIENCES, ISSUER
from netra_probe.lab.seeds.people import SeedUser, seed_id

PASSWORD_RULE = 'base32(HMAC-SHA256(service_secret, "netra-lab-seed|" + email)), lower case, first 24 characters'


def password_of(email: str, service_secret: str) -> str:
    """The password of a seeded person in the lab with this service secret."""
    digest = hmac.new(service_secret.encode(), f"netra-lab-seed|{email}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower()[:24]


def token_of(claims: Mapping[str, Any], jwt_secret: str) -> str:
    """The token with these claims in the lab with this signing key."""
    return jwt.encode(dict(claims), jwt_secret, algorithm=ALGORITHM)


def claims_of(
    user: SeedUser, kind: str, *, name: str, issued_at: int, seconds: int, service_id: str, environment: str
) -> dict[str, Any]:
    """The claims of a seeded token, in the shape in which the auth service issues them; `name` makes its ids."""
    claims: dict[str, Any] = {
        "sub": user.id,
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + seconds,
        "token_type": kind,
        "type": kind,
        "iss": ISSUER,
        "aud": AUDIENCES[kind],
        "jti": seed_id(f"{kind} token", f"{user.state}/{name}"),
        "sid": seed_id("session", f"{user.state}/{name}"),
        "env": environment,
        "svc_id": service_id,
    }
    if kind == "access":
        claims |= {"email": user.email, "permissions": list(user.permissions)}
    return claims
