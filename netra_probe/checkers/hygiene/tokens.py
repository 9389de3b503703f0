"""Tokens that do not say the truth about themselves, or do not say enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netra_probe.checkers.hygiene.base import AFTER_REUSE, REUSED, Exchange, Issue, Rule
from netra_probe.history import actions
from netra_probe.history.operation import Operation

#: Seconds by which a stated lifetime may miss the real one: rounding, and a second's tick between two claims.
ROUNDING = 2
#: Seconds that an access token may live: a working day is generous, a day is too long.
LONGEST_ACCESS = 24 * 3600
#: Claims that have no place in something that everybody can read who holds it.
SECRET_CLAIMS = frozenset(("password", "password_hash", "passwd", "pwd", "secret", "api_key", "jwt_secret"))


class _TokenRule(Rule):
    """Looks at tokens as ``acts.inspect_tokens`` has described them: ``detail`` of an operation ``token``."""

    topic = "tokens"

    def note(self, operation: Operation) -> Iterator[Issue]:
        if operation.action == actions.TOKEN:
            said = self.against(operation.detail)
            if said:
                about = operation.detail.get("answer")
                shows = (about, operation.index) if isinstance(about, int) else (operation.index,)
                yield Issue(said=said, shows=shows, surface="auth", user=operation.user)

    def against(self, token: dict[str, Any]) -> str:
        """What there is against this token; "" for nothing."""
        raise NotImplementedError


class StatedLifetime(_TokenRule):
    """A client renews its tokens by what it was told; told too much, it fails, told too little, it asks too often."""

    kind = "stated lifetime is not the real one"
    clause = "RFC 6749 section 5.1 (expires_in); netra-wire §3"
    demand = "the lifetime that is stated is the token's own, exp − iat"

    def against(self, token: dict[str, Any]) -> str:
        stated, real = token.get("stated"), token.get("lifetime")
        if not isinstance(stated, int | float) or not isinstance(real, int | float):
            return ""
        self.seen["lifetimes compared"] += 1
        if abs(stated - real) <= ROUNDING:
            return ""
        return f"the {token.get('kind')} is said to live {stated:.0f} s by {token.get('by')}, and lives {real:.0f} s"


class WithoutExpiry(_TokenRule):
    """Who has such a token once has it for ever."""

    kind = "token without expiry"
    clause = "OWASP ASVS 5.0 7.3.2 (access), 10.4.8 (refresh); WSTG-SESS-07"
    demand = "every token has an end"

    def against(self, token: dict[str, Any]) -> str:
        if token.get("form") != "jwt" or "exp" in _claims(token):
            return ""
        return f"the {token.get('kind')} carries no expiry"


class LongLived(_TokenRule):
    """An access token is meant to be short: it cannot always be called back."""

    kind = "access token lives too long"
    clause = "OWASP ASVS 5.0 7.3.2; WSTG-SESS-07"
    demand = "an access token lives hours at most, and is renewed"

    def against(self, token: dict[str, Any]) -> str:
        real = token.get("lifetime")
        if token.get("kind") != "access token" or not isinstance(real, int | float) or real <= LONGEST_ACCESS:
            return ""
        return f"the access token lives {real / 3600:.0f} hours"


class UnprotectedToken(_TokenRule):
    """A token that is issued unsigned will be accepted unsigned."""

    kind = "unsigned token"
    clause = "OWASP ASVS 5.0 9.1.2; WSTG-SESS-10"
    demand = "tokens are made with an algorithm of an allow-list, never with none"

    def against(self, token: dict[str, Any]) -> str:
        algorithm = str(token.get("algorithm", "")).lower()
        return f"the {token.get('kind')} is signed with alg {algorithm}" if algorithm == "none" else ""


class KnownKey(_TokenRule):
    """Whoever knows the key issues tokens for anybody, without asking the platform."""

    kind = "token signed with a known key"
    clause = "OWASP ASVS 5.0 9.1.1 and 11.2.1; RFC 8725 section 3.5; WSTG-SESS-10"
    demand = "the signing key is random and stands in no list"

    def against(self, token: dict[str, Any]) -> str:
        if "known_key" in token:
            self.seen["signing keys tried offline"] += 1
        return f"the {token.get('kind')} is signed with a key of the published lists" if token.get("known_key") else ""


class WithoutAudience(_TokenRule):
    """One key, several services: only the audience keeps a token from being used where it was not meant to be."""

    kind = "token without audience"
    clause = "OWASP ASVS 5.0 9.2.4"
    demand = "a token says for whom it is meant"

    def against(self, token: dict[str, Any]) -> str:
        if token.get("form") != "jwt" or "aud" in _claims(token):
            return ""
        return f"the {token.get('kind')} names no audience"


class SecretsInClaims(_TokenRule):
    """A signed token is not encrypted."""

    kind = "secret in a token"
    clause = "OWASP WSTG-SESS-10; ASVS 5.0 14.2.6"
    demand = "claims hold nothing that its bearer must not read"

    def against(self, token: dict[str, Any]) -> str:
        found = sorted(SECRET_CLAIMS & _claims(token))
        return f"the {token.get('kind')} carries the claim {', '.join(found)}" if found else ""


class SameTokenAgain(Rule):
    """A new log-in is a new session; with the old token, ending one ends or keeps both."""

    kind = "log-in gives a token out twice"
    topic = "tokens"
    clause = "OWASP ASVS 5.0 7.2.4; WSTG-SESS-03"
    demand = "each log-in makes a new session token"

    def __init__(self) -> None:
        super().__init__()
        self._given: dict[str, int] = {}

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if not exchange.place.endswith(("/login", "/register", "/refresh")) or exchange.status != 200:
            return
        body = exchange.body
        for name in ("access_token", "refresh_token"):
            # Redaction keeps equality visible: the same token has the same fingerprint.
            token = body.get(name) if isinstance(body, dict) else None
            if not isinstance(token, str) or not token:
                continue
            self.seen["tokens given out"] += 1
            before = self._given.setdefault(token, exchange.done.index)
            if before != exchange.done.index:
                yield Issue(
                    said=f"the {name.replace('_', ' ')} of an earlier answer is given out again",
                    shows=(before, *exchange.shows), surface="auth", place=exchange.place, user=exchange.call.user,
                )  # fmt: skip


class SessionAfterReuse(Rule):
    """A refresh token that comes back is in two hands; nobody can tell which of them is the thief's."""

    kind = "session goes on after its refresh token came back"
    topic = "tokens"
    clause = "OWASP ASVS 5.0 10.4.5; RFC 9700 section 4.14.2"
    demand = "a used refresh token that comes back ends all that descend from it"

    def __init__(self) -> None:
        super().__init__()
        self._refused: dict[str, Exchange] = {}

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        user = exchange.call.user or ""
        if exchange.trial == REUSED and exchange.done.type == "fail":
            self._refused[user] = exchange
        elif exchange.trial == AFTER_REUSE and (reused := self._refused.pop(user, None)) is not None:
            self.seen["used refresh tokens that came back"] += 1
            if exchange.done.type == "ok":
                yield Issue(
                    said="a session goes on whose used refresh token came back",
                    shows=(*reused.shows, *exchange.shows), surface="auth", place=exchange.place, user=user or None,
                )  # fmt: skip


def _claims(token: dict[str, Any]) -> set[str]:
    return set(str(token.get("claims", "")).split())


RULES: tuple[type[Rule], ...] = (
    StatedLifetime,
    WithoutExpiry,
    LongLived,
    UnprotectedToken,
    KnownKey,
    WithoutAudience,
    SecretsInClaims,
    SameTokenAgain,
    SessionAfterReuse,
)
