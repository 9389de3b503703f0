"""What all leaks and losses of a history have in common: the evidence that distinguishes look-alike faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from netra_probe.checkers.attribution.leak_tracker import LeakTracker, Sighting
from netra_probe.checkers.attribution.losses import Losses
from netra_probe.checkers.base import Window
from netra_probe.checkers.verdict import Finding
from netra_probe.history.operation import Operation

#: The share of sightings that counts as nearly all.
NEARLY = 0.9
#: Share of the secrets that reached all others, from which on they reach everybody: whoever was just leaving on a busy
#: machine misses some, while what goes to one other at a time reaches all of few users in the end.
TO_EVERYBODY = 0.75
#: Kinds by which C3 and C4 say that something did not arrive.
_LOSSES = frozenset(("lost", "held back", "cut short", "gap", "never ended", "tool without end"))


@dataclass(frozen=True, kw_only=True)
class Features:
    """Facts measured from a history and its findings.

    Arguments:
        sightings: foreign data seen by users who had not named its id, and by those who had (``claimed``).
        mixed: of both, the content that came inside a run of the recipient's own.
        repeated: all of that content was, word for word, in frames to its owner.
        labels: user ids of others on frames of the recipient's own runs; they count as no sightings.
        observers: users to whom anything was delivered.
        everybody: most secrets reached all others who could have seen them, of whom there were at least two.
        crowded: some answer held the data of several others at once; ``accumulated``: always of all who came before.
        equal_ids, equal_prompts: owner and recipient shared an id under which it came, or a prompt, every time;
            ``similar_prompts``: or a prompt much like it, at least once.
        one_owner: all that was seen is one user's; ``first_owner``: who did something before all others.
        crafted: some user ids, or names of addresses, begin alike, and only such pairs are concerned.
        inherited: owner and recipient have one and the same address, one after the other.
        misplaced: a store holds a secret with somebody to whom it never came.
        kinds: (checker, kind) of the findings; ``said``: their summaries.
        lost_by: users that lost something; ``loss_rate``: share of the questions that stayed without an end.
        rivalled: those without an end were all asked on a connection beside another one of the user's.
        crossed: those were asked at another backend than was listened to, all of them and no others.
        outlived: those without an end were all asked on connections that had outlived an interruption of a dependency.
        others_died: somebody else's connection died or stalled while those who lost something were connected; or
            (``own_died``) an earlier one of their own.
        echo: all that was seen had come to who saw it before the window.
        collided: the target gave one and the same run id to several users.
        backends: how many are named in the history, 0 where none is.
    """

    sightings: tuple[Sighting, ...] = ()
    claimed: tuple[Sighting, ...] = ()
    mixed: tuple[Sighting, ...] = ()
    repeated: bool = False
    labels: tuple[Sighting, ...] = ()
    observers: frozenset[str] = frozenset()
    everybody: bool = False
    crowded: bool = False
    accumulated: bool = False
    equal_ids: bool = False
    equal_prompts: bool = False
    similar_prompts: bool = False
    crafted: bool = False
    inherited: bool = False
    misplaced: bool = False
    collided: bool = False
    echo: bool = False
    one_owner: bool = False
    first_owner: bool = False
    kinds: frozenset[tuple[str, str]] = frozenset()
    said: tuple[str, ...] = ()
    lost_by: frozenset[str] = frozenset()
    loss_rate: float = 0.0
    backends: int = 0
    rivalled: bool = False
    crossed: bool = False
    outlived: bool = False
    others_died: bool = False
    own_died: bool = False
    slowed: frozenset[str] = frozenset()

    def all(self, test: Callable[[Sighting], bool]) -> bool:
        """Whether there are sightings and all of them pass."""
        return bool(self.sightings) and all(map(test, self.sightings))

    def mostly(self, test: Callable[[Sighting], bool]) -> bool:
        """Whether nearly all pass: clients and servers do not see concurrent acts in quite the same order."""
        return bool(self.sightings) and sum(map(test, self.sightings)) >= NEARLY * len(self.sightings)

    def any(self, test: Callable[[Sighting], bool]) -> bool:
        """Whether some sighting passes."""
        return any(map(test, self.sightings))

    def has(self, checker: str, *kinds: str) -> bool:
        """Whether a checker found anything, or anything of these kinds."""
        return any(found == checker and (not kinds or kind in kinds) for found, kind in self.kinds)

    def named(self, *words: str) -> bool:
        """Whether the summary of some finding of the token playbook names one of these attempts."""
        return any(word in text for text in self.said for word in words)

    @property
    def lossy(self) -> bool:
        """Something of somebody's runs did not arrive, and nothing foreign did."""
        return bool(self.lost_by) and not self.sightings and not self.claimed


