"""What users have made or been shown, learned from answers: whose each id is, and which path it fits into."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_probe.openapi.document import Route

#: Names under which an answer wraps what it is about.
_WRAPPERS = ("data", "result", "item", "object", "response")
#: Names in braces that mean a person.
_PERSONS = frozenset(("user_id", "userid", "uid", "owner_id", "ownerid", "account_id", "accountid"))
#: What the path of a making operation may end in, after the collection.
MAKING = frozenset(("new", "create", "add"))
#: An id this short may be a number that counts something else.
TELLING = 8


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object of a user's.

    Arguments:
        kind: what it is called in the singular: ``thread``.
        collection: the path that it was made or listed under, with braces.
        made: whether the probe made it; only then may it be destroyed.
        within: what had filled the braces of that path: the ids of its parents.
    """

    kind: str
    id: str
    owner: str
    collection: str
    made: bool
    within: Mapping[str, str] = field(default_factory=dict)

    @property
    def telling(self) -> bool:
        """Whether the id by itself says which object is meant: long, and not only digits."""
        return len(self.id) >= TELLING and not self.id.isdigit()

    @property
    def aim(self) -> dict[str, str]:
        """How the history names it."""
        return {"kind": self.kind, "id": self.id}


class Things:
    """All that is known of users' objects; what two users have made, or were shown, belongs to neither."""

    def __init__(self) -> None:
        self._by_collection: dict[tuple[str, str], list[Thing]] = defaultdict(list)
        #: (user, name such as ``thread_id``) → ids.
        self._by_name: dict[tuple[str, str], list[Thing]] = defaultdict(list)
        #: (made or listed, kind, id) → who made it, or was shown it.
        self._holders: dict[tuple[bool, str, str], set[str]] = defaultdict(set)
        self.user_ids: dict[str, str] = {}

    def learn(self, route: Route, user: str, body: Any, filled: Mapping[str, str]) -> list[Thing]:
        """Take in an answer to a user's own request; returns what was made by it."""
        collection = collection_of(route.path)
        made = []
        if route.method == "POST" or (route.method == "PUT" and not route.braces):
            made = list(self._made(collection, user, _unwrapped(body), filled))
        elif route.reads:
            for item in listed(body):
                thing = self._thing(collection, user, item, filled, made=False)
                if thing is not None:
                    self._keep(thing, self._by_collection[user, collection])
        return made

    def _made(self, collection: str, user: str, body: Any, filled: Mapping[str, str]) -> Iterator[Thing]:
        if not isinstance(body, dict):
            return
        thing = self._thing(collection, user, body, filled, made=True)
        if thing is not None and self._keep(thing, self._by_collection[user, collection]):
            yield thing
        for name, id in _named_ids(body):
            if id in filled.values() or id in self.user_ids.values() or name.lower() in _PERSONS:
                continue
            named = Thing(kind=_kind(name), id=id, owner=user, collection=collection, made=True)
            if self._keep(named, self._by_name[user, name]) and (thing is None or thing.id != id):
                yield named

    def _thing(self, collection: str, user: str, body: Any, filled: Mapping[str, str], *, made: bool) -> Thing | None:
        kind = singular(collection)
        id = next((_id(body.get(name)) for name in ("id", f"{kind}_id", f"{kind}Id", "_id", "uuid", "key")
                   if isinstance(body, dict) and _id(body.get(name))), "")  # fmt: skip
        if not id or id in filled.values() or id in self.user_ids.values():
            return None
        return Thing(kind=kind, id=id, owner=user, collection=collection, made=made, within=dict(filled))

    def _keep(self, thing: Thing, among: list[Thing]) -> bool:
        self._holders[thing.made, thing.kind, thing.id].add(thing.owner)
        if any(known.id == thing.id for known in among):
            return False
        among.append(thing)
        return True

    def forget(self, thing: Thing) -> None:
        """It was deleted."""
        for among in (*self._by_collection.values(), *self._by_name.values()):
            among[:] = [known for known in among if (known.kind, known.id) != (thing.kind, thing.id)]

    def is_private(self, thing: Thing) -> bool:
        """Whether it is its owner's alone: nobody else made it or, where nobody is known to have, was shown it."""
        return self._holders[thing.made, thing.kind, thing.id] <= {thing.owner}

    def of(self, user: str) -> Iterator[Thing]:
        """All objects of a user."""
        for places in (self._by_collection, self._by_name):
            for (holder, _), among in places.items():
                if holder == user:
                    yield from among

    def named(self, user: str, name: str) -> Thing | None:
        """A thing of the user's that fits a field or parameter called ``thread_id`` or ``threadId``."""
        lower = name.lower().replace("_", "")
        if lower in _PERSONS or name.lower() in _PERSONS:
            return self.person(user)
        for (holder, collection), things in self._by_collection.items():
            fits = lower in (f"{singular(collection)}id".replace("_", ""), f"{singular(collection)}uuid")
            if holder == user and things and fits:
                return min(things, key=lambda thing: not thing.made)
        for (holder, known), things in self._by_name.items():
            if holder == user and known.lower().replace("_", "") == lower and things:
                return things[0]
        return None

    @staticmethod
    def fits(thing: Thing, route: Route) -> bool:
        """Whether the one brace of a path takes the id of such a thing, by its name or by what stands before it."""
        if len(route.braces) != 1:
            return False
        (brace,) = route.braces
        return brace in (f"{thing.kind}_id", f"{thing.kind}Id") or singular(route.prefix(brace)) == thing.kind

    def filling(self, user: str, route: Route, brace: str, filled: Mapping[str, str], skip: int = 0) -> Thing | None:
        """A thing of the user's that fits a brace of a path, after the braces before it are filled."""
        prefix = route.prefix(brace)
        exact = [
            thing
            for thing in self._by_collection.get((user, prefix), ())
            if all(filled.get(name) == id for name, id in thing.within.items() if name in filled)
        ]
        exact.sort(key=lambda thing: not thing.made)
        if exact[skip:]:
            return exact[skip]
        if skip:
            return None
        last = prefix.rsplit("/", 1)[-1]
        if last in ("users", "user", "accounts") or brace.lower() in _PERSONS:
            return self.person(user)
        name = brace if brace.lower() not in ("id", "uuid", "key") else f"{singular(prefix)}_id"
        if (thing := self.named(user, name)) is not None:
            return thing
        return next(
            (
                things[0]
                for (holder, collection), things in self._by_collection.items()
                if holder == user and things and collection.rsplit("/", 1)[-1] == last
            ),
            None,
        )

    def person(self, user: str) -> Thing | None:
        """The user's own account."""
        id = self.user_ids.get(user)
        return Thing(kind="user", id=id, owner=user, collection="", made=False) if id else None


