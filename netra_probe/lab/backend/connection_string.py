"""What is wrong with a connection string, said before anybody connects, and without a character of it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs

SCHEMES: Final = ("postgresql", "postgres")
TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
EXAMPLE: Final = "postgresql://user:password@host:5432/database"


class ConnectionStringProblem(ValueError):
    """A connection string cannot be used; the message says which part of it, and quotes none."""


def check_connection_string(url: str) -> str:
    """The string as it is, where it can be used.

    >>> check_connection_string("postgresql://reader:p%40ss@[::1]:5433,other/netra?sslmode=require")[:13]
    'postgresql://'
    >>> check_connection_string("postgresql://reader:p@ss@host/netra")
    Traceback (most recent call last):
    ...
    netra_probe.lab.backend.connection_string.ConnectionStringProblem: the connection string has characters in its \
user or password that mean something else in a URL; percent-encode them

    Raises:
        ConnectionStringProblem
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise _problem(f"is no PostgreSQL URL; write {EXAMPLE}")
    rest, _, query = rest.partition("?")
    options = parse_qs(query)
    credentials, _, behind = rest.rpartition("@")
    if set(credentials) & set("/?#@[] ") or credentials.count(":") > 1 or re.search("%(?![0-9A-Fa-f]{2})", credentials):
        raise _problem("has characters in its user or password that mean something else in a URL; percent-encode them")
    authority, _, database = behind.partition("/")
    hosts = [re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::([0-9]{0,5}))?", host) for host in authority.split(",")]
    if any(host is None or int(host[2] or 1) not in range(1, 65536) for host in hosts):
        raise _problem(f"has a host or port that cannot be read; write {EXAMPLE}")
    if not options.get("host") and not all(host and host[1] for host in hosts):
        # A driver would take a socket of this machine for it, and with it whatever database is there.
        raise _problem(f"names no host; write {EXAMPLE}")
    if not database and not options.get("database") and not options.get("dbname"):
        raise _problem(f"names no database; write {EXAMPLE}")
    if options.get("sslmode", ["prefer"])[-1] not in TLS_MODES:
        raise _problem(f"has an unknown sslmode; there are {', '.join(TLS_MODES)}")
    return url


def _problem(text: str) -> ConnectionStringProblem:
    return ConnectionStringProblem(f"the connection string {text}")
