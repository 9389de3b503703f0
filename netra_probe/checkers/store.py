"""In the stores, the owner column, the key and the content agree on whose a thing is."""

from __future__ import annotations

from collections import deque
from typing import Any

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import told
from netra_probe.checkers.principals import OBJECT_IDS, PrincipalIndex, listed, witness
from netra_probe.checkers.runs.questions import KEPT_IDS
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.canary import PREFIX, Canary, CanarySearch
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.untrusted import decoded

_STORE_ACTIONS = frozenset((actions.ROW, actions.KEY))
#: Columns that name an object other than the row itself.
_REFERENCES = tuple(name for name in OBJECT_IDS if name != "id")


class StoreChecker(Checker):
    """A row or cache key of one user holds no secret and no object of another, and everything has one owner.

    Looks at the observations ``row`` (``detail``: table, key, owner) and ``key`` (``detail``: key, owners).

    >>> token = "CANARYABCDEFGHIJKLMNOP"
    >>> StoreChecker()([
    ...     Operation(index=0, time=0, type="ok", action="mint", user="alice",
    ...               detail={"token": token, "field": "prompt"}),
    ...     Operation(index=1, time=1, type="ok", action="row", surface="database", payload=f'{{"content": "{token}"}}',
    ...               detail={"table": "messages", "key": "m1", "owner": "bob"}),
    ... ]).findings[0].summary
    'messages: a row of bob holds the prompt of alice (1 row)'
    """

    id = "C12"
    guarantee = "Every stored row and cached value belongs, by column, key and content, to one and the same user."
    source = "OWASP ASVS 5.0 8.2.2 and 8.4.1; OWASP WSTG-ATHZ-04; CWE-639; the ChatGPT incident of 20 March 2023"
    complexity = "time O(bytes of rows and values), memory O(canaries + objects + rows)"
    inconclusive_when = "no row and no key was read, or none of them held a canary of its owner"

    def begin(self, window: Window) -> CheckerRun:
        return _StorePass(window.start)


