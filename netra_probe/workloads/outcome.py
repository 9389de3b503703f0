"""What an act says of itself: what was done, by whom, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec

from netra_probe.checkers import Checker
from netra_probe.checkers.resources import ResourceChecker
from netra_probe.checkers.store import StoreChecker

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


More = ParamSpec("More")
#: Why an act stops before its time: later connections would get what belongs to the run that has not ended.
SILENT = "a run never ended"

#: How a reader is told of an act; others by their own name.
ACTS = {
    "across backends": "Runs at every backend",
    "append_together": "Concurrent appends",
    "identical_prompts": "Identical questions",
    "ask_with_query": "Token in the query",
    "borrowed in turn": "Pooled connections in turn",
    "bring_back_refresh_token": "Used refresh token presented again",
    "came and went": "Sessions opened and ended",
    "cancel and volley": "Cancelled requests, then reads",
    "contexts": "Execution contexts in this process",
    "dispatchers": "Tool dispatchers in this process",
    "emitters": "Emitters in this process",
    "agents": "Agents in this process",
    "engine": "Tool engine in this process",
    "crowding out": "One user's load beside others",
    "deleted": "Create and delete everything",
    "sequential_jobs": "Sequential background jobs",
    "foreign thread": "Subscriptions to another user's thread",
    "explore": "Systematic combinations",
    "explored reads": "Combinations that read",
    "explored sockets": "Combinations over sockets",
    "explored writes": "Combinations that write",
    "first_pieces": "Time to the first piece of an answer",
    "forge": "Forged tokens",
    "forged at stores": "Forged tokens at data stores",
    "gave up": "Abandoned tool calls",
    "half-done writes": "Aborted batch writes",
    "interrupt_listeners": "Subscriptions at the cache interrupted",
    "introduced": "Identity checks",
    "kept": "Create and read everything",
    "kept books": "Balances beside their entries",
    "log_in_through": "OAuth logins with swapped callbacks",
    "neighbours": "Tool calls with another user's thread",
    "opened stores": "Data stores with valid and invalid tokens",
    "outlived sessions": "Data access after logout",
    "call_unpermitted_tools": "Tool calls without permission",
    "read beside": "Reads with and without other users",
    "read_as_neighbour": "Reads by a user with a similar address",
    "reference_foreign_ids": "Agents and tools with another user's ids",
    "refresh_together": "Concurrent token refreshes",
    "reused address": "A removed address registered again",
    "search of unlisted routes": "Names beside the listed routes",
    "saturated pool": "More requests than connections",
    "tokens in messages": "Tokens shown on open sockets",
    "shared line": "Shared keep-alive connection",
    "try_bypasses": "Attempted bypasses",
    "spend_together": "Concurrent spending",
    "similar_prompts": "Similar questions",
    "stop of a foreign run": "Stop of another user's run",
    "same_prefix_tokens": "Tokens with the same prefix",
    "tools": "Tool calls",
    "two_conversations": "Overlapping conversations of one user",
    "trespass": "Operations on another user's objects",
    "use_one_label": "Threads with the same label",
}
#: How a reader is told of a count; others by their own name.
COUNTS = {
    "answered as oneself": "answered as the caller",
    "apart": "isolated",
    "at once": "at the same moment",
    "bad tokens": "invalid tokens",
    "calls afterwards": "calls after the end",
    "doors": "endpoints",
    "for nobody": "without a user",
    "found again": "read back",
    "given up": "abandoned",
    "hung up": "aborted",
    "jobs done": "jobs completed",
    "left out for want of budget": "skipped (request limit)",
    "let in": "accepted",
    "let into the thread": "accepted in the thread",
    "log-ins": "logins",
    "log-ins of others": "logins of others",
    "nobody refused": "refused without a token",
    "not to be answered": "that must be refused",
    "own log-ins": "own logins",
    "own session": "calls in the other session",
    "patterns": "wildcards",
    "refused log-ins": "refused logins",
    "rivals": "competing",
    "shown": "presented",
    "shown afterwards": "still returned afterwards",
    "still whole": "unaffected",
    "told in pairs": "with start and completion events",
    "things": "objects",
    "winners": "successful",
    "winners later": "successful later",
    "without effect": "rejected",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an act; true when it could be done at all.

    Its repr is the same in every healthy run: aliases and counts, and nothing that a clock or a target makes up.

    Arguments:
        act: its name.
        users: aliases of those who acted.
        counts: how often what came about.
        missing: what the target does not offer, so that the act was not done.
        broke: the exception that ended the act before its time.
        seconds: how long each answer took, for a look at latencies; not part of the repr.
    """

    act: str
    users: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: str = ""
    broke: str = ""
    seconds: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def __bool__(self) -> bool:
        return not (self.missing or self.broke)

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        if self.missing:
            said = f"not offered ({self.missing})"
        elif self.broke:
            said = f"broke off ({self.broke})"
        return f"<{self.act} of {', '.join(self.users)}: {said}>"

    def __str__(self) -> str:
        """The same for a reader: ``Forged tokens (bob, alice): 11 endpoints, 674 presented, 674 rejected``."""
        said = ", ".join(f"{count} {COUNTS.get(name, name)}" for name, count in self.counts.items())
        if self.missing:
            said = f"not run; missing: {self.missing}"
        elif self.broke:
            said = f"ended early ({self.broke})"
        act = ACTS.get(self.act, self.act.replace("_", " ").capitalize())
        return f"{act} ({', '.join(self.users)}): {said}" if self.users else f"{act}: {said}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook shows."""
        printer.text(str(self))


def names(users: Iterable[User]) -> tuple[str, ...]:
    """The aliases of users."""
    return tuple(user.name for user in users)


def cut_short(probe: Investigation, act: str, *, done: int, planned: int, why: str, unit: str = "rounds") -> None:
    """Note that an act did less than planned, if it did: what was not done bounds what its case can say."""
    if done < planned:
        probe.notes.limit(f"{act}: {done} of {planned} {unit} were done: {why}")


_SURFACES: dict[str, frozenset[str]] = {
    StoreChecker.id: frozenset({"database", "cache"}),
    ResourceChecker.id: frozenset({"database", "cache", "operator"}),
}


def applicable_checkers(probe: Investigation, *checkers: Checker) -> list[Checker]:
    """Those of the checkers whose evidence this target lends, or all of them where it lends none of it.

    >>> probe.check("A1.1", *applicable_checkers(probe, tokens(), store()))   # doctest: +SKIP

    A case that is judged by what users see, and by the stores as well where one may look, is then judged everywhere;
    one that only the stores could answer stays inconclusive without them.
    """
    surfaces = probe.target.surfaces
    seen = [checker for checker in checkers if not (needed := _SURFACES.get(checker.id)) or needed & surfaces]
    return seen or list(checkers)
