"""What a playbook is made of: material to forge from, attempts, and the forgeries they yield."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from netra_probe.history.secret import Secret

#: The target must not take the bearer for anybody.
REFUSED = "refused"
#: The target may refuse, or take the bearer for the one whose valid token it holds; never for somebody else.
SELF = "self"


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the tester has in hand. Everything but ``token`` and ``victim`` is optional and unlocks more attempts.

    Arguments:
        token: a valid access token of the tester's own account.
        victim: user id of the account that the forgeries claim to be.
        now: seconds since 1970, as the target sees it; attempts on time are relative to it.
        key: the real signing key.
        public_key: the public key that the target publishes, as PEM, where it signs asymmetrically.
        victim_token: a valid access token of the victim, for attempts that splice two tokens.
        refresh, service: a valid refresh and a valid service token of the tester.
        expired, revoked: tokens of the tester that were valid once.
        jwks_url: where forged ``jku`` and ``x5u`` headers point; the default does not resolve (RFC 2606).
    """

    token: Secret
    victim: str
    now: int
    key: Secret | None = None
    public_key: str | None = None
    victim_token: Secret | None = None
    refresh: Secret | None = None
    service: Secret | None = None
    expired: Secret | None = None
    revoked: Secret | None = None
    jwks_url: str = "https://keys.netra-probe.invalid/jwks.json"

    def has(self, needs: frozenset[str]) -> bool:
        """Whether all of these fields are there."""
        return all(getattr(self, name) is not None for name in needs)


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """What to put on the wire, place by place; no repr shows it.

    Arguments:
        bearer: a token, for the ordinary place: ``Authorization: Bearer``, the sub-protocol or ``?token=``.
        headers: further headers, ``Authorization`` among them where its form is the point.
        cookies, query: credentials in the other places.
        subprotocol: a token for the WebSocket sub-protocol, where it differs from ``bearer``.
    """

    bearer: Secret | None = None
    headers: Mapping[str, Secret] = field(default_factory=dict)
    cookies: Mapping[str, Secret] = field(default_factory=dict)
    query: Mapping[str, Secret] = field(default_factory=dict)
    subprotocol: Secret | None = None

    def http_headers(self) -> dict[str, str]:
        """All headers of an HTTP request or handshake, revealed: call it only where they are put on the wire."""
        headers = {} if self.bearer is None else {"Authorization": f"Bearer {self.bearer.reveal()}"}
        headers |= {name: value.reveal() for name, value in self.headers.items()}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value.reveal()}" for name, value in self.cookies.items())
        return headers

    def secrets(self) -> list[Secret]:
        """Every secret in it, for the redactor."""
        places = (self.headers, self.cookies, self.query)
        lone = (self.bearer, self.subprotocol)
        return [one for one in lone if one is not None] + [value for place in places for value in place.values()]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to be taken for somebody one is not.

    Arguments:
        name: stable; stands in histories and findings.
        description: what is done and why a target might fall for it.
        source: where it is described: a section of an RFC, a CVE, a clause of OWASP's WSTG or ASVS 5.0.
        family: ``algorithm``, ``signature``, ``key``, ``time``, ``audience``, ``subject``, ``rights``, ``form``,
            ``conflict``, ``header``, ``bypass``.
        expect: ``REFUSED``, or ``SELF`` where a valid credential of the tester is among those presented.
        needs: optional fields of the material without which it cannot be made.
        bypass: whether it sends what a development bypass would recognise; only for cases about that bypass.
        forge: makes the forgery.
    """

    name: str
    description: str
    source: str
    family: str
    forge: Callable[[Material], Forgery] = field(repr=False, compare=False)
    expect: str = REFUSED
    needs: frozenset[str] = frozenset()
    bypass: bool = False

    def __post_init__(self) -> None:
        unknown = self.needs - {known.name for known in fields(Material)}
        if unknown:
            raise ValueError(f"attempt {self.name!r} needs {sorted(unknown)}, which no material has")

    def possible(self, material: Material) -> bool:
        """Whether the material suffices."""
        return material.has(self.needs)

    def __call__(self, material: Material) -> Forgery:
        """The forgery; raises ValueError when the material lacks something, naming it."""
        missing = sorted(name for name in self.needs if getattr(material, name) is None)
        if missing:
            raise ValueError(f"attempt {self.name!r} needs {', '.join(missing)}")
        return self.forge(material)


def token_attempt(
    name: str,
    family: str,
    description: str,
    source: str,
    make: Callable[[Material], Secret],
    *needs: str,
    expect: str = REFUSED,
) -> Attempt:
    """An attempt that is one token in the ordinary place."""
    return Attempt(
        name=name,
        family=family,
        description=description,
        source=source,
        forge=lambda material: Forgery(bearer=make(material)),
        needs=frozenset(needs),
        expect=expect,
    )
