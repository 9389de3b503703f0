"""What a rule of hygiene is, what it looks at, and the marks of requests that were made to try one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from netra_probe.history.frames import Frame
from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import decoded

#: The key of the mark in an operation's detail.
MARK = "hygiene"

# Sessions
REUSED = "refresh token used before"
AFTER_REUSE = "refresh token whose predecessor came back"
# Sockets
OWN_HANDSHAKE = "own handshake"
FOREIGN_ORIGIN = "foreign origin"
NO_TOKEN = "no token"
QUERY_TOKEN = "token in the query"
FULL_SIZE = "a message of almost the announced size"
OVERSIZED = "a message over the announced size"
AFTER_SIZES = "after the sizes"
# Requests
CROSS_ORIGIN = "request from another origin"
MALFORMED = "malformed"
PLAIN = "plain text where the malformed comes"
BAD_TOKEN = "bad token"
QUOTA = "within the announced quota"
OVER_QUOTA = "over the announced quota"
# Accounts
OTHER_CASE = "address in another case"
SHORT_PASSWORD = "short password"
COMMON_PASSWORD = "common password"
LONG_PASSWORD = "long password"
BEGINNING = "beginning of the password"
OWN_PASSWORD = "own password"
WRONG_PASSWORD = "wrong password"
UNKNOWN_ACCOUNT = "unknown account"
# Health
HEALTH = "health"
USE = "use of the service"


NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Exchange:
    """A request and what came of it."""

    call: Operation
    done: Operation

    @property
    def trial(self) -> str:
        """Which rule the request tries; "" for an ordinary one."""
        return str(self.call.detail.get(MARK, ""))

    @property
    def status(self) -> int:
        """The HTTP status or close code; 0 where nothing came."""
        return self.done.status or 0

    @property
    def headers(self) -> Mapping[str, str]:
        """What was kept of the response's header."""
        kept = self.done.detail.get("headers")
        return kept if isinstance(kept, dict) else NONE

    @cached_property
    def body(self) -> Any:
        """The decoded body, or ``None``."""
        return decoded(self.done.payload)

    @property
    def shows(self) -> tuple[int, int]:
        """The two operations, as witnesses."""
        return self.call.index, self.done.index

    @property
    def place(self) -> str:
        """The operation, as it is named to the reader."""
        return self.call.action

    def issue(self, said: str) -> Issue:
        """What there is against this exchange."""
        call = self.call
        return Issue(said=said, shows=self.shows, surface=call.surface, place=self.place, user=call.user)


@dataclass(frozen=True, kw_only=True)
class Issue:
    """What one rule has against one exchange.

    Issues with the same ``said`` on the same surface become one finding that names all ``place``s.
    """

    said: str
    shows: tuple[int, ...]
    surface: str
    place: str = ""
    user: str | None = None
    #: Instead of the rule's own kind, where one rule finds several.
    kind: str = ""


class Rule:
    """One clause, checked over a history; subclasses override what they look at."""

    #: Short and stable: the finding's kind.
    kind: ClassVar[str]
    #: What a notebook asks about: ``tokens``, ``refusals``, ``sockets``, ``accounts``, ``health``.
    topic: ClassVar[str]
    #: Standard and number.
    clause: ClassVar[str]
    #: What the clause demands, in a sentence.
    demand: ClassVar[str]

    def __init__(self) -> None:
        #: What was looked at, by name; the same in every run of the same acts.
        self.seen: Counter[str] = Counter()

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        """Look at a request and its answer."""
        return iter(())

    def frame(self, operation: Operation, frame: Frame) -> Iterator[Issue]:
        """Look at a frame that came over a socket."""
        return iter(())

    def note(self, operation: Operation) -> Iterator[Issue]:
        """Look at an observation: the shape of a token, the end of a connection."""
        return iter(())

    def finish(self) -> Iterator[Issue]:
        """What only the whole history shows."""
        return iter(())
