"""Who a response is for, nearly always the user who asked; and what may be in it because it was shared."""

from __future__ import annotations

import re

from netra_probe.checkers.json_bodies import values
from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import address

#: The recipient of what is answered to nobody in particular.
ANONYMOUS = "anonymous"


class Recipients:
    """Remembers the acts that were meant to succeed as another user (positive controls with that user's token)."""

    def __init__(self) -> None:
        self._users: set[str] = set()
        self._acting: dict[int, str] = {}

    def principal(self, operation: Operation) -> None:
        """Take in a ``principal``: only a user of the history can be acted for."""
        if operation.user:
            self._users.add(operation.user)

    def sent(self, operation: Operation) -> None:
        """Take in an ``invoke``."""
        if operation.detail:
            expected = operation.detail.get("expect")
            if isinstance(expected, str) and expected in self._users:
                self._acting[operation.index] = expected

    def of(self, operation: Operation) -> str:
        """Whose eyes see the payload of this observation or completion."""
        if self._acting and operation.call is not None:
            expected = self._acting.pop(operation.call, None)
            if expected is not None:
                return expected
        return operation.user or ANONYMOUS


#: Routes that make a link or an invitation.
_LINKS = re.compile(r"/(?:shar(?:e|es|ed|ing)|share[-_]?links?|public[-_]?links?|publish|invit(?:e|es|ations?))(?=/|$)")
#: Fields that make an object public.
_PUBLIC = re.compile(
    r'"(?:is_?)?(?:public|shared|published)"\s*:\s*true'
    r'|"(?:visibility|access|sharing|privacy)"\s*:\s*"(?:public|anyone|everyone|link|unlisted)"',
    re.IGNORECASE,
)
_WRITES = ("POST ", "PUT ", "PATCH ")
#: Names of what a link consists of.
_NAMES = re.compile(r"(?:id|token|slug|code|key|url|link|path|href)$", re.IGNORECASE)
_SHORTEST = 6


class Shares:
    """Follows requests; memory is one entry per link that was made."""

    def __init__(self) -> None:
        self._making: dict[int, Operation] = {}
        self._links: set[str] = set()

    def feed(self, operation: Operation) -> None:
        """Take in a request, or its completion."""
        if operation.type == "invoke":
            if (
                operation.user is not None
                and operation.action.startswith(_WRITES)
                and "attempt" not in operation.detail
            ):
                made = _LINKS.search(operation.action) or ("ublic" in operation.payload or "shar" in operation.payload)
                if made:
                    self._making[operation.index] = operation
        elif self._making and operation.call is not None:
            call = self._making.pop(operation.call, None)
            if call is not None and operation.type == "ok":
                self._made(call, operation)

    def _made(self, call: Operation, done: Operation) -> None:
        path = set(str(call.detail.get("path", "")).split("/")) - set(call.action.split("/"))
        found: set[str] = set()
        for name, value in values(done.payload):
            if _NAMES.search(name):
                parts = address(value)
                found.update((value, *parts.path.split("/"), *parts.query.split("=")))
        if _PUBLIC.search(call.payload):
            self._links |= {id for id in found | path if len(id) >= _SHORTEST}
        elif _LINKS.search(call.action):
            # The object itself is still nobody else's: only what the link added may be read with it.
            self._links |= {id for id in found - path if len(id) >= _SHORTEST and id not in call.payload}

    def opens(self, call: Operation) -> bool:
        """Whether a request reads something by a link, an object that was made public, or where all is (``public``)."""
        if call.detail.get("public"):
            return True
        if not self._links or not call.action.startswith(("GET ", "HEAD ")):
            return False
        named = str(call.detail.get("path", "")).split("/")
        query = call.detail.get("query")
        if isinstance(query, dict):
            named += map(str, query.values())
        return not self._links.isdisjoint(named)
