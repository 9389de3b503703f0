"""Redaction: what is secret is replaced before it is stored, and equality stays visible.

A secret becomes ``[kind:fingerprint]``. The fingerprint is keyed with a random key that lives only in this process: two
equal tokens look equal, and neither can be guessed from the history (a plain hash of a short password could be).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_SECRET_FIELDS = (
    "password|passwd|access_token|refresh_token|id_token|refreshToken|accessToken|token|client_secret|service_secret|"
    "secret|api_key|apikey|authorization|cookie|set-cookie|code_verifier|ticket_id|ticket|"
    "[a-z_]*(?:password|passwd|passphrase)_?(?:hash|digest)?"
)
_PATTERNS = re.compile(
    # a JSON Web Token or the beginning of one, as error frames preview it
    r"(?P<jwt>\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,2})"
    # the WebSocket sub-protocol that carries one
    r"|(?P<subprotocol>\bjwt\.[A-Za-z0-9_-]{12,}={0,2})"
    # credentials in a connection string, scheme://user:password@; bounded, or many of "://a:" would take hours
    r"|(?P<dsn>(?<=://)[^\s/:@\"']{0,1000}+:[^\s@\"']{1,4000}+(?=@))"
    # a password hash in the usual formats: crypt's ($argon2id$…, $2b$…, $6$…), Django's (pbkdf2_sha256$…), Werkzeug's
    r"|(?P<hash>\$(?:argon2(?:id|i|d)|scrypt|pbkdf2[\w-]*|bcrypt[\w-]*|2[abxy]|[156]|y)\$[^\s\"'\\;]{12,}"
    r"|\b(?:pbkdf2_\w+|bcrypt\w*|scrypt|argon2\w*|pbkdf2:\w+(?::\d+)?|scrypt(?::\d+)+)\$[^\s\"'\\;]{12,})"
    # an Authorization header or its preview
    r"|(?P<bearer>(?<=\b[Bb]earer )(?!\[)[^\s\"',}\]]+|(?<=\b[Bb]asic )(?!\[)[A-Za-z0-9+/=]{8,})"
    # a JSON or form field whose name says that it is secret
    rf"|(?P<field>(?<=\")(?i:{_SECRET_FIELDS})\"\s*:\s*\"(?!\[)(?P<value>(?:[^\"\\]|\\.)+))"
    rf"|(?P<form>(?<=[?&;#\s])(?i:{_SECRET_FIELDS})=(?P<formvalue>[^&\s\"';\[]+))"
)
#: A text without any of these cannot match: a cheap way past the regular expression for most frames.
_HINTS = (
    "eyJ", "jwt.", "://", "earer ", "asic ", "assw", "assp", "token", "Token", "secret", "api", "ookie", "authori",
    "Authori", "code_v", "ticket",
)  # fmt: skip
#: The same for password hashes, which all have a dollar in them; to look for that alone takes next to no time.
_HASH_HINT = re.compile(r"\$2[abxy]\$|\$[156y]\$|pbkdf2|bcrypt|argon2|scrypt", re.ASCII)


#: A value of fewer characters would be replaced all over the place where it means something else.
SHORTEST = 6
#: Of a part of a secret that is nothing but small letters: shorter ones are words that mean something else.
SHORTEST_WORD = 8
#: Where a URL parser cuts a password to which it is given unquoted.
_CUTS = re.compile(r"[@:/%?#&=\s\[\]]+")
#: Pieces of one secret of which all sequences are known.
_MOST_PIECES = 12


def parts_of(secret: str) -> Iterator[str]:
    """A secret, and everything of it that a library may quote: a URL's password, plain and quoted, and their pieces.

    A parser that is given ``redis://:p@ss:word@cache`` complains of a port ``word``.

    >>> sorted(parts_of("redis://:s3cr3t%2Fs4lt99@cache:6379/0"))[:2]
    ['redis://:s3cr3t%2Fs4lt99@cache:6379/0', 's3cr3t']
    """
    yield secret
    for core in dict.fromkeys(_cores(secret)):
        for form in dict.fromkeys((core, unquote(core), quote(core, safe=""), quote(unquote(core), safe=""))):
            yield from _pieces(form)


def _cores(secret: str) -> Iterator[str]:
    """The passwords in a URL; of anything else the whole of it."""
    scheme, found, rest = secret.partition("://")
    if not found or not scheme.replace("+", "").replace("-", "").isalnum():
        yield secret
        return
    credentials, at, _ = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    if at:
        yield password if colon else user
    try:
        yield from (
            value for name, value in parse_qsl(urlsplit(secret).query) if re.search("pass|secret|token|key", name)
        )
    except ValueError:
        return


def _pieces(text: str) -> Iterator[str]:
    """A text, and all its sequences of pieces between characters that URLs give a meaning."""
    if len(text) >= SHORTEST:
        yield text
    ends = [(match.start(), match.end()) for match in _CUTS.finditer(text)]
    begins = [0, *(end for _, end in ends)]
    stops = [*(start for start, _ in ends), len(text)]
    if len(begins) > _MOST_PIECES:
        begins, stops = begins[:: len(begins) // _MOST_PIECES + 1], stops[:: len(stops) // _MOST_PIECES + 1]
    for begin in begins:
        for stop in stops:
            piece = text[begin:stop]
            if len(piece) >= (SHORTEST_WORD if piece.isalpha() and piece.islower() else SHORTEST):
                yield piece


class Redactor:
    """Replaces secrets in text: those it knows (``know``) and those it recognises by form.

    >>> redactor = Redactor(key=b"k")
    >>> redactor.know("hunter2", "password")
    >>> redactor.clean('{"user": "a", "note": "hunter2"}') == redactor.clean('{"user": "a", "note": "hunter2"}')
    True
    >>> "hunter2" in redactor.clean("the password is hunter2")
    False
    """

    def __init__(self, *, key: bytes | None = None) -> None:
        self._key = key if key is not None else secrets.token_bytes(32)
        self._known: dict[str, str] = {}
        self._matcher: re.Pattern[str] | None = None

    def know(self, value: str, kind: str) -> None:
        """From now on replace exactly this value, whatever it is embedded in. Values under 6 characters are refused."""
        if len(value) < SHORTEST:
            raise ValueError(f"a {kind} of {len(value)} characters is too short to be redacted safely")
        if value not in self._known:
            self._known[value] = kind
            self._matcher = None

    def know_parts(self, value: str, kind: str) -> None:
        """From now on replace this value and everything of it that a library may quote (``parts_of``)."""
        for part in parts_of(value):
            if len(part) >= SHORTEST:
                self.know(part, kind)

    def fingerprint(self, value: str, kind: str) -> str:
        """The stand-in of a secret: ``[jwt:0f3a9c12]``."""
        return f"[{kind}:{hashlib.blake2b(value.encode(), key=self._key, digest_size=4).hexdigest()}]"

    def clean(self, text: str) -> str:
        """The text without its secrets."""
        # Whole tokens have the form of one and are found by it; the others have to be looked up.
        if any(hint in text for hint in _HINTS) or ("$" in text and _HASH_HINT.search(text)):
            text = _PATTERNS.sub(self._replace, text)
        # To look for each is many times quicker than an expression with all of them, and nearly always finds nothing.
        if any(known in text for known in self._known):
            if self._matcher is None:
                longest_first = sorted(self._known, key=len, reverse=True)
                self._matcher = re.compile("|".join(map(re.escape, longest_first)))
            text = self._matcher.sub(self._replace_known, text)
        return text

    def _replace_known(self, match: re.Match[str]) -> str:
        return self.fingerprint(match[0], self._known[match[0]])

    def _replace(self, match: re.Match[str]) -> str:
        kind = match.lastgroup or "secret"
        if match["field"]:
            name, value = match["field"][: -len(match["value"])], match["value"]
            return name + self.fingerprint(value, self._kind_of(value))
        if match["form"]:
            name, value = match["form"][: -len(match["formvalue"])], match["formvalue"]
            return name + self.fingerprint(value, self._kind_of(value))
        return self.fingerprint(match[0], self._kind_of(match[0], kind))

    def _kind_of(self, value: str, otherwise: str = "secret") -> str:
        if value in self._known:
            return self._known[value]
        return "jwt" if value.startswith("eyJ") else otherwise


Clean = Callable[[str], str]
