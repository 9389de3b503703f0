"""What a run has made on its target, noted before it is requested, and distinguished from what was there already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netra_probe.clients.account_ledger import Belonging, Journal
from netra_probe.clients.effects import Effect
from netra_probe.openapi.arguments import missing
from netra_probe.openapi.document import Route
from netra_probe.openapi.objects import TELLING, Things, collection_of, listed, singular

#: Fields that hold ids.
_IDS = ("id", "_id", "uuid", "key", "name", "slug")
#: What makes something: by its effect, or because the target's owner said so.
MAKING = frozenset({Effect.MAKES, Effect.CHAT, Effect.UNKNOWN, Effect.ACCOUNT})


class Belongings:
    """Everything that the users of one run have made, and the ids of what was there before.

    Arguments:
        journal: where each is noted before it is asked for; without one it is kept in memory only.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal = journal
        self.emails: dict[str, str] = {}
        #: Whose objects have been looked at before anything was created.
        self.looked: set[str] = set()
        self._things = Things()
        #: What the run has made, by its id.
        self.known: dict[str, Belonging] = {}
        self.all: list[Belonging] = []
        self._seen: set[str] = set()
        #: Ids of the accounts that take part.
        self._people: set[str] = set()

    def know(self, name: str, *, email: str, id: str) -> None:
        """One of the users: an id of theirs is no thing."""
        self.emails[name] = email
        if id:
            self._people.add(id)
            self._things.user_ids[name] = id

    @property
    def left(self) -> list[Belonging]:
        """What was made, or may have been, and is not known to be gone; the last first."""
        return [one for one in reversed(self.all) if not one.gone and one.answered is not False]

    def note(self, method: str, route: str, *, surface: str, owner: str, within: Mapping[str, str]) -> Belonging:
        """Write down that something is about to be made."""
        one = Belonging(
            number=len(self.all),
            kind=singular(collection_of(route)),
            method=method,
            route=route,
            surface=surface,
            owner=owner,
            email=self.emails.get(owner, ""),
            within=dict(within),
        )
        self.all.append(one)
        if self.journal is not None:
            self.journal.note(one)
        return one

    def recall(self, note: Mapping[str, Any]) -> Belonging:
        """What a journal of an earlier run says was made: it may be removed as if this one had made it."""
        names = ("number", "kind", "method", "route", "surface", "owner", "email")
        one = Belonging(**{name: note[name] for name in names}, id=note.get("id", ""), within=note.get("within", {}))
        one.answered = True
        self.known[one.id] = one
        return one

    def made(self, one: Belonging, body: Any) -> None:
        """It was answered: what it is called is in the answer, unless that names something that was there before."""
        one.answered = True
        route = Route(service="backend", method="POST", path=collection_of(one.route))
        found = self._things.learn(route, one.owner, body, one.within)
        thing = next((thing for thing in found if thing.kind == one.kind), None)
        if thing is None or thing.id in self._seen:
            # Nothing that has a name was made, or what there was already was given back.
            self.settle(one)
            return
        one.id = thing.id
        self.known[thing.id] = one
        if self.journal is not None:
            self.journal.named(one)

    def refused(self, one: Belonging) -> None:
        """It was surely not made."""
        one.answered = False
        self.settle(one)

    def settle(self, one: Belonging) -> None:
        """It is gone, or never was."""
        one.gone = True
        if self.journal is not None and one in self.all:
            self.journal.gone(one)

    def saw(self, body: Any) -> None:
        """Ids in an answer to reading: whatever of it the run has not made was there before."""
        for item in listed(body) or ([body] if isinstance(body, dict) else []):
            for _, id in _ids(item):
                if id not in self.known and id not in self._people:
                    self._seen.add(id)

    def of_others(self, path: Mapping[str, str], body: Any) -> str:
        """What a writing request names that this run has not made; "" where there is nothing such.

        Ids in the path have to be those of the run's own things, or of nothing; in the body, known foreign ones stand
        out.
        """
        for name, id in path.items():
            if id not in self.known and id not in self._people and not self._is_nobodys(id):
                return f"the {name.removesuffix('_id').replace('_', ' ')} that it names"
        for name, id in _ids(body):
            if name not in ("name", "slug", "key") and id in self._seen and len(id) >= TELLING:
                return f"the {name.removesuffix('_id')} in its body"
        return ""

    def _is_nobodys(self, id: str) -> bool:
        """Whether it was made up to be nobody's."""
        return id not in self._seen and any(missing(known) == id for known in self.known)


def _ids(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > 4:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str | int) and not isinstance(inner, bool):
                if name in _IDS or name.endswith(("_id", "Id", "_uuid")):
                    yield str(name), str(inner)
            else:
                yield from _ids(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value[:1000]:
            yield from _ids(inner, depth + 1)
