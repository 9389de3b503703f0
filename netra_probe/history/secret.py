"""Secrets that cannot be printed by accident."""

from __future__ import annotations


class Secret:
    """A value that must never be shown: a token, a password, a connection string.

    >>> Secret("hunter2")
    Secret(…)
    >>> Secret("hunter2").reveal()
    'hunter2'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; call it only where it is put on the wire."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError(
            "a Secret is not pickled: it would end up in a file; hand over its reference (env:NAME) instead"
        )
