"""Nothing but a valid, current token of the right type, audience and environment is somebody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from people import Person, Register

from netra_probe.lab import Lab


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, believed or not."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def encoded(value: object) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header: dict[str, object], claims: dict[str, Any], key: bytes, digest: str = "sha256") -> str:
    """A token with any header whatever."""
    text = f"{encoded(header)}.{encoded(claims)}"
    signature = hmac.new(key, text.encode(), getattr(hashlib, digest)).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def accepted(auth: httpx.AsyncClient, token: str) -> bool:
    """Do all three judges take the token for its bearer's?"""
    headers = {"Authorization": f"Bearer {token}"}
    me = await auth.get("/auth/me", headers=headers)
    verify = await auth.get("/auth/verify", headers=headers)
    validate = await auth.post("/auth/validate", json={"token": token})
    assert validate.status_code == 200
    verdicts: set[bool] = {me.status_code == 200, verify.status_code == 200, validate.json()["valid"] is True}
    assert len(verdicts) == 1, "the judges disagree"
    return verdicts.pop()


Forgery = Callable[[dict[str, Any], bytes], str]

HS256: dict[str, object] = {"alg": "HS256", "typ": "JWT"}


def without(name: str) -> Forgery:
    """A well-signed token that lacks a claim."""
    return lambda claims, key: signed(HS256, {k: v for k, v in claims.items() if k != name}, key)


def having(**changes: Any) -> Forgery:
    """A well-signed token with other claims."""
    return lambda claims, key: signed(HS256, {**claims, **changes}, key)


def headed(**changes: object) -> Forgery:
    """A well-signed token with another header."""
    return lambda claims, key: signed({**HS256, **changes}, claims, key)


FORGERIES: dict[str, Forgery] = {
    "alg none": lambda claims, key: f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims)}.",
    "alg None": lambda claims, key: f"{encoded({'alg': 'None'})}.{encoded(claims)}.",
    "no signature": lambda claims, key: f"{encoded(HS256)}.{encoded(claims)}.",
    "foreign key": lambda claims, key: signed(HS256, claims, b"a key of the attacker's own, long enough"),
    "empty key": lambda claims, key: signed(HS256, claims, b""),
    "HS384": lambda claims, key: signed({"alg": "HS384"}, claims, key, "sha384"),
    "HS512": lambda claims, key: signed({"alg": "HS512"}, claims, key, "sha512"),
    "jwk in header": headed(jwk={"kty": "oct", "k": "AA"}),
    "jku in header": headed(jku="https://evil.example/keys"),
    "kid in header": headed(kid="../../dev/null"),
    "crit in header": headed(crit=["exp"]),
    "expired": having(exp=int(time.time()) - 10),
    "not yet valid": having(nbf=int(time.time()) + 3600),
    "issued in the future": having(iat=int(time.time()) + 3600),
    "expiry as text": having(exp="9999999999"),
    "expiry as true": having(exp=True),
    "wrong issuer": having(iss="somebody-else"),
    "issuer list": having(iss=["netra-auth-service"]),
    "wrong audience": having(aud="netra-services"),
    "audience list": having(aud=["netra-platform", "netra-services"]),
    "refresh type": having(type="refresh", token_type="refresh"),
    "two types": having(type="refresh"),
    "other environment": having(env="production"),
    "empty subject": having(sub=""),
    "numeric subject": having(sub=7),
    "unknown subject": having(sub=str(uuid.uuid4())),
    "subject with nul": having(sub="a\x00b", sid="a\x00b"),
    "foreign session": having(sid=str(uuid.uuid4())),
    "jti list": having(jti=["a"]),
    "permissions text": having(permissions="admin"),
    **{f"no {name}": without(name) for name in ("exp", "iat", "iss", "aud", "jti", "sub", "type", "token_type", "env")},
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_forged_and_incomplete_tokens_are_nobody(
    lab: Lab, auth: httpx.AsyncClient, register: Register, forgery: str
) -> None:
    alice = await register("alice")
    key = lab.parameters["jwt_secret"].encode()
    assert await accepted(auth, signed(HS256, claims_of(alice.access_token), key)), "the control must be accepted"
    assert not await accepted(auth, FORGERIES[forgery](claims_of(alice.access_token), key))


@pytest.mark.parametrize("token", ["", " ", "a.b.c", "....", "é.é.é", "x" * 9000, "[]", "null"])
async def test_what_is_no_token_is_nobody(auth: httpx.AsyncClient, token: str) -> None:
    verdict = await auth.post("/auth/validate", json={"token": token})
    assert (verdict.status_code, verdict.json()["valid"]) == (200, False)
    assert (await auth.post("/auth/check-blacklist", json={"token": token})).json()["blacklisted"] is True


