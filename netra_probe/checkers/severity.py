"""How grave each kind of finding is, and why: the one table that decides what turns a verdict red.

The measure is the harm, not the checker that saw it. ``isolation``: somebody can read, change or outlive what they must
not, or can be taken for somebody else. ``hygiene``: a weakness that took nothing from anybody in this history. A kind
that is not listed is ``isolation``: what nobody has thought about is not graded down. What is public by design is
declared (``target.public``), not graded down.
"""

from __future__ import annotations

from collections.abc import Mapping

ISOLATION = "isolation"
HYGIENE = "hygiene"

_ACCOUNTS = "a stolen or guessed password was not shown: it makes attacks easier, and none succeeded here"
_ERRORS = "nothing of another user was told; it helps attackers and misleads clients"
_BROWSER = "it takes a victim's browser on a hostile page; no user of the platform got another's data by it here"
_OWN_TOKEN = "the token is still its owner's alone; it is easier to lose or harder to end"
_HONESTY = "the platform says what is not so; nobody's data is involved"

#: Kind → why it turns nothing red by itself.
WEAKNESSES: Mapping[str, str] = {
    "not refused": "it was answered with success, but the answer held nothing of the owner's and changed nothing",
    "existence oracle": "it tells which ids exist and nothing that is in them",
    "refusal as server error": _ERRORS,
    "malformed request as server error": _ERRORS,
    "error shows the inside": _ERRORS,
    "error repeats a credential": "the credential is the one that was sent: it gets into logs, not to another user",
    "password hash in an answer": "the hash came to the account's own session; another user's is a leak (C1)",
    "accounts that differ only in case": _ACCOUNTS,
    "short password accepted": _ACCOUNTS,
    "common password accepted": _ACCOUNTS,
    "long password refused": _ACCOUNTS,
    "password is cut": _ACCOUNTS,
    "log-in tells who has an account": _ACCOUNTS,
    "no limit on guessing passwords": _ACCOUNTS,
    "personal answer may be cached": "a cache on the way could keep it; none was seen to give it to somebody else",
    "cookie without protection": _BROWSER,
    "credential in an address": _OWN_TOKEN,
    "token accepted in the query": _OWN_TOKEN,
    "other origins are let in": _BROWSER,
    "foreign origin accepted": _BROWSER,
    "version of the software told": _ERRORS,
    "healthy with a dead dependency": _HONESTY,
    "announced quota is not enforced": _HONESTY,
    "announced message size is not the enforced one": _HONESTY,
    "socket open without authentication": "it was served pings and nobody's data; data that comes to nobody is a leak",
    "stated lifetime is not the real one": _HONESTY,
    "token without expiry": _OWN_TOKEN,
    "access token lives too long": _OWN_TOKEN,
    "token without audience": _OWN_TOKEN,
    "differs from the contract": "clients of the contract may not read it; nobody got another's data by it",
    "secret in a token": "only who bears the token can read it",
    "log-in gives a token out twice": _OWN_TOKEN,
}

#: Kind → the harm, for kinds that look like mere weaknesses and are none, whichever checker sees them.
HARMS: Mapping[str, str] = {
    "unsigned token": "anybody can issue such a token, for any user",
    "token signed with a known key": "anybody can issue such a token, for any user",
    "session goes on after its refresh token came back": "whoever stole the token goes on as its owner",
    "socket alive after the end": "the session goes on after logout, expiry or revocation",
    "socket outlives its credential": "the session goes on after logout, expiry or revocation",
    "credential works after its end": "the session goes on after logout, expiry or revocation",
    "forged credential accepted": "anybody can be taken for somebody else, or for somebody at all",
    "foreign write": "one user changes what is another's",
    "foreign write accepted": "the platform says that it wrote into what is another user's",
    "refused write took effect": "one user changes what is another's, whatever the status says",
    "another user's credential": "its bearer can act as the other user",
}


def severity_of(kind: str) -> str:
    """``hygiene`` for a listed weakness (or one that begins like it), else ``isolation``."""
    if kind in WEAKNESSES or (kind.startswith("error shows ") and kind not in HARMS):
        return HYGIENE
    return ISOLATION
