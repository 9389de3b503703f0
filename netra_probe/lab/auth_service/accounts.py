"""Accounts and the OAuth identities that open them, in PostgreSQL."""

from __future__ import annotations

import re
import unicodedata
import uuid
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from netra_probe.lab.auth_service.errors import BadInput, Conflict
from netra_probe.lab.auth_service.stores import Database
from netra_probe.lab.shared.clock import clock

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_LOCAL}@(?:{_LABEL}\.)*{_LABEL}")

_COLUMNS = """id, email, name, password_hash, auth_provider, is_active, is_verified, is_admin, locked_until, created_at,
    last_login_at"""


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account, as it is stored."""

    id: str
    email: str
    name: str
    password_hash: str | None = field(repr=False)
    auth_provider: str
    is_active: bool
    is_verified: bool
    is_admin: bool
    locked_until: datetime | None
    created_at: datetime
    last_login_at: datetime | None

    @property
    def permissions(self) -> tuple[str, ...]:
        """What the account may do."""
        return ("read", "write", "admin") if self.is_admin else ("read", "write")

    @property
    def is_locked(self) -> bool:
        return self.locked_until is not None and self.locked_until > clock.utc()

    def why_not_usable(self) -> str | None:
        """Why tokens of this account are not accepted, or None."""
        if not self.is_active:
            return "account_disabled"
        if self.is_locked:
            return "account_locked"
        if not self.is_verified:
            return "account_unverified"
        return None


class AccountStore:
    """Reads and writes accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, *, email: str, name: str = "", password_hash: str | None = None, provider: str = "local"
    ) -> Account:
        """A new account with an id of its own; Conflict when the address is taken, in whatever case it is written."""
        return await self._insert(str(uuid.uuid4()), email, name, password_hash, provider)

    async def ensure(self, *, user_id: str, email: str, name: str, provider: str) -> Account:
        """The account with a fixed id (development login), made on first use."""
        found = await self.by_id(user_id)
        return found or await self._insert(user_id, email, name, None, provider)

    async def by_id(self, user_id: str) -> Account | None:
        """The account with an id."""
        return _account(await self._database.fetchrow(f"SELECT {_COLUMNS} FROM auth_users WHERE id = $1", user_id))

    async def by_email(self, email: str) -> Account | None:
        """The account with an address."""
        return _account(
            await self._database.fetchrow(f"SELECT {_COLUMNS} FROM auth_users WHERE lower(email) = lower($1)", email)
        )

    async def by_identity(self, *, issuer: str, subject: str) -> Account | None:
        """The account that an OAuth identity opens."""
        return _account(
            await self._database.fetchrow(
                f"""SELECT {_COLUMNS} FROM auth_users
                    WHERE id = (SELECT user_id FROM auth_identities WHERE issuer = $1 AND subject = $2)""",
                issuer,
                subject,
            )
        )

    async def link(self, *, user_id: str, issuer: str, subject: str) -> None:
        """Let an OAuth identity open an account; Conflict when it opens another one."""
        owner = await self._database.fetchval(
            """INSERT INTO auth_identities (issuer, subject, user_id) VALUES ($1, $2, $3)
               ON CONFLICT (issuer, subject) DO UPDATE SET issuer = excluded.issuer RETURNING user_id""",
            issuer,
            subject,
            user_id,
        )
        if owner != user_id:
            raise Conflict("This identity belongs to another account.")

    async def logged_in(self, user_id: str) -> None:
        """Note the time of a login."""
        await self._database.execute("UPDATE auth_users SET last_login_at = now() WHERE id = $1", user_id)

    async def set_active(self, user_id: str, active: bool) -> bool:
        """Enable or disable an account; False when there is none."""
        return await self._database.execute("UPDATE auth_users SET is_active = $2 WHERE id = $1", user_id, active) > 0

    async def delete(self, user_id: str) -> bool:
        """Remove an account with its identities, sessions and log entries; False when there is none."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("DELETE FROM auth_audit_logs WHERE user_id = $1", user_id)
            tag: str = await connection.execute("DELETE FROM auth_users WHERE id = $1", user_id)
        return tag != "DELETE 0"

    async def _insert(self, user_id: str, email: str, name: str, password_hash: str | None, provider: str) -> Account:
        try:
            row = await self._database.fetchrow(
                f"""INSERT INTO auth_users (id, email, name, password_hash, auth_provider, last_login_at)
                    VALUES ($1, $2, $3, $4, $5, now()) RETURNING {_COLUMNS}""",
                user_id,
                email,
                name,
                password_hash,
                provider,
            )
        except asyncpg.UniqueViolationError:
            raise Conflict("An account with this e-mail address exists already.") from None
        account = _account(row)
        assert account is not None
        return account


def checked_email(text: str) -> str:
    """An e-mail address in the form it is stored in, or BadInput. Special-use domains such as ``.example`` are fine."""
    address = unicodedata.normalize("NFC", text).strip()
    if not _EMAIL.fullmatch(address):
        raise BadInput("email: not an e-mail address")
    return address.lower()


def checked_text(field_name: str, text: str, *, longest: int) -> str:
    """Text that every store can hold: no control characters, no halves of characters, not too long."""
    if len(text) > longest:
        raise BadInput(f"{field_name}: at most {longest} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise BadInput(f"{field_name}: control characters are not allowed")
    return text


def _account(row: asyncpg.Record | None) -> Account | None:
    return None if row is None else Account(**dict(row))
