"""The faults of authentication (A, F1): triggered over the wire and seen there, and not on a healthy lab."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from backend_client import register_in, rest
from cryptography.hazmat.primitives.asymmetric import ec
from faulty_labs import Drive, proofs
from people import Person
from test_auth_service_oauth import Browser, tokens_in
from wire_acts import auth_post, identity, rest_identity, taken_for

from netra_probe.lab import Lab


def claims_of(who: Person, **changed: Any) -> dict[str, Any]:
    """The claims of somebody's token, with changes."""
    claims: dict[str, Any] = jwt.decode(who.access_token, options={"verify_signature": False})
    return {**claims, **changed}


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def token_with(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    """A token by hand; without a key it is not signed."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}." if key is None else f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


async def a1(lab: Lab) -> list[bool]:
    victim, mallory = await register_in(lab, "victim"), await register_in(lab, "mallory")
    forged = claims_of(mallory, sub=victim.id)
    unsigned = token_with({"alg": "none", "typ": "JWT"}, forged, None)
    header, _, signature = mallory.access_token.split(".")
    spliced = f"{header}.{b64(json.dumps(forged).encode())}.{signature}"
    return [*await taken_for(lab, unsigned, victim.id), *await taken_for(lab, spliced, victim.id)]


async def a2(lab: Lab) -> list[bool]:
    victim, mallory = await register_in(lab, "victim"), await register_in(lab, "mallory")
    forged, own = claims_of(mallory, sub=victim.id), ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(own.public_key()))
    attempts = [
        jwt.encode(forged, own, algorithm="ES256", headers={"jwk": jwk}),
        token_with({"alg": "HS256", "typ": "JWT"}, forged, b""),
        token_with({"alg": "HS256", "typ": "JWT", "kid": "../../../dev/null"}, forged, b""),
    ]
    assert await rest_identity(lab, token_with({"alg": "HS256", "typ": "JWT"}, forged, b"guess")) is None
    return [seen for token in attempts for seen in await taken_for(lab, token, victim.id)]


async def a3(lab: Lab) -> list[bool]:
    alice, key = await register_in(lab), lab.parameters["jwt_secret"].encode()
    now, header = int(time.time()), {"alg": "HS256", "typ": "JWT"}
    expired = token_with(header, claims_of(alice, exp=now - 60), key)
    early = token_with(header, claims_of(alice, nbf=now + 600), key)
    return [*await taken_for(lab, expired, alice.id), *await taken_for(lab, early, alice.id)]


async def a4(lab: Lab) -> list[bool]:
    alice = await register_in(lab)
    credentials = {name: lab.parameters[name] for name in ("service_id", "service_secret")}
    service = (await auth_post(lab, "/auth/service-token", credentials)).json()["access_token"]
    key = lab.parameters["jwt_secret"].encode()
    misaddressed = token_with({"alg": "HS256", "typ": "JWT"}, claims_of(alice, aud="another-platform"), key)
    return [
        *await taken_for(lab, alice.refresh_token, alice.id),
        *await taken_for(lab, misaddressed, alice.id),
        await rest_identity(lab, service) == credentials["service_id"],
    ]


async def a5(lab: Lab) -> list[bool]:
    victim = await register_in(lab, "victim")
    assert await rest_identity(lab, victim.access_token) == victim.id
    cut = victim.access_token[:-12]
    return await taken_for(lab, f"{cut}{'A' * 12}", victim.id)


async def a6(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    assert (await auth_post(lab, "/auth/logout", **alice.headers)).status_code == 200
    service = {"X-Service-ID": lab.parameters["service_id"], "X-Service-Secret": lab.parameters["service_secret"]}
    assert (await auth_post(lab, f"/auth/users/{bob.id}/disable", **service)).status_code == 200
    return [seen for who in (alice, bob) for seen in await taken_for(lab, who.access_token, who.id)]


async def a7(lab: Lab) -> list[bool]:
    alice, bob = await register_in(lab, "alice"), await register_in(lab, "bob")
    body = {"refresh_token": alice.refresh_token}
    answers = await asyncio.gather(*(auth_post(lab, "/auth/refresh", body) for _ in range(5)))
    again = [await auth_post(lab, "/auth/refresh", {"refresh_token": bob.refresh_token}) for _ in range(2)]
    return [sum(answer.status_code == 200 for answer in some) > 1 for some in (answers, again)]


async def a8(lab: Lab) -> list[bool]:
    alice, bob = Browser(lab), Browser(lab)
    try:
        own = (await register_in(lab)).id + "@netra-probe.example"
        callback = await alice.consent(await alice.begin(), own)
        await bob.begin()
        answer = await bob.come_back(callback)
        return [answer.status_code == 302 and (await bob.whoami(tokens_in(answer)))["email"] == own]
    finally:
        await alice.client.aclose()
        await bob.client.aclose()


async def a9(lab: Lab) -> list[bool]:
    victim, mallory = await register_in(lab, "victim"), await register_in(lab, "mallory")
    async with rest(lab, victim) as client:
        await client.post("/api/threads", json={})
    async with rest(lab, mallory) as client:
        by_header = (await client.get("/api/users/me", headers={"X-User-ID": victim.id})).json()["id"]
        by_query = (await client.get("/api/users/me", params={"user_id": victim.id})).json()["id"]
        spend = {"service": "planted", "amount_usd": "1.00", "user_id": victim.id}
        await client.post("/api/spend", json=spend)
    async with rest(lab, victim) as client:
        planted = any(record["service"] == "planted" for record in (await client.get("/api/spend")).json()["records"])
    return [planted, by_header == victim.id, by_query == victim.id]


async def a12(lab: Lab) -> list[bool]:
    alice, key = await register_in(lab), lab.parameters["jwt_secret"].encode()
    header = {"alg": "HS256", "typ": "JWT"}
    assert await rest_identity(lab, token_with(header, claims_of(alice, iss="another"), key)) is None
    pieces = [{"iss": "netra"}, {"iss": "auth"}, {"aud": "platform"}, {"iss": "service", "aud": "netra"}]
    tokens = [token_with(header, claims_of(alice, **piece), key) for piece in pieces]
    return [seen for token in tokens for seen in await taken_for(lab, token, alice.id)]


async def f1(lab: Lab) -> list[bool]:
    answer = await auth_post(lab, "/auth/dev/login")
    body = answer.json() if answer.status_code == 200 else {"access_token": "none", "user": {"id": "nobody"}}
    found = await taken_for(lab, body["access_token"], body["user"]["id"])
    return [*found, await identity(lab, "dev-token") == body["user"]["id"]]


DRIVES: dict[str, Drive] = {
    "A1": a1, "A2": a2, "A3": a3, "A4": a4, "A5": a5, "A6": a6, "A7": a7, "A8": a8, "A9": a9, "A12": a12, "F1": f1,
}  # fmt: skip
GROUPS = (("A1", "A7", "A8"), ("A2", "A6", "F1"), ("A3", "A9"), ("A4",), ("A5", "A12"))


test_a_fault_is_triggered_and_seen, test_a_healthy_lab_shows_no_symptom = proofs(DRIVES, GROUPS)
