"""The right token in odd places, and several credentials at once: whoever presents them stays who they are.

In the attempts with two credentials the tester's own is valid and the victim's is forged, so that a target which takes
the wrong one, or mixes the two, answers for the victim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from netra_probe.forgery.attempt import REFUSED, SELF, Attempt, Forgery, Material
from netra_probe.forgery.tokens import as_victim, b64, signed, unsigned
from netra_probe.history.secret import Secret

_SCHEMA = "OWASP WSTG-ATHN-04; OWASP WSTG-ATHZ-02"
_CLIENT = "OWASP ASVS 5.0 8.3.1; CWE-290; CWE-639"
_PLACES = "RFC 6750 §2; OWASP WSTG-SESS-01; CWE-290"
_HEADER = "RFC 6750 §2.1; OWASP WSTG-ATHN-04"
#: Headers by which proxies and gateways tell an application who the user is.
_IDENTITY_HEADERS = ("X-User-ID", "X-Auth-User", "X-Forwarded-User", "X-Remote-User", "X-Netra-User-ID")
_COOKIES = ("access_token", "token", "session")


def _unsigned_victim(material: Material) -> Secret:
    return Secret(unsigned({"alg": "none", "typ": "JWT"}, as_victim(material)) + ".")


def _guessed_victim(material: Material) -> Secret:
    return signed({"alg": "HS256", "typ": "JWT"}, as_victim(material), b"")


def _header(text: Callable[[Material], str]) -> Callable[[Material], Forgery]:
    return lambda material: Forgery(headers={"Authorization": Secret(text(material))})


def _own(material: Material) -> str:
    return material.token.reveal()


def _forms() -> Iterator[Attempt]:
    """The Authorization header in forms that are none of the one that is meant."""
    written: tuple[tuple[str, str, Callable[[Material], Forgery], str], ...] = (
        ("no credentials", "nothing at all", lambda _: Forgery(), REFUSED),
        ("bearer empty", "a Bearer header without a token", _header(lambda _: "Bearer"), REFUSED),
        ("bearer null", "the word null, as from a client without one", _header(lambda _: "Bearer null"), REFUSED),
        ("bearer undefined", "the word undefined, likewise", _header(lambda _: "Bearer undefined"), REFUSED),
        ("bearer not a token", "a text that is no token", _header(lambda _: "Bearer netra-probe"), REFUSED),
        (
            "bearer is the victim's id", "the victim's user id where the token belongs",
            _header(lambda material: f"Bearer {material.victim}"), REFUSED,
        ),
        (
            "basic with the victim's id", "HTTP Basic with the victim's id and an empty password",
            _header(lambda material: f"Basic {b64(f'{material.victim}:')}"), REFUSED,
        ),
        (
            "two tokens in one header", "a forged token and the tester's own in one header, parted by a comma",
            _header(lambda material: f"Bearer {_unsigned_victim(material).reveal()}, Bearer {_own(material)}"), SELF,
        ),
        (
            "token with a tail", "the tester's own token with more text behind a blank",
            _header(lambda material: f"Bearer {_own(material)} {material.victim}"), SELF,
        ),
    )  # fmt: skip
    for name, description, forge, expect in written:
        yield Attempt(name=name, family="form", description=description, source=_HEADER, forge=forge, expect=expect)


def _identity_header(name: str, *, anonymous: bool) -> Callable[[Material], Forgery]:
    return lambda material: Forgery(
        bearer=None if anonymous else material.token, headers={name: Secret(material.victim)}
    )


def _claimed() -> Iterator[Attempt]:
    """Identities that the client claims beside its token, or instead of one."""
    for name in _IDENTITY_HEADERS:
        yield Attempt(
            name=f"{name} of the victim",
            family="conflict",
            description=f"the tester's own token, and a header {name} that names the victim",
            source=_CLIENT,
            forge=_identity_header(name, anonymous=False),
            expect=SELF,
        )
    yield Attempt(
        name="X-User-ID instead of a token",
        family="conflict",
        description="no token, and a header that names the victim",
        source=_SCHEMA,
        forge=_identity_header("X-User-ID", anonymous=True),
    )
    yield Attempt(
        name="user_id in the query",
        family="conflict",
        description="the tester's own token, and user_id of the victim in the query",
        source=_CLIENT,
        forge=lambda material: Forgery(bearer=material.token, query={"user_id": Secret(material.victim)}),
        expect=SELF,
    )
    yield Attempt(
        name="service header without its secret",
        family="conflict",
        description="no token: the id of a service, a wrong secret, and the victim on whose behalf it would act",
        source=_SCHEMA,
        forge=lambda material: Forgery(
            headers={
                "X-Service-ID": Secret("netra-backend"),
                "X-Service-Secret": Secret("netra-probe"),
                "X-User-ID": Secret(material.victim),
            }
        ),
    )


#: Headers that let somebody past a check where a proxy is believed, or say whom it let in.
_BYPASSES: tuple[tuple[str, Callable[[Material], str]], ...] = (
    ("X-User-ID", lambda material: material.victim),
    ("X-Forwarded-User", lambda material: material.victim),
    ("X-Original-URL", lambda _: "/health"),
    ("X-Rewrite-URL", lambda _: "/auth/login"),
    ("X-Forwarded-For", lambda _: "127.0.0.1"),
    ("X-Original-Method", lambda _: "OPTIONS"),
)


def _beside() -> Iterator[Attempt]:
    """A forged token beside each of them, unsigned and signed with an empty key in turns."""
    forged = (("unsigned token", _unsigned_victim), ("token of an empty key", _guessed_victim))
    for number, (header, value) in enumerate(_BYPASSES):
        kind, make = forged[number % len(forged)]
        yield Attempt(
            name=f"{kind} beside {header}",
            family="header",
            description=f"a {kind} of the victim, and {header}, which only a proxy may send",
            source=_SCHEMA,
            forge=lambda material, header=header, value=value, make=make: Forgery(  # type: ignore[misc]
                bearer=make(material), headers={header: Secret(value(material))}
            ),
        )


def _conflicts() -> Iterator[Attempt]:
    """Two credentials that disagree, in header, cookie, query and sub-protocol."""
    attempt = partial(Attempt, family="conflict", source=_PLACES)
    for cookie in _COOKIES:
        yield attempt(
            name=f"forged token in cookie {cookie}",
            description="the tester's own token in the header, a forged one of the victim in a cookie",
            forge=lambda material, cookie=cookie: Forgery(  # type: ignore[misc]
                bearer=material.token, cookies={cookie: _unsigned_victim(material)}
            ),
            expect=SELF,
        )
    yield attempt(
        name="forged token in the query",
        description="the tester's own token in the header, a forged one of the victim in the query",
        forge=lambda material: Forgery(bearer=material.token, query={"token": _unsigned_victim(material)}),
        expect=SELF,
    )
    yield attempt(
        name="forged token in the sub-protocol",
        description="the tester's own token in the header, a forged one of the victim in the sub-protocol",
        forge=lambda material: Forgery(bearer=material.token, subprotocol=_unsigned_victim(material)),
        expect=SELF,
    )
    yield attempt(
        name="forged header, own query",
        description="a forged token of the victim in the header, the tester's own in the query",
        forge=lambda material: Forgery(bearer=_guessed_victim(material), query={"token": material.token}),
        expect=SELF,
    )
    yield attempt(
        name="forged header, own cookie",
        description="a forged token of the victim in the header, the tester's own in a cookie",
        forge=lambda material: Forgery(bearer=_guessed_victim(material), cookies={"access_token": material.token}),
        expect=SELF,
    )
    yield attempt(
        name="forged cookie alone",
        description="no header, a forged token of the victim in a cookie",
        forge=lambda material: Forgery(cookies={"access_token": _unsigned_victim(material)}),
    )
    yield attempt(
        name="forged query alone",
        description="no header, a forged token of the victim in the query",
        forge=lambda material: Forgery(query={"token": _unsigned_victim(material)}),
    )
    yield attempt(
        name="both tokens valid",
        description="two valid tokens of two users, the tester's in the header and the victim's in the query",
        forge=lambda material: Forgery(bearer=material.token, query={"token": material.victim_token or material.token}),
        needs=frozenset({"victim_token"}),
        expect=SELF,
    )


def _bypasses() -> Iterator[Attempt]:
    """What a development bypass would recognise; sent by no case but the ones about that bypass."""
    for name, value in (("X-E2E-Test", "true"), ("X-Test-Mode", "true"), ("X-Dev-Mode", "true")):
        yield Attempt(
            name=f"bypass by {name}",
            family="bypass",
            description=f"no token, the header {name}, and a header that names the victim",
            source="OWASP WSTG-ATHN-04; CWE-489 active debug code",
            forge=lambda material, name=name, value=value: Forgery(  # type: ignore[misc]
                headers={name: Secret(value), "X-User-ID": Secret(material.victim)}
            ),
            bypass=True,
        )
    for word in ("mock-token", "test-token", "dev-token"):
        yield Attempt(
            name=f"bypass by {word}",
            family="bypass",
            description=f"the word {word} where the token belongs",
            source="OWASP WSTG-ATHN-04; CWE-798",
            forge=lambda _, word=word: Forgery(bearer=Secret(word)),  # type: ignore[misc]
            bypass=True,
        )


PRESENTATION_ATTEMPTS: tuple[Attempt, ...] = (*_forms(), *_claimed(), *_beside(), *_conflicts(), *_bypasses())
