"""Who an answer is about: the accounts of an investigation and what is known to be theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from netra_probe.history import actions
from netra_probe.history.operation import Operation

#: The answer is a yes that names nobody.
UNNAMED = "somebody"
#: Welcomes may show the beginning of a user id only (netra-wire §4).
SHORTEST_BEGINNING = 8
_PLACES = ("user", "data", "profile", "account", "result")
_NAMES = ("user_id", "userId", "sub", "uid", "id")
_VERDICTS = ("valid", "success", "authenticated", "is_valid", "active")


class People:
    """User ids, and the ids of what the users made, as the history knows them by now."""

    def __init__(self, history: Iterable[Operation]) -> None:
        self._ids: dict[str, str] = {}
        self._things: dict[str, str] = {}
        accounts: dict[str, str] = {}
        for operation in history:
            user = operation.user or ""
            if operation.action == actions.PRINCIPAL:
                accounts[user] = self._ids[operation.ids["user_id"]] = operation.ids["user_id"]
            elif operation.action == actions.OWN and user in accounts:
                self._things |= dict.fromkeys(operation.ids.values(), accounts[user])

    def whole(self, user_id: str) -> str:
        """The account that an id names, also from its first characters only; an unknown id stays what it is."""
        said = user_id.rstrip(".…*")
        if said in self._ids or len(said) < SHORTEST_BEGINNING:
            return said
        matching = [known for known in self._ids if known.startswith(said)]
        return matching[0] if len(matching) == 1 else said

    def in_answer(self, body: Any) -> str:
        """The user id that an answer is about; "" when it says no, ``UNNAMED`` when it says yes to nobody known."""
        if isinstance(body, dict):
            if any(body.get(name) is False for name in _VERDICTS):
                return ""
            for place in (body, *(body[name] for name in _PLACES if isinstance(body.get(name), dict))):
                said = next((place[name] for name in _NAMES if isinstance(place.get(name), str) and place[name]), None)
                if said is not None:
                    return self._things.get(said) or self.whole(said)
        try:
            text = msgspec.json.encode(body).decode()
        except (TypeError, UnicodeError, RecursionError):
            return UNNAMED
        known = {**self._things, **self._ids}
        return next((owner for id, owner in known.items() if id in text), UNNAMED)
