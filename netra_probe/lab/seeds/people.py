"""The ten people of the seeded data: one for each state that an account can be in."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

DOMAIN = "seed.netra-lab.example"
SINCE = datetime(2025, 7, 1, 9, tzinfo=UTC)
"""When all of them registered."""
PROVIDER = "google"


def seed_id(kind: str, name: str) -> str:
    """An id that looks like any other and is the same in every lab."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"netra-lab-seed|{kind}|{name}".encode()).digest()[:16], version=4))


@dataclass(frozen=True, kw_only=True)
class SeedUser:
    """One person.

    Arguments:
        state: which of the ten states the account is in; unique, so it is also how a person is found.
        login: what logging in with the right password answers: an HTTP status.
        project: the word that all of this person's texts contain, and nobody else's.
        threads: how many threads of history the person has.
        devices: the sessions that are open, by the user agent that opened them.
    """

    state: str
    name: str
    project: str
    login: int = 200
    threads: int = 0
    has_password: bool = True
    is_active: bool = True
    is_verified: bool = True
    is_admin: bool = False
    is_locked: bool = False
    has_logged_in: bool = True
    devices: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return seed_id("user", self.state)

    @property
    def email(self) -> str:
        return f"{self.state}@{DOMAIN}"

    @property
    def subject(self) -> str:
        """The name under which the identity provider knows an OAuth-only person."""
        return f"seed-{self.state}"

    @property
    def permissions(self) -> tuple[str, ...]:
        """What the account may do."""
        return ("read", "write", "admin") if self.is_admin else ("read", "write")


PEOPLE: tuple[SeedUser, ...] = (
    SeedUser(state="active", name="Ada Active", project="heron", threads=3),
    SeedUser(state="unverified", name="Ulla Unverified", project="kestrel", login=403, is_verified=False),
    SeedUser(state="disabled", name="Dora Disabled", project="plover", login=403, threads=1, is_active=False),
    SeedUser(state="locked", name="Lena Locked", project="curlew", login=403, is_locked=True),
    SeedUser(state="expired-token", name="Emil Expired", project="bittern", threads=1),
    SeedUser(state="revoked-token", name="Rita Revoked", project="dunlin", threads=1),
    SeedUser(state="oauth-only", name="Otto OAuth", project="avocet", login=401, threads=1, has_password=False),
    SeedUser(state="admin", name="Anna Admin", project="osprey", threads=1, is_admin=True),
    SeedUser(
        state="two-device", name="Theo Two", project="sanderling", threads=2, devices=("Netra/phone", "Netra/laptop")
    ),
    SeedUser(state="fresh", name="Fritz Fresh", project="wigeon", has_logged_in=False),
)
