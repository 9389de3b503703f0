"""Who a response is for: nearly always the user who asked, unless the act was done in somebody else's name."""

from __future__ import annotations

from netra_probe.history.operation import Operation

#: The recipient of what is answered to nobody in particular.
ANONYMOUS = "anonymous"


class Recipients:
    """Remembers the acts that were meant to succeed as another user (positive controls with that user's token)."""

    def __init__(self) -> None:
        self._acting: dict[int, str] = {}

    def sent(self, operation: Operation) -> None:
        """Take in an ``invoke``."""
        if operation.detail:
            expected = operation.detail.get("expect")
            if isinstance(expected, str) and expected != "refused":
                self._acting[operation.index] = expected

    def of(self, operation: Operation) -> str:
        """Whose eyes see the payload of this observation or completion."""
        if self._acting and operation.call is not None:
            expected = self._acting.pop(operation.call, None)
            if expected is not None:
                return expected
        return operation.user or ANONYMOUS
