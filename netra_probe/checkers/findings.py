"""Equal findings are one finding that lists every operation and every pair of owner and recipient, with counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from netra_probe.checkers.principals import listed, times
from netra_probe.checkers.severity import HYGIENE
from netra_probe.checkers.verdict import Finding, Pair, Place
from netra_probe.history import actions
from netra_probe.history.frames import Frame, read_frame
from netra_probe.history.operation import Operation

#: Operations that a text names; results.json holds all.
MOST_SHOWN = 10
#: Operations of one group that are kept apart; a hostile target could make up any number of names.
MOST_PLACES = 1_000
_OTHERS = "other operations"
#: Characters of an operation's name; what looks like an id or a secret in it is left out, so that names are the same in
#: every run.
LONGEST_NAME = 80
_IDS = re.compile(
    r"(?i:canary)[A-Z2-7]*|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{4,}|\b(?=\w*\d)(?:\w+_)?[0-9a-f]{8,}\b|\b\d{3,}\b",
)
_NOUNS = {
    "rest": "endpoints",
    "auth": "endpoints",
    "websocket": "types of frames",
    "database": "tables",
    "cache": "keys",
}
#: Kinds whose operations are something else than their surface says.
_NOUN_OF = {"forged credential accepted": "forgeries"}


class Spot(NamedTuple):
    """What shows a finding once: the operation's index, its name (``place_of``), and the secret that was seen in it."""

    at: int = -1
    place: str = ""
    secret: str = ""


NOWHERE = Spot()


#: Kinds that show another user's data, counted in frames and responses: what the leak matrix counts.
CROSSED = ("foreign canary", "control canary", "canary of another investigation")
#: Kinds that say through which operation one can get at another user's data.
ATTEMPTED = ("foreign write", "foreign write accepted", "refused write took effect", "foreign read")


def place_of(operation: Operation, frame: Frame | None = None) -> str:
    """What there is to mend: the route of a response, or the type of a frame with its tool.

    >>> place_of(Operation(index=0, time=0, type="ok", action="GET /api/threads/{thread_id}", surface="rest"))
    'GET /api/threads/{thread_id}'
    """
    if operation.action != actions.RECEIVE:
        return plain(operation.action)
    read = frame or read_frame(operation.payload, operation.ids)
    name = plain(read.name) or "a frame of unknown type"
    return f"{name} ({plain(read.tool)})" if read.tool else name


def plain(name: str) -> str:
    """A name without ids and secrets, which differ from run to run.

    >>> plain("GET /api/threads/6f9619ff-8b86-d011-b42d-00cf4fc964ff")
    'GET /api/threads/{id}'
    """
    named = _IDS.sub("{id}", name)
    return named if len(named) <= LONGEST_NAME else named[: LONGEST_NAME - 1] + "…"


@dataclass(slots=True)
class _Seen:
    """How often one operation gave it away, and where it was first seen."""

    first: int
    last: int
    count: int = 0


@dataclass(slots=True)
class Group:
    """The operations that show the first, and all places with their counts."""

    witness: tuple[int, ...]
    explanation: str
    notes: set[str] = field(default_factory=set)
    places: dict[str, _Seen] = field(default_factory=dict)
    secrets: dict[str, None] = field(default_factory=dict)

    def add(self, spot: Spot, count: int, note: str) -> None:
        index, place, secret = spot
        if place not in self.places and len(self.places) >= MOST_PLACES:
            place = _OTHERS
        seen = self.places.setdefault(place, _Seen(index, -1))
        # A frame with three secrets of one user is one frame.
        if index < 0 or index != seen.last:
            seen.count += count
            seen.last = index
        if note:
            self.notes.add(note)
        if secret:
            self.secrets[secret] = None


