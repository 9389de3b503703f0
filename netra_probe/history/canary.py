"""Canaries: secret marks planted in everything a user owns, so that a leak is a search and not a guess.

The idea is the honeytoken of intrusion detection; one per user × field × surface × epoch, so that a sighting tells whose
it is, where it was planted and when. A fixed prefix lets one regular expression find all of them in one pass.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec

PREFIX = "CANARY"
#: Characters of base32 after the prefix: 80 bits, so that an accidental hit is out of the question.
BODY_LENGTH = 16


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """One planted mark: the token and where it was put.

    ``control`` marks a canary that is planted nowhere anybody reads: seeing it anywhere means the search itself is wrong.
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
