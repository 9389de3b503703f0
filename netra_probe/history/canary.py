"""Canaries: secret marks planted in everything a user owns, so that a leak is a search and not a guess.

The idea is the honeytoken of intrusion detection; one per user × field × surface × epoch, so that a sighting tells
whose it is, where it was planted and when. A fixed prefix lets a few substring tests rule out a text that holds none,
in whatever encoding; only what passes them is looked at closely.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import unquote

import msgspec
from msgspec import structs

PREFIX = "CANARY"
#: Characters of base32 after the prefix: 80 bits, so that an accidental hit is out of the question.
BODY_LENGTH = 16


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """One planted mark: the token and where it was put.

    ``control`` marks a canary that is planted nowhere anybody reads: seeing it anywhere means the search itself is
    wrong.
    """

    token: str
    user: str
    field: str
    surface: str
    epoch: int = 0
    control: bool = False


def mint(
    *, seed: int, identity: str, user: str, field: str, surface: str, epoch: int = 0, control: bool = False
) -> Canary:
    """The canary of one user, field, surface and epoch: prefix + 16 characters of base32(HMAC-SHA256(seed, …)).

    ``identity`` is what makes the account unique (its e-mail address), so that two runs with one seed differ.

    >>> mint(seed=7, identity="a@x", user="alice", field="prompt", surface="websocket").token[:6]
    'CANARY'
    """
    message = "|".join((identity, field, surface, str(epoch), "control" if control else ""))
    digest = hmac.new(str(seed).encode(), message.encode(), hashlib.sha256).digest()
    token = PREFIX + base64.b32encode(digest).decode()[:BODY_LENGTH]
    return Canary(token=token, user=user, field=field, surface=surface, epoch=epoch, control=control)


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One canary seen in a text: which, in what form, and whether all of it.

    ``canary`` is ``None`` for a whole token that nobody here minted: the mark of another investigation.
    ``form`` is ``raw``, ``folded``, ``url``, ``escaped``, ``base64`` or ``hex``. ``whole=False`` is a beginning only (a
    truncated preview): enough to doubt, not enough to accuse.
    """

    canary: Canary | None
    token: str
    form: str
    whole: bool


#: Characters of the body that a truncated canary must show before it counts as one: 30 bits.
MIN_PREFIX = 6
#: Upper case is what texts are folded to: no letter of a prose text then looks like a digit or a letter of a fragment,
#: which is what makes ruling it out fast.
#: A whole token in a text, as it was minted.
WHOLE = re.compile(f"{PREFIX}[A-Z2-7]{{{BODY_LENGTH}}}")
_TOKEN = re.compile(f"{PREFIX}[A-Z2-7]{{0,{BODY_LENGTH}}}")
_LENGTH = len(PREFIX) + BODY_LENGTH
_HEX_PREFIX = PREFIX.encode().hex().upper()
_HEX_TOKEN = re.compile(f"{_HEX_PREFIX}(?:[0-9A-F]{{2}}){{0,{BODY_LENGTH}}}")
_ESCAPE = re.compile(r"\\U00([0-7][0-9A-F])")


