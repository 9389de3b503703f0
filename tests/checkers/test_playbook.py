"""The token playbook: its forgeries are well-made, name their source, give nothing away, and must be refused."""

from __future__ import annotations

import re
import string
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_probe.forgery import ATTEMPTS, BY_NAME, SELF, Forgery, Material, playbook, weak_key_of
from netra_probe.forgery.tokens import claims_of, header_of, parts, signed, unb64
from netra_probe.history.secret import Secret

NOW = 1_760_000_000
KEY = "an honest key of more than thirty-two bytes"
ME, VICTIM = "0aaaaaaa-0000-4000-8000-000000000001", "0bbbbbbb-0000-4000-8000-000000000002"
SOURCE = re.compile(r"RFC \d{4} §|CVE-\d{4}-\d{4,}|WSTG-[A-Z]{4}-\d\d|ASVS 5\.0 \d+\.\d+\.\d+|CWE-\d+|RFC \d{4}")


def token_of(user: str, **changed: Any) -> Secret:
    """A token as the platform issues it."""
    claims = {
        "sub": user, "iat": NOW - 60, "exp": NOW + 300, "token_type": "access", "type": "access",
        "iss": "netra-auth-service", "aud": "netra-platform", "jti": "j-1", "env": "test", "email": "me@example.org",
        "sid": "s-1",
    }  # fmt: skip
    return signed({"alg": "HS256", "typ": "JWT"}, {**claims, **changed}, KEY.encode())


def everything() -> Material:
    return Material(
        token=token_of(ME),
        victim=VICTIM,
        now=NOW,
        key=Secret(KEY),
        public_key="-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
        victim_token=token_of(VICTIM),
        refresh=token_of(ME, token_type="refresh", type="refresh"),
        service=token_of("netra-backend", token_type="service", type="service", aud="netra-services"),
        expired=token_of(ME, exp=NOW - 10),
        revoked=token_of(ME, jti="revoked"),
    )


def verify(token: str) -> str | None:
    """A verifier as the platform's contract wants it: who the bearer is, or ``None``."""
    try:
        claims = jwt.decode(
            token,
            KEY,
            algorithms=["HS256"],
            audience="netra-platform",
            issuer="netra-auth-service",
            options={"require": ["exp", "iat", "sub", "aud", "iss", "jti"], "verify_exp": False, "verify_nbf": False,
                     "verify_iat": False, "strict_aud": True},
        )  # fmt: skip
    except jwt.PyJWTError:
        return None
    lifetime = (claims["iat"], claims["exp"], claims.get("nbf", 0))
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in lifetime):
        return None
    if claims["exp"] - claims["iat"] > 400 * 86_400 or claims.get("sid") != "s-1":
        return None
    if claims["exp"] <= NOW or claims["iat"] > NOW or claims.get("nbf", 0) > NOW:
        return None
    typed = claims.get("token_type") == "access" == claims.get("type") and claims.get("env") == "test"
    known = claims["sub"] in (ME, VICTIM) and claims["jti"] != "revoked"
    return claims["sub"] if typed and known else None


def who_am_i(forgery: Forgery) -> str | None:
    """A server that reads one place only: the Authorization header, one token, scheme Bearer."""
    header = forgery.http_headers().get("Authorization", "")
    scheme, _, token = header.partition(" ")
    return verify(token) if scheme == "Bearer" and token and " " not in token else None


def test_a_verifier_that_keeps_to_the_contract_refuses_every_forgery() -> None:
    material = everything()
    taken_for = {attempt.name: who_am_i(attempt(material)) for attempt in ATTEMPTS}
    allowed = {attempt.name: (None, ME) if attempt.expect == SELF else (None,) for attempt in ATTEMPTS}
    assert {name: who for name, who in taken_for.items() if who not in allowed[name]} == {}


def test_every_attempt_says_what_it_does_and_where_that_is_described() -> None:
    for attempt in ATTEMPTS:
        assert attempt.description and not attempt.description.endswith("."), attempt.name
        assert SOURCE.search(attempt.source), (attempt.name, attempt.source)


def test_no_representation_shows_what_was_forged() -> None:
    material = everything()
    for attempt in ATTEMPTS:
        forgery = attempt(material)
        shown = f"{material!r} {attempt!r} {forgery!r} {forgery}"
        for secret in (*forgery.secrets(), material.token, material.key):
            assert secret is not None
            # Words such as "true" and the victim's public id are no secrets.
            assert len(secret.reveal()) < 40 or secret.reveal() not in shown, attempt.name


