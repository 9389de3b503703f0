"""The ledger: which accounts the probe has made and not yet removed.

An entry is written before an account is registered and struck out after its removal was verified, so that a killed
kernel leaves a note and not a secret: passwords are not stored but derived from a key that only this user can read.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from netra_probe.environ import state_folder
from netra_probe.history.secret import Secret


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One account: where it is, and which process was responsible for it."""

    email: str
    auth_url: str
    backend_urls: list[str]
    pid: int
    started: float

    @property
    def is_orphan(self) -> bool:
        """Whether the process that made the account is gone."""
        try:
            return psutil.Process(self.pid).create_time() != self.started
        except psutil.NoSuchProcess:
            return True


class Ledger:
    """The accounts on the books of this user of this machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_folder()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = self._folder / "accounts.jsonl"

    @property
    def folder(self) -> Path:
        """Where this user's state is kept."""
        return self._folder

    def password(self, email: str) -> Secret:
        """The password of an account that the probe makes: derived, never stored."""
        digest = hmac.new(self._key(), email.encode(), hashlib.sha256).digest()
        return Secret("Np1-" + base64.urlsafe_b64encode(digest).decode().rstrip("="))

    def add(self, emails: list[str], *, auth_url: str, backend_urls: list[str]) -> None:
        """Note accounts that are about to be registered by this process."""
        started = psutil.Process().create_time()
        with self._locked() as entries:
            entries += [
                Entry(email=email, auth_url=auth_url, backend_urls=backend_urls, pid=os.getpid(), started=started)
                for email in emails
            ]

    def strike(self, emails: set[str]) -> None:
        """Cross out accounts that are gone."""
        with self._locked() as entries:
            entries[:] = [entry for entry in entries if entry.email not in emails]

    def entries(self) -> list[Entry]:
        """Everything on the books."""
        with self._locked() as entries:
            return list(entries)

    def orphans(self) -> list[Entry]:
        """Accounts whose process died before removing them."""
        return [entry for entry in self.entries() if entry.is_orphan]

    def _key(self) -> bytes:
        path = self._folder / "key"
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
        return path.read_bytes()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[list[Entry]]:
        """The entries under an exclusive lock; what the block changes is written back in one step."""
        with open(self._folder / "accounts.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lines = self._path.read_bytes().splitlines() if self._path.exists() else []
            entries = [msgspec.json.decode(line, type=Entry) for line in lines]
            before = list(entries)
            yield entries
            if entries != before:
                fresh = self._path.with_suffix(".new")
                fresh.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
                fresh.replace(self._path)