def _alignments() -> tuple[tuple[str, int], ...]:
    """What is certain of the base64 of the prefix when 0, 1 or 2 bytes precede it in its group of three."""
    found = []
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + PREFIX.encode())
        first = -(-lead * 8 // 6)
        last = (lead + len(PREFIX)) * 8 // 6
        found.append((encoded[first:last].decode(), lead))
    return tuple(found)


_BASE64 = tuple((re.compile(f"{re.escape(known)}[A-Za-z0-9+/_-]{{0,32}}"), lead) for known, lead in _alignments())
_LEAD_0, _LEAD_1, _LEAD_2 = (known for known, _ in _alignments())


class CanarySearch:
    """Finds every known canary in a text, raw or encoded, in time linear in the text.

    >>> search = CanarySearch()
    >>> secret = mint(seed=7, identity="a@x", user="alice", field="title", surface="rest")
    >>> search.add(secret)
    >>> [(s.canary.user, s.form, s.whole) for s in search.find(secret.token.encode().hex())]
    [('alice', 'hex', True)]
    """

    def __init__(self) -> None:
        #: token → how it looks when it is seen whole and raw.
        self._known: dict[str, Sighting] = {}
        self._alone: dict[str, tuple[Sighting]] = {}
        self._beginnings: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, canary: Canary) -> None:
        """Search for this canary from now on."""
        token = canary.token.upper()
        self._known[token] = Sighting(canary=canary, token=canary.token, form="raw", whole=True)
        self._alone[canary.token] = (self._known[token],)
        self._beginnings[token[: len(PREFIX) + MIN_PREFIX]] = token

    def find(self, text: str) -> Sequence[Sighting]:
        """All sightings in ``text``, each token once per form; nothing for nearly every text."""
        folded = text.upper()
        # One rare letter rules out most texts faster than the whole fragment of base64 does.
        if (
            _HEX_PREFIX not in folded
            and ("Q" not in text or (_LEAD_0 not in text and _LEAD_2 not in text))
            and ("F" not in text or _LEAD_1 not in text)
            and "%" not in text
            and ("\\" not in text or "\\U00" not in folded)
        ):
            position = folded.find(PREFIX)
            if position < 0:
                return ()
            # Nearly always what was planted comes back as it was planted: once, whole, raw and known.
            end = position + _LENGTH
            alone = self._alone.get(text[position:end])
            if alone is not None and folded.find(PREFIX, end) < 0:
                return alone
        return self._look_closely(text, folded)

    def _look_closely(self, text: str, folded: str) -> list[Sighting]:
        found: dict[tuple[str, str], Sighting] = {}
        for match in _TOKEN.finditer(folded):
            # Folding keeps the length of every text but a few odd ones, for which any form will do.
            self._keep(found, match[0], "raw" if text[match.start() : match.end()] == match[0] else "folded")
        for encoded in _HEX_TOKEN.findall(folded):
            self._keep(found, bytes.fromhex(encoded).decode("latin-1").upper(), "hex")
        self._find_base64(found, text)
        if "%" in text:
            self._find_decoded(found, text, unquote(text, errors="replace"), "url")
        if "\\U00" in folded:
            self._find_decoded(found, folded, _ESCAPE.sub(_unescape, folded), "escaped")
        return list(found.values())

    def _find_decoded(self, found: dict[tuple[str, str], Sighting], text: str, plain: str, form: str) -> None:
        """Look again where one layer of escapes was taken off; what was already seen raw is not a second sighting."""
        if plain == text:
            return
        seen_before = {token for token, _ in found}
        for match in _TOKEN.finditer(plain.upper()):
            if match[0] not in seen_before:
                self._keep(found, match[0], form)
        again: dict[tuple[str, str], Sighting] = {}
        self._find_base64(again, plain)
        for (token, _), sighting in again.items():
            if token not in seen_before:
                found.setdefault((token, "base64"), sighting)

    def _find_base64(self, found: dict[tuple[str, str], Sighting], text: str) -> None:
        for pattern, lead in _BASE64:
            for match in pattern.finditer(text):
                # The characters before the match mix the prefix with foreign bits: put in ones that decode to anything.
                group = "A" * -(-lead * 8 // 6) + match[0].replace("-", "+").replace("_", "/")
                group = group[: len(group) - (len(group) % 4 == 1)]
                try:
                    decoded = base64.b64decode(group + "=" * (-len(group) % 4))
                except binascii.Error:  # pragma: no cover - the pattern admits only the alphabet
                    continue
                inner = PREFIX[0] + decoded[lead + 1 : lead + _LENGTH].decode("latin-1")
                plain = _TOKEN.match(inner.upper())
                if plain:
                    self._keep(found, plain[0], "base64")

    def _keep(self, found: dict[tuple[str, str], Sighting], seen: str, form: str) -> None:
        """Record what was seen: a known canary, a stranger's, or the beginning of a known one."""
        known = self._known.get(seen)
        if known is not None:
            found[seen, form] = known if form == "raw" else structs.replace(known, form=form)
            return
        begun = self._beginnings.get(seen[: len(PREFIX) + MIN_PREFIX])
        if begun is not None:
            found[seen, form] = Sighting(canary=self._known[begun].canary, token=seen, form=form, whole=False)
        elif len(seen) == _LENGTH and form != "folded":
            found[seen, form] = Sighting(canary=None, token=seen, form=form, whole=True)


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))