class FindingSet:
    """The findings of one checker; memory is one entry per kind, victim, recipient, surface and operation.

    >>> summaries = {"leak": "{recipient} received the secret of {victim} over {surface}"}
    >>> found = FindingSet("C1", summaries, unit="response")
    >>> for index in (5, 7):
    ...     spot = Spot(index, "GET /a")
    ...     if not found.count("leak", "alice", "bob", "rest", spot=spot):
    ...         found.add("leak", "alice", "bob", "rest", (3, 5), "Let …: a contradiction.", spot=spot)
    >>> [finding.summary for finding in found.findings()]
    ['bob received the secret of alice over rest through GET /a (2 responses)']
    """

    def __init__(self, checker: str, summaries: Mapping[str, str], *, unit: str = "time") -> None:
        self._checker = checker
        self._summaries = summaries
        self._unit = unit
        self._groups: dict[tuple[str, str, str, str], Group] = {}

    def count(
        self,
        kind: str,
        victim: str,
        recipient: str,
        surface: str,
        note: str = "",
        count: int = 1,
        spot: Spot = NOWHERE,
    ) -> bool:
        """Count one more of a known group; false where it is the first, which is then to be explained."""
        group = self._groups.get((kind, victim, recipient, surface))
        if group is None:
            return False
        group.add(spot, count, note)
        return True

    def add(
        self,
        kind: str,
        victim: str,
        recipient: str,
        surface: str,
        witness: tuple[int, ...],
        explanation: str,
        note: str = "",
        count: int = 1,
        spot: Spot = NOWHERE,
    ) -> None:
        """The first of a group; "" for a victim or a recipient says that there is none."""
        group = self._groups[kind, victim, recipient, surface] = Group(witness, explanation)
        group.add(spot, count, note)

    def findings(self) -> tuple[Finding, ...]:
        """All of them, sorted; where something was only seen in disguise, the summary says so."""
        return tuple(
            told(
                Finding(
                    checker=self._checker,
                    kind=kind,
                    summary=kind,
                    victims=(victim,) if victim else (),
                    recipients=(recipient,) if recipient else (),
                    surface=surface,
                    witness=group.witness,
                    explanation=group.explanation,
                    operations=tuple(
                        Place(
                            operation=place,
                            pairs=(
                                Pair(
                                    owner=victim,
                                    recipient=recipient,
                                    count=seen.count,
                                    example=seen.first if seen.first >= 0 else group.witness[-1],
                                ),
                            ),
                        )
                        for place, seen in sorted(group.places.items())
                    ),
                    secrets=tuple(group.secrets),
                    story=self._story(kind, surface),
                    unit=self._unit_of(surface),
                    notes=tuple(sorted(group.notes)),
                )
            )
            for (kind, victim, recipient, surface), group in sorted(self._groups.items(), key=lambda item: item[0])
        )

    def _story(self, kind: str, surface: str) -> str:
        """The sentence of the kind, or of all kinds without one of their own (kept under "")."""
        sentence = self._summaries[kind if kind in self._summaries else ""]
        what = kind.removeprefix("foreign ")
        return sentence.format(what=what, victim="{owner}", recipient="{recipient}", surface=surface)

    def _unit_of(self, surface: str) -> str:
        if self._unit == "delivery":
            return "frame" if surface == "websocket" else "response"
        return self._unit


def told(finding: Finding) -> Finding:
    """The finding with a summary made from its story: who, whose, through which operations, how often."""
    if not finding.story:
        return finding
    sentence = finding.story.replace("{owner}'s", _whose(finding.victims)).replace("{owner}", listed(finding.victims))
    sentence = sentence.replace("{recipient}", listed(finding.recipients))
    through = _through(finding, [place.operation for place in finding.operations if place.operation])
    counted = [times(finding.count, finding.unit)] if finding.count else []
    counted += [times(len(finding.secrets), "secret")] if finding.secrets else []
    counted += finding.notes
    return replace(finding, summary=f"{sentence}{through}" + (f" ({', '.join(counted)})" if counted else ""))


def _whose(names: Sequence[str]) -> str:
    return listed([f"{name}'s" for name in names]) or "somebody else's"


def _through(finding: Finding, names: Sequence[str]) -> str:
    """``through 2 endpoints: GET /a, GET /b``; beyond ten the number of the others, which results.json names."""
    if not names:
        return ""
    if finding.severity == HYGIENE:
        return f": {shown(names)}"
    way = "in" if finding.surface in ("database", "cache") else "through"
    if len(names) == 1:
        return f" {way} {names[0]}"
    noun = _NOUN_OF.get(finding.kind) or _NOUNS.get(finding.surface, "operations")
    return f" {way} {len(names)} {noun}: {shown(names)}"


