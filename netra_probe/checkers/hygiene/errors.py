"""Refusals and failures that say the wrong thing, or too much."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netra_probe.checkers.hygiene.base import BAD_TOKEN, MALFORMED, PLAIN, Exchange, Issue, Rule
from netra_probe.history.frames import Frame
from netra_probe.history.operation import Operation

#: What a refusal says of itself inside of a server error.
_REFUSED = re.compile(
    r"\b40[0134]\b|HTTPException|forbidden|access denied|permission denied|unauthori[sz]ed|not authenticated|"
    r"not found|invalid (?:token|credentials)",
    re.IGNORECASE,
)
#: Names of inner things, with how they look from outside.
_INSIDES = (
    ("a stack trace", re.compile(
        r"Traceback \(most recent call last\)|\bFile \\?\"[^\"\\]+\\?\", line \d+|\n\s+at \S+\("
    )),
    ("a query", re.compile(r"\b(?:SELECT\s.{1,200}?\sFROM|INSERT INTO|UPDATE\s+\w+\s+SET|DELETE FROM)\s", re.DOTALL)),
    ("an error of the database", re.compile(
        r"\basyncpg\.|\bpsycopg2?\.|\bsqlalchemy\.|(?:relation|column) \\?\"\w+\\?\" (?:does not exist|of relation)|"
        r"\bWRONGTYPE Operation|duplicate key value violates"
    )),
    ("a path of the file system", re.compile(
        r"(?:/(?:usr|home|app|srv|opt|var|etc|site-packages)/|[A-Z]:\\\\)[\w./\\-]+\.(?:py|js|ts|java|go|rb|conf|env)\b"
    )),
    ("an address with credentials", re.compile(r"\b\w+://\[dsn:")),
)  # fmt: skip
#: Stand-ins that redaction puts where a credential was: an answer that refuses has no business repeating one.
_ECHO = re.compile(r"\[(jwt|access-token|refresh-token|password|subprotocol):[0-9a-f]{8}\]")
_ECHOED = {
    "jwt": "a token", "access-token": "a token", "refresh-token": "a token", "password": "a password",
    "subprotocol": "a token",
}  # fmt: skip
#: So much of what was sent, and it is an echo.
_TELLING = 8
#: Fields that hold what a password became.
_STORED = re.compile(r"\"(password_hash|hashed_password|password_digest|passwordHash|password_salt)\"\s*:\s*\"")


class RefusalAsFailure(Rule):
    """Whoever watches for failures is woken by refusals, and a client tries again what it must not."""

    kind = "refusal as server error"
    topic = "refusals"
    clause = "netra-wire §7; RFC 9110 section 15.5; OWASP WSTG-ERRH-01"
    demand = "a refusal is a 4xx"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if 400 <= exchange.status < 600:
            self.seen["refusals read"] += 1
        if exchange.status == 500 and _refuses(exchange):
            yield exchange.issue("a refusal comes as status 500")


class FailureOnInput(Rule):
    """An input that nobody thought of got to a place where nothing expects it."""

    kind = "malformed request as server error"
    topic = "refusals"
    clause = "OWASP ASVS 5.0 2.2.1 and 16.5.3; WSTG-ERRH-01"
    demand = "what cannot be understood is refused with a 4xx"

    def __init__(self) -> None:
        super().__init__()
        #: Requests that break on what they are sent, and those that break without anything odd in them.
        self._broken: list[Exchange] = []
        self._broken_anyway: dict[str, Exchange] = {}

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.trial in (MALFORMED, BAD_TOKEN):
            self.seen["malformed requests"] += exchange.trial == MALFORMED
            if exchange.status == 500 and not _refuses(exchange):
                self._broken.append(exchange)
        elif exchange.trial == PLAIN and exchange.status == 500 and not _refuses(exchange):
            self._broken_anyway[exchange.place] = exchange
        return iter(())

    def finish(self) -> Iterator[Issue]:
        for exchange in self._broken:
            if exchange.place not in self._broken_anyway:
                what = _malformation(exchange)
                yield exchange.issue(f"a request with {what} is answered with status {exchange.status}")
        for exchange in self._broken_anyway.values():
            yield exchange.issue(f"a request with any unknown id is answered with status {exchange.status}")


class Insides(Rule):
    """Names of files, queries and libraries are a map for whoever means harm."""

    kind = "error shows the inside"
    topic = "refusals"
    clause = "OWASP ASVS 5.0 16.5.1; WSTG-ERRH-01 and WSTG-ERRH-02"
    demand = "errors are generic: no stack trace, query, path or secret"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.status >= 400 and exchange.done.payload:
            yield from self._in(exchange.done, exchange.shows, exchange.place)

    def frame(self, operation: Operation, frame: Frame) -> Iterator[Issue]:
        if frame.name in ("error", "agent_error"):
            yield from self._in(operation, (operation.index,), "a frame")

    def _in(self, operation: Operation, shows: tuple[int, ...], place: str) -> Iterator[Issue]:
        self.seen["error bodies read"] += 1
        # A newline of a JSON string is two characters on the wire.
        text = operation.payload.replace("\\n", "\n")
        for what, looks in _INSIDES:
            if looks.search(text):
                yield Issue(
                    said=f"an error shows {what}", shows=shows, surface=operation.surface, place=place,
                    user=operation.user, kind=f"error shows {what}",
                )  # fmt: skip


class Echo(Rule):
    """An error that repeats a credential carries it into logs, screenshots and tickets."""

    kind = "error repeats a credential"
    topic = "refusals"
    clause = "OWASP ASVS 5.0 16.5.1; WSTG-SESS-04; netra-wire §1"
    demand = "no part of a token, password or Authorization header is repeated"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.status < 400:
            return
        yield from self._in(exchange.done, exchange.shows, exchange.place)
        sent = str(exchange.call.detail.get("sent", ""))
        if len(sent) >= _TELLING and sent[:_TELLING] in exchange.done.payload:
            yield exchange.issue("an error repeats an Authorization header")

    def frame(self, operation: Operation, frame: Frame) -> Iterator[Issue]:
        if frame.name in ("error", "agent_error"):
            yield from self._in(operation, (operation.index,), "a frame")

    def _in(self, operation: Operation, shows: tuple[int, ...], place: str) -> Iterator[Issue]:
        found = _ECHO.search(operation.payload)
        if found is not None:
            yield Issue(
                said=f"an error repeats {_ECHOED[found[1]]}", shows=shows, surface=operation.surface, place=place,
                user=operation.user,
            )  # fmt: skip


class StoredPassword(Rule):
    """A hash that is sent out is guessed at leisure."""

    kind = "password hash in an answer"
    topic = "refusals"
    clause = "OWASP ASVS 5.0 14.2.6; API3:2023; CWE-522"
    demand = "what a password became never leaves the service"

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        found = _STORED.search(exchange.done.payload)
        if found is not None:
            yield exchange.issue(f"an answer holds {found[1]}")


def _refuses(exchange: Exchange) -> bool:
    """Whether an answer says that it is a refusal, in words that the request did not bring along."""
    sent = f"{exchange.call.payload} {exchange.call.detail.get('path', '')}"
    return any(found[0] not in sent for found in _REFUSED.finditer(exchange.done.payload))


def _malformation(exchange: Exchange) -> str:
    return str(exchange.call.detail.get("what", "something unexpected"))


RULES: tuple[type[Rule], ...] = (RefusalAsFailure, FailureOnInput, Insides, Echo, StoredPassword)
