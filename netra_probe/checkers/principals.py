"""Who is who, and whose is what: the context that several checkers build up while a history streams by."""

from __future__ import annotations

from netra_probe.history import actions
from netra_probe.history.operation import Operation

#: Ids that name an object somebody owns; a ``user_id`` names a person, a ``connection_id`` a socket.
OBJECT_IDS = ("thread_id", "run_id", "message_id", "id")
_ROSTER_ACTIONS = frozenset((actions.PRINCIPAL, actions.MINT, actions.OWN))
#: A welcome may tell the beginning of a user id only (netra-wire §4); a shorter one says nothing.
SHORTEST_BEGINNING = 8


class PrincipalIndex:
    """Accounts, canaries and objects as the history introduces them.

    Space is one entry per account, canary and object, whatever the number of frames.
    """

    def __init__(self) -> None:
        self.alias_of: dict[str, str] = {}
        self.user_id_of: dict[str, str] = {}
        #: canary token → (owner, field); control canaries are kept apart.
        self.canaries: dict[str, tuple[str, str]] = {}
        self.controls: set[str] = set()
        #: object id → (kind, owner).
        self.objects: dict[str, tuple[str, str]] = {}

    def learn(self, operation: Operation) -> bool:
        """Take in one operation; whether it was one that introduces somebody or something."""
        if operation.action not in _ROSTER_ACTIONS:
            return False
        user, detail = operation.user, operation.detail
        if user is None:
            return True
        if operation.action == actions.PRINCIPAL:
            user_id = operation.ids.get("user_id")
            if user_id:
                self.alias_of[user_id] = user
                self.user_id_of[user] = user_id
        elif operation.action == actions.MINT:
            token = str(detail.get("token", ""))
            if detail.get("control"):
                self.controls.add(token)
            else:
                self.canaries[token] = (user, str(detail.get("field", "")))
        else:
            identifier = detail.get("id")
            if identifier is None:
                identifier = next((operation.ids[name] for name in OBJECT_IDS if name in operation.ids), None)
            if identifier is not None:
                self.objects[str(identifier)] = (str(detail.get("kind", "object")), user)
        return True

    def who(self, user_id: str | None, *, likely: str = "") -> str | None:
        """The alias of an account, also by the beginning of its id; whoever is not of this history is a stranger.

        ``likely`` is who it should be: that one, where several ids begin so.
        """
        if not user_id:
            return None
        known = self.alias_of.get(user_id)
        said = user_id.rstrip(".…*")
        if known is not None or len(said) < SHORTEST_BEGINNING:
            return known or "a stranger"
        alike = [alias for id, alias in self.alias_of.items() if id.startswith(said)]
        return likely if likely in alike else alike[0] if alike else "a stranger"


def listed(names: list[str] | tuple[str, ...] | set[str]) -> str:
    """Names as a person lists them.

    >>> listed(["alice", "bob", "carol"])
    'alice, bob and carol'
    """
    ordered = sorted(names) if isinstance(names, set) else list(names)
    if len(ordered) < 2:
        return "".join(ordered)
    return f"{', '.join(ordered[:-1])} and {ordered[-1]}"


def times(count: int, noun: str) -> str:
    """A count with its noun.

    >>> times(1, "attempt"), times(3, "attempt")
    ('1 attempt', '3 attempts')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def witness(*indices: int | None) -> tuple[int, ...]:
    """At most six distinct operation indices, in order of the history; those that come first in the call are kept."""
    kept: list[int] = []
    for index in indices:
        if index is not None and index not in kept:
            kept.append(index)
    return tuple(sorted(kept[:6]))
