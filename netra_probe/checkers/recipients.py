"""Who a response is for: nearly always the user who asked, unless the act was done in somebody else's name."""

from __future__ import annotations

from netra_probe.history.operation import Operation

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
