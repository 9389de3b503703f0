"""Database URLs: their parts, whatever characters a password has, and what is wrong with them in words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg")
DEFAULT_PORT = 5432
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]/?#\s]*)(?::(?P<port>\d*))?")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class DatabaseUrlProblem(ValueError):
    """What is wrong with a database URL, to go on behind its name; never a part of it."""


@dataclass(frozen=True, kw_only=True)
class DatabaseUrl:
    """One database as one role sees it.

    >>> DatabaseUrl.parse("postgresql://ann:p%40ss@db/netra")
    DatabaseUrl(scheme='postgresql', user='ann', host='db', port=5432, database='netra', options='')
    """

    scheme: str = "postgresql"
    user: str
    password: str = field(repr=False)
    host: str
    port: int = DEFAULT_PORT
    database: str
    options: str = ""

    @classmethod
    def parse(cls, text: str) -> DatabaseUrl:
        """The parts of a URL; DatabaseUrlProblem where one is missing or cannot be meant.

        The password may hold what it should not: it reaches from the first colon to the last ``@``.
        """
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in SCHEMES:
            raise DatabaseUrlProblem(f"must begin with {SCHEMES[0]}://")
        credentials, at, place = rest.rpartition("@")
        user, colon, password = credentials.partition(":")
        if not at or not user or not colon:
            raise DatabaseUrlProblem("must have a user and a password")
        place, _, options = place.partition("?")
        authority, _, database = place.partition("/")
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            raise DatabaseUrlProblem("must have one host, and a port that is a number")
        if not found["host"]:
            raise DatabaseUrlProblem("has no host")
        if not database:
            raise DatabaseUrlProblem("has no name of a database")
        port = int(found["port"] or DEFAULT_PORT)
        if not 0 < port < 65536:
            raise DatabaseUrlProblem("must have a port from 1 to 65535")
        return cls(
            scheme=scheme,
            user=_decoded(user),
            password=_decoded(password),
            host=found["host"].strip("[]"),
            port=port,
            database=_decoded(database),
            options=options,
        )

    def text(self) -> str:
        """The URL, with every character quoted that needs it. It holds the password."""
        return self._with(quote(self.password, safe=""))

    def __str__(self) -> str:
        return self._with("***")

    def _with(self, password: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        place = f"{host}:{self.port}/{quote(self.database, safe='')}" + (f"?{self.options}" if self.options else "")
        return f"{self.scheme}://{quote(self.user, safe='')}:{password}@{place}"


def _decoded(text: str) -> str:
    """A part without its escapes; one that holds a percent sign which escapes nothing was never escaped."""
    return text if _ESCAPE.search(text) else unquote(text)