class _StorePass(CheckerRun):
    def __init__(self, start: int) -> None:
        self._start = start
        self._roster = PrincipalIndex()
        self._search = CanarySearch()
        self._runs: deque[str] = deque()
        self._minted: dict[str, int] = {}
        #: (user, token): secrets of others that the user put into a request and may therefore have stored.
        self._quoted: set[tuple[str, str]] = set()
        #: (table, key) → (owner, index) at the last reading.
        self._owners: dict[tuple[str, str], tuple[str | None, int]] = {}
        self._groups: dict[tuple[str, ...], list[Any]] = {}
        self._counts = {"rows": 0, "keys": 0, "own canaries stored": 0, "canaries under keys that name nobody": 0}

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action in (actions.PRINCIPAL, actions.MINT, actions.OWN)
        # What an ``ask`` says is in the frame that sends it; its end names the run that became the user's.
        return action in _STORE_ACTIONS or (type == "invoke") != (action == actions.ASK)

    def feed(self, operation: Operation) -> None:
        if operation.action in _STORE_ACTIONS:
            if operation.index >= self._start:
                self._look(operation)
        elif self._roster.learn(operation):
            if operation.action == actions.MINT and operation.user is not None:
                self._mint(operation, operation.user)
        elif operation.type == "invoke":
            self._remember(operation)
        elif operation.type == "ok" and operation.user is not None and "run_id" in operation.ids:
            self._ran(operation.ids["run_id"], operation.user)

    def _ran(self, run: str, user: str) -> None:
        """A run is its user's; of a soak test of days only the latest are remembered."""
        objects = self._roster.objects
        if run not in objects:
            objects[run] = ("run", user)
            self._runs.append(run)
            if len(self._runs) > KEPT_IDS:
                objects.pop(self._runs.popleft(), None)

    def _mint(self, operation: Operation, user: str) -> None:
        token, detail = str(operation.detail.get("token", "")), operation.detail
        if token.startswith(PREFIX) and not detail.get("control"):
            self._minted[token] = operation.index
            self._search.add(
                Canary(
                    token=token, user=user, field=str(detail.get("field", "")), surface=str(detail.get("surface", ""))
                )
            )

    def _remember(self, operation: Operation) -> None:
        """What a user sends of somebody else's is stored as that user's own, and rightly so."""
        if operation.user is None or not operation.payload:
            return
        for sighting in self._search.find(operation.payload):
            if sighting.canary is not None and sighting.canary.user != operation.user:
                self._quoted.add((operation.user, sighting.canary.token))

    def _look(self, operation: Operation) -> None:
        detail = operation.detail
        if operation.action == actions.ROW:
            self._counts["rows"] += 1
            table, key = _bare(str(detail.get("table", "a table"))), str(detail.get("key", ""))
            owner = detail.get("owner")
            owner = owner if isinstance(owner, str) else None
            self._same_owner_as_before(operation, table, key, owner)
            self._references(operation, table, key, owner)
            self._content(operation, table, "row", owner)
        else:
            self._counts["keys"] += 1
            key = str(detail.get("key", ""))
            named = detail.get("owners")
            owners = self._named(key, [str(name) for name in named] if isinstance(named, list | tuple) else [])
            if len(owners) > 1:
                self._group(("key of two users", _shape(key, self._roster), *owners), operation)
            owner = owners[0] if owners else self._owner_by_object(key)
            self._content(operation, _shape(key, self._roster), "key", owner)

    def _same_owner_as_before(self, operation: Operation, table: str, key: str, owner: str | None) -> None:
        before = self._owners.get((table, key))
        if key and before is not None and before[0] is not None and owner is not None and before[0] != owner:
            self._group(("owner changed", table, before[0], owner), operation, before[1])
        if key:
            self._owners[(table, key)] = (owner, operation.index)

    def _references(self, operation: Operation, table: str, key: str, owner: str | None) -> None:
        """A row, its thread, its run and its message are of one owner."""
        row = decoded(operation.payload)
        if owner is None or not isinstance(row, dict):
            return
        kind = table.rpartition(".")[2].removesuffix("s")
        for of, identifier in ((kind, key), *((name.removesuffix("_id"), str(row.get(name))) for name in _REFERENCES)):
            known = self._roster.objects.get(identifier)
            if known is not None and known[0] == of and known[1] != owner:
                self._group(("owner mismatch", table, known[1], owner, known[0]), operation)
        person = self._roster.alias_of.get(str(row.get("user_id")))
        if person is not None and person != owner:
            self._group(("owner mismatch", table, person, owner, "account"), operation)

    def _content(self, operation: Operation, place: str, noun: str, owner: str | None) -> None:
        for sighting in self._search.find(operation.payload):
            canary = sighting.canary
            if canary is None or not sighting.whole:
                continue
            if owner == canary.user:
                self._counts["own canaries stored"] += 1
            elif owner is None and noun == "key":
                # Queues between services name nobody and hold everybody's; whether that leaks is seen by the readers.
                self._counts["canaries under keys that name nobody"] += 1
            elif owner is None:
                self._group(("orphan row", place, canary.user, canary.field), operation, self._minted[canary.token])
            elif (owner, canary.token) not in self._quoted:
                where = (f"foreign canary in a {noun}", place, canary.user, owner, canary.field)
                self._group(where, operation, self._minted[canary.token])

    def _named(self, key: str, owners: list[str]) -> list[str]:
        """The users that a key really names: an id that only stands there as a part of a longer one does not count."""
        if len(owners) < 2:
            return owners
        rest, really = key, []
        for owner in sorted(owners, key=lambda name: -len(self._roster.user_id_of.get(name, ""))):
            user_id = self._roster.user_id_of.get(owner)
            if user_id is None or user_id in rest:
                really.append(owner)
            if user_id:
                rest = rest.replace(user_id, "\0")
        return sorted(really)

    def _owner_by_object(self, key: str) -> str | None:
        """``thread:{id}:messages`` names a user through the thread."""
        for part in key.replace("/", ":").replace("|", ":").split(":"):
            known = self._roster.objects.get(part)
            if known is not None:
                return known[1]
        return None

    def _group(self, place: tuple[str, ...], operation: Operation, earlier: int | None = None) -> None:
        known = self._groups.setdefault(place, [0, operation.index, earlier, operation.surface])
        known[0] += 1

    def finish(self) -> Judgement:
        counts = self._counts
        doubts = []
        if not counts["rows"] and not counts["keys"]:
            doubts.append("no row and no cache key was read")
        elif not counts["own canaries stored"]:
            doubts.append("no row and no key held a canary of its own user: nothing shows that the search reaches them")
        return Judgement(
            checker=StoreChecker.id,
            findings=tuple(_finding(place, *group) for place, group in sorted(self._groups.items())),
            doubts=tuple(doubts),
            evidence=dict(counts),
        )