async def test_rights_in_a_token_do_not_exceed_those_of_the_account(
    lab: Lab, auth: httpx.AsyncClient, register: Register
) -> None:
    alice, bob = await register("alice"), await register("bob")
    claims = {**claims_of(alice.access_token), "permissions": ["read", "admin"]}
    headers = {"Authorization": f"Bearer {signed(HS256, claims, lab.parameters['jwt_secret'].encode())}"}
    assert (await auth.get("/auth/me", headers=headers)).json()["permissions"] == ["read"]
    assert (await auth.get(f"/auth/users/{bob.id}", headers=headers)).status_code == 403


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "bearer", "Token x", "Bearer x y"])
async def test_odd_authorization_headers_are_refused(auth: httpx.AsyncClient, value: str) -> None:
    answer = await auth.get("/auth/me", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_two_authorization_headers_are_refused(auth: httpx.AsyncClient, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")
    both = [("Authorization", f"Bearer {person.access_token}") for person in (alice, bob)]
    assert (await auth.get("/auth/me", headers=both)).status_code == 401


async def test_validation_says_who_and_until_when(
    auth: httpx.AsyncClient, register: Register, service_headers: dict[str, str]
) -> None:
    alice = await register("alice")
    answer = await auth.post("/auth/validate", json={"token": alice.access_token}, headers=service_headers)
    verdict = answer.json()
    assert (verdict["valid"], verdict["user_id"], verdict["email"]) == (True, alice.id, alice.email)
    assert verdict["permissions"] == ["read", "write"]
    assert "expires_at" in verdict
    refresh = {"token": alice.refresh_token}
    assert (await auth.post("/auth/validate", json=refresh)).json()["valid"] is False
    assert (await auth.post("/auth/validate", json={**refresh, "token_type": "refresh"})).json()["valid"] is True
    whole = (await auth.post("/auth/validate-token-and-get-user", json={"token": alice.access_token})).json()
    assert (whole["valid"], whole["user"]["email"]) == (True, alice.email)
    wrong = {**service_headers, "X-Service-Secret": "guess"}
    assert (await auth.post("/auth/validate", json=refresh, headers=wrong)).status_code == 401


async def service_token(auth: httpx.AsyncClient, lab: Lab) -> str:
    """A token of the backend's own."""
    body = {"service_id": lab.parameters["service_id"], "service_secret": lab.parameters["service_secret"]}
    return str((await auth.post("/auth/service-token", json=body)).json()["access_token"])


async def test_a_service_token_is_for_services_only(lab: Lab, auth: httpx.AsyncClient) -> None:
    token = await service_token(auth, lab)
    assert not await accepted(auth, token)
    verdict = (await auth.post("/auth/validate-service-token", json={"token": token})).json()
    assert (verdict["valid"], verdict["service_id"]) == (True, lab.parameters["service_id"])
    claims = claims_of(token)
    assert (claims["aud"], claims["type"], claims["service"]) == ("netra-services", "service", "netra-backend")


@pytest.mark.parametrize("change", [{"service_secret": "guess"}, {"service_id": "somebody"}, {"service_secret": ""}])
async def test_service_tokens_need_the_right_credentials(
    lab: Lab, auth: httpx.AsyncClient, change: dict[str, str]
) -> None:
    body = {"service_id": lab.parameters["service_id"], "service_secret": lab.parameters["service_secret"], **change}
    assert (await auth.post("/auth/service-token", json=body)).status_code == 401


async def test_a_user_token_is_no_service_token(auth: httpx.AsyncClient, register: Register) -> None:
    alice = await register("alice")
    verdict = await auth.post("/auth/validate-service-token", json={"token": alice.access_token})
    assert verdict.json()["valid"] is False


async def test_only_services_order_tokens_and_never_more_than_a_login_gives(
    auth: httpx.AsyncClient, register: Register, service_headers: dict[str, str]
) -> None:
    alice = await register("alice")

    async def order(headers: dict[str, str], **body: object) -> httpx.Response:
        return await auth.post("/auth/create-token", json={"user_id": alice.id, **body}, headers=headers)

    assert (await order({})).status_code == 403
    assert (await order(alice.headers)).status_code == 403
    assert (await order(service_headers, permissions=["admin"])).status_code == 403
    assert (await order(service_headers, expires_in=10**6)).status_code == 422
    assert (await order(service_headers, user_id=str(uuid.uuid4()))).status_code == 404
    short = (await order(service_headers, permissions=["read"], expires_in=60)).json()
    assert short["expires_in"] == 60
    me = await auth.get("/auth/me", headers={"Authorization": f"Bearer {short['access_token']}"})
    assert (me.json()["user_id"], me.json()["permissions"]) == (alice.id, ["read"])
    await auth.post("/auth/logout", headers={"Authorization": f"Bearer {short['access_token']}"})
    assert not await accepted(auth, short["access_token"])
    assert await accepted(auth, alice.access_token)


async def test_permissions_and_resources_are_judged_by_the_bearer(auth: httpx.AsyncClient, register: Register) -> None:
    alice, bob = await register("alice"), await register("bob")

    async def may(person: Person, resource: str, action: str) -> bool:
        body = {"token": person.access_token, "resource": resource, "action": action}
        return bool((await auth.post("/auth/check-authorization", json=body)).json()["authorized"])

    assert await may(alice, f"user:{alice.id}", "write")
    assert not await may(alice, f"user:{bob.id}", "read")
    assert not await may(alice, f"user:{alice.id}", "admin")
    for permission, expected in (("read", True), ("admin", False)):
        body = {"token": alice.access_token, "permission": permission}
        assert (await auth.post("/auth/check-permission", json=body)).json()["has_permission"] is expected
    nobody = {"token": "a.b.c", "permission": "read"}
    assert (await auth.post("/auth/check-permission", json=nobody)).json()["has_permission"] is False
