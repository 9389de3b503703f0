"""Who the tests of the lab meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

PASSWORD = "correct horse battery"


@dataclass(frozen=True, kw_only=True)
class Person:
    """A registered user and their first tokens."""

    id: str
    email: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    password: str = field(default=PASSWORD, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates their requests."""
        return {"Authorization": f"Bearer {self.access_token}"}


Register = Callable[..., Awaitable[Person]]