def _bare(table: str) -> str:
    """``"public"."threads"`` as a person says it: ``public.threads``."""
    return table.replace('"', "")


def _shape(key: str, roster: PrincipalIndex) -> str:
    """A key with its ids replaced by what they are: the same for every user and run."""
    parts = []
    for part in key.split(":"):
        alias = roster.alias_of.get(part)
        known = roster.objects.get(part)
        parts.append("{user}" if alias else f"{{{known[0]}}}" if known else part)
    shape = ":".join(parts)
    for user_id in sorted(roster.alias_of, key=len, reverse=True):
        shape = shape.replace(user_id, "{user}") if len(user_id) > 3 else shape
    return shape


_STORIES = {
    "key of two users": "a key names {owner}",
    "owner changed": "a row of {owner} became {recipient}'s",
    "owner mismatch": "a row of {recipient} refers to what is {owner}'s",
    "orphan row": "a row that belongs to nobody holds {owner}'s data",
    "foreign canary in a row": "a row of {recipient} holds {owner}'s data",
    "foreign canary in a key": "a key of {recipient} holds {owner}'s data",
}


def _finding(place: tuple[str, ...], count: int, index: int, earlier: int | None, surface: str) -> Finding:
    kind, where, *people = place
    victims: tuple[str, ...] = (people[0],)
    recipients: tuple[str, ...] = (people[1],) if len(people) > 1 else ()
    noun, what = ("key" if " key" in kind or kind.startswith("key") else "row"), ""
    if kind == "key of two users":
        victims = recipients = tuple(people)
        why = f"{where} names {listed(people)}, and what it holds belongs to one user: a contradiction"
    elif kind == "owner changed":
        why = f"the owner column said {people[0]} and then {people[1]}, though rows are not given away: a contradiction"
    elif kind == "owner mismatch":
        what = people[2]
        why = f"the owner column says {people[1]}, the {what} it refers to is {people[0]}'s: a contradiction"
    elif kind == "orphan row":
        recipients, what = (), people[1]
        why = f"the content is {people[0]}'s, and no owner column protects it: a contradiction"
    else:
        what = people[2]
        why = f"only {people[0]} knew that secret, and {people[1]} never sent it: a contradiction"
    pair = Pair(owner=people[0], recipient=recipients[-1] if recipients else "", count=count, example=index)
    return told(
        Finding(
            checker=StoreChecker.id,
            kind=kind,
            summary=kind,
            story=_STORIES[kind],
            unit=noun,
            victims=tuple(sorted(victims)),
            recipients=tuple(sorted(recipients)),
            surface=surface,
            operations=(Place(operation=f"{where} ({what})" if what else where, pairs=(pair,)),),
            witness=witness(index, earlier),
            explanation=f"Let s be the {noun} at #{index}; {why}.",
        )
    )