def collection_of(path: str) -> str:
    """The collection that an operation makes something in, without the verb that its path may end in.

    >>> collection_of("/api/chats/new"), collection_of("/api/folders/")
    ('/api/chats', '/api/folders')
    """
    head, _, last = path.rstrip("/").rpartition("/")
    return head if head and last.lower() in MAKING else path.rstrip("/")


def singular(path: str) -> str:
    """What one of a collection is called.

    >>> singular("/api/threads/{thread_id}/messages"), singular("/api/categories"), singular("/api/spend")
    ('message', 'category', 'spend')
    """
    words = [part for part in path.split("/") if part and not part.startswith("{")]
    word = words[-1].replace("-", "_") if words else "object"
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def listed(body: Any) -> list[Any]:
    """The items of an answer that lists things, whatever it wraps them in."""
    if isinstance(body, list):
        return body
    if isinstance(body, dict):
        for value in body.values():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return value
            if isinstance(value, dict) and (inner := listed(value)):
                return inner
    return []


def _unwrapped(body: Any) -> Any:
    for name in _WRAPPERS:
        if isinstance(body, dict) and isinstance(body.get(name), dict) and "id" not in body:
            return body[name]
    if isinstance(body, dict) and len(body) == 1 and isinstance(inner := next(iter(body.values())), dict):
        return inner
    return body


def _named_ids(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in body.items():
        if name.endswith(("_id", "Id", "_uuid")) and (id := _id(value)):
            yield name, id


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    return text if text and len(text) <= 200 and "/" not in text else ""


def _kind(name: str) -> str:
    return name.removesuffix("_id").removesuffix("_uuid").removesuffix("Id") or "object"
