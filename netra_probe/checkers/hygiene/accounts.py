"""Registering and logging in: what is let in, what is told, and how often one may guess."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from statistics import median
from typing import ClassVar

from netra_probe.checkers.hygiene.base import (
    BEGINNING,
    COMMON_PASSWORD,
    LONG_PASSWORD,
    OTHER_CASE,
    OWN_PASSWORD,
    SHORT_PASSWORD,
    UNKNOWN_ACCOUNT,
    WRONG_PASSWORD,
    Exchange,
    Issue,
    Rule,
)

#: Wrong passwords in a row after which something must have become harder.
ENOUGH_GUESSES = 10
#: Seconds by which an answer must come later for the delay to be a brake.
BRAKE_SECONDS = 1.0
_ADDRESS = re.compile(r"[\w.+'-]+@[\w.-]+")


class _AccountRule(Rule):
    topic = "accounts"

    def issue(self, said: str, *exchanges: Exchange) -> Issue:
        """An issue that these exchanges show."""
        shows = tuple(index for exchange in exchanges for index in exchange.shows)[:6]
        last = exchanges[-1]
        return Issue(said=said, shows=shows, surface=last.call.surface, place=last.place)


class CaseVariants(_AccountRule):
    """Mail for the one is read by the other as soon as some part of the platform folds the case."""

    kind = "accounts that differ only in case"
    clause = "OWASP WSTG-IDNT-02; CWE-178"
    demand = "an address is one account, in whatever case it is written"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.trial == OTHER_CASE:
            self.seen["addresses in another case"] += 1
            if exchange.done.type == "ok":
                yield self.issue("an address that differs only in case is registered once more", exchange)


class _PasswordRule(_AccountRule):
    """A password that is registered, or logged in with, and what should come of it."""

    trial: ClassVar[str]
    said: ClassVar[str]
    #: The outcome that is objected to.
    wrong: ClassVar[str] = "ok"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.trial == self.trial:
            self.seen["passwords tried"] += 1
            if exchange.done.type == self.wrong:
                yield self.issue(self.said, exchange)


class ShortPassword(_PasswordRule):
    """A short password is guessed by trying all."""

    kind, trial, said = "short password accepted", SHORT_PASSWORD, "a password of seven characters is accepted"
    clause = "OWASP ASVS 5.0 6.2.1; WSTG-ATHN-07"
    demand = "passwords have at least eight characters"


class CommonPassword(_PasswordRule):
    """What everybody chooses is guessed first."""

    kind, trial, said = "common password accepted", COMMON_PASSWORD, "one of the most common passwords is accepted"
    clause = "OWASP ASVS 5.0 6.2.4; WSTG-ATHN-07"
    demand = "new passwords are held against a list of the most common ones"


class LongPassword(_PasswordRule):
    """What a password manager makes must be good enough."""

    kind, trial, said = "long password refused", LONG_PASSWORD, "a password of 80 characters is refused"
    wrong = "fail"
    clause = "OWASP ASVS 5.0 6.2.9; WSTG-ATHN-07"
    demand = "passwords of at least 64 characters are permitted"


class CutPassword(_PasswordRule):
    """Characters that do not count protect nothing."""

    kind, trial, said = "password is cut", BEGINNING, "the first 72 characters of a longer password are enough"
    clause = "OWASP ASVS 5.0 6.2.8"
    demand = "a password is verified as it was given, without truncation"


class Enumeration(_AccountRule):
    """Who may ask which addresses have accounts has half of what a log-in takes."""

    kind = "log-in tells who has an account"
    clause = "OWASP ASVS 5.0 6.3.8; WSTG-IDNT-04"
    demand = "an unknown address and a wrong password are refused alike"

    def __init__(self) -> None:
        super().__init__()
        self._known: Exchange | None = None
        self._unknown: Exchange | None = None

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.trial == WRONG_PASSWORD and self._known is None:
            self._known = exchange
        elif exchange.trial == UNKNOWN_ACCOUNT and self._unknown is None:
            self._unknown = exchange
        return iter(())

    def finish(self) -> Iterator[Issue]:
        known, unknown = self._known, self._unknown
        if known is None or unknown is None or not known.status or not unknown.status:
            return
        self.seen["refused log-ins compared"] += 2
        if known.status != unknown.status:
            what = f"with {known.status}, an unknown address with {unknown.status}"
            yield self.issue(f"a wrong password is refused {what}", known, unknown)
        elif _plain(known.done.payload) != _plain(unknown.done.payload):
            yield self.issue("a wrong password is refused in other words than an unknown address", known, unknown)


class Guessing(_AccountRule):
    """Without a brake every password is a matter of time."""

    kind = "no limit on guessing passwords"
    clause = "OWASP ASVS 5.0 6.3.1; WSTG-ATHN-03"
    demand = "wrong passwords in a row are slowed down or shut out"

    def __init__(self) -> None:
        super().__init__()
        self._wrong: dict[str, list[Exchange]] = defaultdict(list)
        self._right: dict[str, Exchange] = {}

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        user = exchange.call.user or ""
        if exchange.trial == WRONG_PASSWORD:
            self._wrong[user].append(exchange)
        elif exchange.trial == OWN_PASSWORD and self._wrong.get(user):
            self._right[user] = exchange
        return iter(())

    def finish(self) -> Iterator[Issue]:
        for user, wrong in sorted(self._wrong.items()):
            right = self._right.get(user)
            if len(wrong) < ENOUGH_GUESSES or right is None:
                continue
            self.seen["accounts at which passwords were guessed"] += 1
            first, last = wrong[0], wrong[-1]
            changed = any(guess.status != first.status or "retry-after" in guess.headers for guess in wrong)
            slowed = _seconds(last) > BRAKE_SECONDS + 3 * median(_seconds(guess) for guess in wrong[:3])
            if not changed and not slowed and right.done.type == "ok":
                yield self.issue(
                    f"{len(wrong)} wrong passwords in a row changed nothing; the right one works at once",
                    first, last, right,
                )  # fmt: skip


def _plain(payload: str) -> str:
    """A refusal without what names the address, and without numbers such as times and ids."""
    return re.sub(r"\d+", "0", _ADDRESS.sub("", payload))


def _seconds(exchange: Exchange) -> float:
    return (exchange.done.time - exchange.call.time) / 1e9


RULES: tuple[type[Rule], ...] = (
    CaseVariants,
    ShortPassword,
    CommonPassword,
    LongPassword,
    CutPassword,
    Enumeration,
    Guessing,
)