def test_every_forgery_can_be_put_on_the_wire() -> None:
    material = everything()
    for attempt in ATTEMPTS:
        request = httpx.Request("GET", "http://target.invalid/", headers=attempt(material).http_headers())
        for name, value in request.headers.items():
            assert value == value.strip() and value.isascii() and value.isprintable(), (attempt.name, name)


def test_the_names_are_unique_and_every_family_of_the_issue_is_there() -> None:
    assert len(BY_NAME) == len(ATTEMPTS) >= 100
    wanted = (
        "alg none", "alg twice", "public key as secret", "own key as jwk", "jku", "x5u", "kid names an empty file",
        "blank key", "signature of zeros", "signature stripped", "exp a minute ago", "nbf tomorrow", "iat tomorrow",
        "aud of services", "iss of strangers", "type refresh", "env of strangers", "sub upper case", "sub twice",
        "forged token in cookie token", "forged token in the query", "X-User-ID of the victim",
    )  # fmt: skip
    assert set(wanted) <= set(BY_NAME)


def test_without_the_real_key_the_attempts_that_need_it_are_left_out() -> None:
    material = Material(token=token_of(ME), victim=VICTIM, now=NOW)
    possible = playbook(material)
    assert possible and all(not attempt.needs and not attempt.bypass for attempt in possible)
    assert len(playbook(everything())) > len(possible)
    with pytest.raises(ValueError, match="needs key"):
        BY_NAME["exp missing"](material)


def test_headers_that_look_like_tests_are_sent_by_bypass_attempts_only() -> None:
    material = everything()
    for attempt in playbook(material):
        names = attempt(material).http_headers()
        assert not any("test" in name.lower() or "e2e" in name.lower() for name in names)
    assert any(attempt.bypass for attempt in playbook(material, bypass=True))


def test_attempts_without_a_key_claim_to_be_the_victim() -> None:
    material = everything()
    for name in ("alg none", "claims changed", "signature stripped", "blank key", "own key as jwk", "jku", "x5c"):
        forged = BY_NAME[name](material).bearer
        assert forged is not None
        assert claims_of(forged)["sub"] == VICTIM


def test_tokens_that_embed_their_key_are_signed_with_it() -> None:
    for name, algorithm in (("own key as jwk", "RS256"), ("own elliptic key as jwk", "ES256")):
        forged = BY_NAME[name](everything()).bearer
        assert forged is not None
        embedded = jwt.PyJWK(header_of(forged)["jwk"])
        options: Any = {"verify_exp": False, "verify_iat": False}
        claims = jwt.decode(
            forged.reveal(), embedded, algorithms=[algorithm], audience="netra-platform", options=options
        )
        assert claims["sub"] == VICTIM


def test_forged_claims_carry_a_good_signature_where_the_key_is_given() -> None:
    for name in ("exp a year ago", "aud missing", "type refresh", "sub null", "sub twice"):
        forged = BY_NAME[name](everything()).bearer
        assert forged is not None
        header, payload, signature = parts(forged)
        assert jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).verify(
            f"{header}.{payload}".encode(), KEY.encode(), jwt.utils.base64url_decode(signature)
        )


def test_a_respelled_token_is_another_text_for_the_same_token() -> None:
    material = everything()
    respelled = BY_NAME["revoked, respelled"](material).bearer
    assert respelled is not None and material.revoked is not None and respelled != material.revoked
    assert [unb64(part) for part in parts(respelled)] == [unb64(part) for part in parts(material.revoked)]


def test_a_weak_key_is_found_offline_and_a_strong_one_is_not() -> None:
    assert weak_key_of(signed({"alg": "HS512"}, {"sub": ME}, b"changeme", "HS512")) == "changeme"
    assert weak_key_of(token_of(ME)) is None
    weak = Material(token=signed({"alg": "HS256"}, {"sub": ME}, b"secret"), victim=VICTIM, now=NOW)
    forged = BY_NAME["guessable key"](weak).bearer
    assert forged is not None
    assert weak_key_of(forged) == "secret"


@given(text=st.text(alphabet=string.printable, max_size=60))
def test_what_is_no_token_is_refused_without_showing_it(text: str) -> None:
    material = Material(token=Secret(f"unlikely{text}"), victim=VICTIM, now=NOW)
    with pytest.raises(ValueError, match="token") as refused:
        BY_NAME["claims changed"](material)
    assert "unlikely" not in str(refused.value)