def shown(names: Sequence[str], most: int = MOST_SHOWN) -> str:
    """Up to ten names; how many more there are, and where."""
    more = f", and {len(names) - most} more in results.json" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def listing(finding: Finding) -> tuple[Place, ...]:
    """The operations of a finding; where its checker named none, its kind, with whom it concerns."""
    named = tuple(place for place in finding.operations if place.operation)
    if named:
        return named
    example = finding.witness[-1]
    count = finding.count or 1
    pairs = tuple(
        Pair(owner=owner, recipient=recipient, count=count, example=example)
        for owner in finding.victims or ("",)
        for recipient in finding.recipients or ("",)
        if owner != recipient or len(finding.victims) == len(finding.recipients) == 1
    )
    return (Place(operation=finding.kind, pairs=pairs or (Pair(count=count, example=example),)),)


def headline(leaks: Sequence[Finding]) -> str:
    """What a red case says in one sentence or two: whose data reached whom and how often, then what else there is.

    Secrets that were seen lead, summed over all surfaces in the one unit that matrix and timeline count in, unless an
    attempt shows how to get them: then that is said first, with its operations.
    """
    tried = [finding for finding in leaks if finding.kind in ATTEMPTED]
    seen = [finding for finding in leaks if finding.kind in CROSSED]
    parts = [finding.summary for finding in tried[:1]]
    if seen:
        owners = tuple(sorted({name for finding in seen for name in finding.victims}, key=natural))
        others = tuple(sorted({name for finding in seen for name in finding.recipients}, key=natural))
        secrets = len({secret for finding in seen for secret in finding.secrets})
        count = sum(finding.count for finding in seen)
        parts.append(f"{_whose(owners)} data reached {listed(others)}: {deliveries(count)}, {times(secrets, 'secret')}")
    if not parts:
        parts = [leaks[0].summary]
    more = len(leaks) - len(seen) - min(1, len(tried)) if seen or tried else len(leaks) - 1
    if more:
        parts.append(f"and {times(more, 'more finding')}")
    return "; ".join(parts)


def deliveries(count: int) -> str:
    """The unit that everything is counted in: ``20 frames and responses``."""
    return "1 frame or response" if count == 1 else f"{count} frames and responses"


def told_by(finding: Finding) -> set[int]:
    """The operations that are shown of a finding: its witness, and an example of each pair."""
    return {*finding.witness, *(pair.example for place in listing(finding) for pair in place.pairs)}


def united(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding per checker, kind, surface and story: a broadcast among ten users is one defect and not ninety.

    What is united loses nothing: each operation is listed, and for each operation each pair of owner and recipient.
    Witness and explanation are those of the first.
    """
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        place = (finding.checker, finding.kind, finding.surface, finding.severity, finding.story)
        groups.setdefault(place, []).append(finding)
    return tuple(_one(group) for group in groups.values())


def _one(group: Sequence[Finding]) -> Finding:
    first = group[0]
    places: dict[str, dict[tuple[str, str], Pair]] = {}
    for finding in group:
        for place in listing(finding):
            pairs = places.setdefault(place.operation, {})
            for pair in place.pairs:
                known = pairs.get((pair.owner, pair.recipient))
                pairs[pair.owner, pair.recipient] = replace(known, count=known.count + pair.count) if known else pair
    merged = replace(
        first,
        victims=tuple(sorted({name for finding in group for name in finding.victims}, key=natural)),
        recipients=tuple(sorted({name for finding in group for name in finding.recipients}, key=natural)),
        operations=tuple(
            Place(operation=name, pairs=tuple(pairs[who] for who in sorted(pairs)))
            for name, pairs in sorted(places.items())
        ),
        secrets=tuple(dict.fromkeys(secret for finding in group for secret in finding.secrets)),
        notes=tuple(sorted({note for finding in group for note in finding.notes})),
    )
    if len(group) == 1:
        return merged
    if first.story:
        return told(merged)
    people = sorted({*merged.victims, *merged.recipients}, key=natural)
    story = f"{first.kind} ({listed(people)})" if people else first.kind
    return told(replace(merged, story=story))


def natural(name: str) -> tuple[str, int]:
    """Sorts ``user-9`` before ``user-27``."""
    stem, _, number = name.partition("-")
    return (stem, int(number)) if number.isdigit() else (name, 0)
