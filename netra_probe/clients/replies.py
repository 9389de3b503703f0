"""What came of an act: values, not exceptions, because a refusal is evidence.

    Answered       it happened (2xx, 3xx, welcome, terminal event)
    Refused        it surely did not happen (4xx, handshake refused)
    Closed         the socket ended, with a code
    Broken         the target failed (5xx): it may have happened
    Silent         nothing came within the named time-out: it may have happened
    Unreachable    the connection failed; ``sent`` says whether it may have happened

Only ``Answered`` is true. No repr shows a body, so that no token or canary reaches a notebook by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from netra_probe.history.untrusted import address, number


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The target did it; ``body`` is the decoded JSON, or the text; ``location`` where it sends one on to."""

    status: int = 200
    body: Any = field(default=None, repr=False)
    location: str = field(default="", repr=False)
    #: Index of the completion in the history.
    operation: int = field(default=-1, repr=False, compare=False)

    def __bool__(self) -> bool:
        return True

    @property
    def page(self) -> str:
        """What came instead of an answer of an API: a redirect (to a log-in page), an HTML page; "" for an answer."""
        if 300 <= self.status < 400:
            place = address(self.location)
            return f"a redirect to {place.netloc}{place.path}" if place.netloc or place.path else "a redirect"
        start = self.body.lstrip()[:15].lower() if isinstance(self.body, str) else ""
        return "an HTML page" if start.startswith(("<!doctype html", "<html")) else ""

    def __repr__(self) -> str:
        return f"Answered(status={self.status})"


class Negative:
    """What did not happen, or may not have."""

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Refused(Negative):
    """The target said no; ``retry_after`` is in how many seconds to ask again, where it says so."""

    status: int
    error: str = ""
    body: Any = field(default=None, repr=False, compare=False)
    retry_after: float | None = field(default=None, repr=False, compare=False)
    operation: int = field(default=-1, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Refused(status={self.status}{f', error={self.error!r}' if self.error else ''})"


def body_of(reply: Reply) -> dict[str, Any]:
    """The JSON object of an answer; an empty one for a refusal and for any other body."""
    return reply.body if isinstance(reply, Answered) and isinstance(reply.body, dict) else {}


def from_api(reply: Reply) -> Reply:
    """The reply, where an API has given it: a redirect or an HTML page is neither a yes nor a list of anything."""
    if isinstance(reply, Answered) and reply.page:
        error = f"{reply.page}, which is no answer of an API"
        return Refused(status=reply.status, error=error, body=reply.body, operation=reply.operation)
    return reply


def why_not(reply: Reply, operation: str) -> str:
    """Why nobody was let in, as a sentence with what to set.

    >>> why_not(Refused(status=404), "POST /auth/register")
    'no such route: POST /auth/register (404); is target.auth_url the service that has it?'
    """
    if isinstance(reply, Refused) and reply.status in (404, 405):
        return f"no such route: {operation} ({reply.status}); is target.auth_url the service that has it?"
    if isinstance(reply, Refused) and reply.error.endswith("no answer of an API"):
        return (
            f"{operation} was answered with {reply.error}; is target.auth_url right, or a log-in page or web front end "
            "before it?"
        )
    if isinstance(reply, Refused) and reply.status == 429:
        return f"{operation} is limited (429) for longer than one waits; lower the parameter `users`, or try later."
    if isinstance(reply, Refused):
        told = f", {reply.error!r}" if reply.error else ""
        return f"{operation} was refused (status {reply.status}{told})."
    if isinstance(reply, Broken):
        return f"{operation} failed there (status {reply.status}); is target.auth_url an auth service, and is it well?"
    if isinstance(reply, Unreachable):
        return f"{reply!r}; is it running, and is target.auth_url right?"
    return ""


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """How long a refusal asks one to wait; ``None`` where it tells no number (of a date one would need the clock)."""
    return number(headers.get("retry-after", ""))


@dataclass(frozen=True, kw_only=True)
class Closed(Negative):
    """The socket is closed; 1008 is a refusal by policy, 1011 a failure of the target, 1006 a cut."""

    code: int
    error: str = ""
    operation: int = field(default=-1, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Closed(code={self.code}{f', error={self.error!r}' if self.error else ''})"


@dataclass(frozen=True, kw_only=True)
class Broken(Negative):
    """The target failed while answering."""

    status: int
    body: Any = field(default=None, repr=False, compare=False)
    operation: int = field(default=-1, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Silent(Negative):
    """Nothing came: ``silent for 2.0 s`` is evidence, too."""

    seconds: float
    operation: int = field(default=-1, repr=False, compare=False)

    def __str__(self) -> str:
        return f"silent for {self.seconds:.1f} s"


@dataclass(frozen=True, kw_only=True)
class Unreachable(Negative):
    """No connection, or one that was cut; ``reason`` is the kind of failure and never holds a URL."""

    reason: str
    sent: bool = False
    operation: int = field(default=-1, repr=False, compare=False)


Reply: TypeAlias = Answered | Refused | Broken | Silent | Unreachable


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds that each kind of waiting may take.

    Arguments:
        connect: to open a connection.
        reply: from a request to its response.
        welcome: from an accepted handshake to the welcome or the refusal.
        pong: from a ping to its pong.
        settle: a welcome older than this is needed before a pong counts as life (netra-wire §1).
        run: from a question to the terminal event of its run.
        grace: after a terminal event, for what may still follow.
        close: for a closing handshake.
        release: from the last client's leaving until the target has let go of what it held for it.
        alone: until other investigations on the same target have stepped aside for one that measures.
    """

    connect: float = 5.0
    reply: float = 10.0
    welcome: float = 5.0
    pong: float = 5.0
    settle: float = 1.25
    run: float = 10.0
    grace: float = 1.0
    close: float = 2.0
    release: float = 5.0
    alone: float = 60.0