def measure(findings: Sequence[Finding], operations: Iterable[Operation], window: Window | None = None) -> Features:
    """Measure the circumstances of the findings, in one pass over the history."""
    window = window or Window()
    watcher, losses = LeakTracker(start=window.start), Losses(start=window.start)
    for operation in operations:
        if window.end is not None and operation.index >= window.end:
            break
        watcher.feed(operation)
        losses.feed(operation)
    sightings = watcher.sightings
    labels = tuple(seen for seen in sightings if seen.name == "user_id" and watcher.mixed(seen))
    data = [seen for seen in sightings if seen.name != "user_id" or not watcher.mixed(seen)]
    mixed = tuple(filter(watcher.mixed, data))
    # What comes without naming anybody's id as well did not come because one was named.
    ways = watcher.ways
    free = tuple(
        seen
        for seen in data
        if not seen.attempted
        or ((seen.pushed or seen.inferred or seen.surface != "websocket") and (seen.recipient, seen.action) in ways)
    )
    owners = {seen.owner for seen in (*data, *labels)}
    first = min(watcher.arrival, key=lambda user: watcher.arrival[user], default="")
    pairs = {frozenset((seen.owner, seen.recipient)) for seen in sightings}
    lost_by = {user for found in findings if found.kind in _LOSSES for user in (*found.victims, *found.recipients)}
    return Features(
        sightings=free,
        claimed=tuple(seen for seen in data if seen not in free),
        mixed=mixed,
        repeated=bool(mixed) and all(map(watcher.repeated, (seen for seen in mixed if seen.name == "canary"))),
        labels=labels,
        observers=frozenset(watcher.observers),
        everybody=_everybody(free, watcher.observers),
        crowded=any(len(watcher.crowded[seen.index]) > 1 for seen in sightings),
        accumulated=_accumulated(watcher, sightings),
        equal_ids=bool(sightings) and all(map(watcher.equal_ids, sightings)),
        equal_prompts=bool(sightings) and all(map(watcher.equal_prompts, sightings)),
        similar_prompts=_similar(watcher, mixed),
        crafted=bool(pairs) and pairs <= _crafted(watcher),
        inherited=bool(pairs) and all(_one_mailbox(watcher, pair) for pair in pairs),
        misplaced=watcher.misplaced,
        collided=watcher.collided,
        echo=bool(sightings) and all(seen.index < window.start for seen in sightings),
        one_owner=len(owners) == 1,
        first_owner=owners == {first},
        kinds=frozenset((found.checker, found.kind) for found in findings),
        said=tuple(
            " ".join(
                (f"{found.checker} {found.kind}: {found.summary}", *(place.operation for place in found.operations))
            )
            for found in findings
        ),
        lost_by=frozenset(lost_by),
        loss_rate=losses.silent / losses.asked if losses.asked else 0.0,
        rivalled=0 < losses.silent == losses.rivalled,
        crossed=0 < losses.silent == losses.crossed < losses.asked,
        backends=len(losses.backends),
        outlived=0 < losses.silent == losses.outlived,
        others_died=losses.others_died if losses.silent else losses.harmed_others(lost_by),
        own_died=0 < losses.silent == losses.orphaned,
        slowed=frozenset(losses.slowed),
    )


def _everybody(sightings: Sequence[Sighting], observers: set[str]) -> bool:
    """Most secrets that at least two others could have seen were seen by all of them."""
    reached: dict[tuple[str, str], set[str]] = defaultdict(set)
    could: dict[tuple[str, str], int] = defaultdict(int)
    for seen in sightings:
        secret = (seen.owner, seen.secret)
        reached[secret].add(seen.recipient)
        others = seen.reachable if seen.surface == "websocket" else len(observers - {seen.owner})
        could[secret] = max(could[secret], others)
    telling = [secret for secret in reached if could[secret] > 1]
    full = sum(len(reached[secret]) >= could[secret] for secret in telling)
    return bool(telling) and full >= TO_EVERYBODY * len(telling)


def _similar(watcher: LeakTracker, mixed: Sequence[Sighting]) -> bool:
    """All that came into others' runs came for equal or similar prompts, and some of it for no equal one."""
    others = [seen for seen in mixed if not watcher.equal_prompts(seen)]
    return bool(others) and all(map(watcher.similar_prompts, others))


def _accumulated(watcher: LeakTracker, sightings: Sequence[Sighting]) -> bool:
    """Every user sees those who came before, and nobody those who came after."""
    order = watcher.arrival
    pairs = {(seen.owner, seen.recipient) for seen in sightings}
    later = all(order.get(owner, 0) < order.get(recipient, 1) for owner, recipient in pairs)
    return later and any(len(watcher.crowded[seen.index]) > 1 for seen in sightings)


def _one_mailbox(watcher: LeakTracker, people: frozenset[str]) -> bool:
    boxes = {watcher.mailboxes.get(user, user) for user in people}
    return len(people) > 1 and len(boxes) == 1


def _crafted(watcher: LeakTracker) -> set[frozenset[str]]:
    names = [*watcher.roster.user_id_of.items(), *watcher.mailboxes.items()]
    return {
        frozenset((one, other))
        for one, short in names
        for other, long in names
        if one != other and short != long and long.startswith(short)
    }
