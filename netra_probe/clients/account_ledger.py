"""The ledger: which accounts, and which objects in accounts, the probe has created and not yet removed.

An entry is written before an account is registered and struck out after its removal was verified, so that a killed
kernel leaves a note and not a secret: passwords are not stored but derived from a key that only this user can read.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil

from netra_probe.history.secret import Secret
from netra_probe.target.environment import locked_file, state_folder


@dataclass(kw_only=True, eq=False)
class Belonging:
    """One thing that was asked to be made.

    Arguments:
        number: of the note in the journal.
        owner: alias of the user who asked; ``email`` is the account's.
        id: what the target calls it; "" while nobody knows.
        within: what filled the braces of the path: the ids of its parents.
        answered: whether the target said that it made it; ``None`` while it has said nothing.
        gone: whether it was deleted and confirmed gone, or never created.
        unchecked: whether it may be gone, and nobody could look.
    """

    number: int
    kind: str
    method: str
    route: str
    surface: str
    owner: str
    email: str = ""
    id: str = ""
    within: Mapping[str, str] = field(default_factory=dict)
    answered: bool | None = None
    gone: bool = False
    unchecked: bool = False

    @property
    def name(self) -> str:
        """How it is listed: ``thread 3f0a91c2… of alice``."""
        return f"{self.kind} {short(self.id) or 'without an id'} of {self.owner}"


def short(id: str) -> str:
    """So much of an id as one needs to find the thing.

    >>> short("4711"), short("3f0a91c2-5a7e-4f0e-9a3b-0c1f5f1c7a10")
    ('4711', '3f0a91c2…')
    """
    return id if len(id) <= 12 else f"{id[:8]}…"


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
        return _is_gone({"pid": self.pid, "started": self.started})


class Ledger:
    """The accounts on the books of this user of this machine.

    What reads or writes them waits for other processes that do: call it in a thread (``asyncio.to_thread``) where an
    event loop runs.
    """

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

    def journal(self, mark: str, *, auth_url: str) -> Journal:
        """A new journal of what an investigation makes; the file appears with the first note."""
        return Journal(self._folder / "things" / f"{os.getpid()}-{mark}.jsonl", auth_url=auth_url)

    def lost_things(self, auth_url: str) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
        """What processes that are gone have made on a target and left: the file, and a note for each."""
        for path in sorted((self._folder / "things").glob("*.jsonl")):
            head, notes = _read_journal(path)
            if head is not None and head.get("auth_url") == auth_url and _is_gone(head):
                yield path, notes

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
        with locked_file(self._folder / "accounts.lock"):
            lines = self._path.read_bytes().splitlines() if self._path.exists() else []
            entries = [msgspec.json.decode(line, type=Entry) for line in lines]
            before = list(entries)
            yield entries
            if entries != before:
                fresh = self._path.with_suffix(".new")
                fresh.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
                fresh.replace(self._path)


class Journal:
    """A file with a line for each thing before it is made, and further ones once its id is known and it is gone.

    Nothing is rewritten: a note costs one short write, however many there are.
    """

    def __init__(self, path: Path, *, auth_url: str) -> None:
        self.path = path
        self._auth_url = auth_url
        self._file: Any = None

    def note(self, one: Belonging) -> None:
        self._write(
            number=one.number, kind=one.kind, method=one.method, route=one.route, surface=one.surface, owner=one.owner,
            email=one.email, within=dict(one.within),
        )  # fmt: skip

    def named(self, one: Belonging) -> None:
        self._write(number=one.number, id=one.id)

    def gone(self, one: Belonging) -> None:
        self._write(number=one.number, gone=True)

    def close(self, *, keep: bool) -> None:
        """Put it away; ``keep`` leaves the file for the next sweep."""
        if self._file is not None:
            self._file.close()
            self._file = None
            if not keep:
                self.path.unlink(missing_ok=True)

    def _write(self, **line: Any) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            started = psutil.Process().create_time()
            head = {"auth_url": self._auth_url, "pid": os.getpid(), "started": started}
            self._file.write(msgspec.json.encode(head) + b"\n")
        self._file.write(msgspec.json.encode(line) + b"\n")


def _read_journal(path: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The head of a journal, and what in it is not gone; what a crash has cut short is left out."""
    head: dict[str, Any] | None = None
    notes: dict[int, dict[str, Any]] = {}
    for line in path.read_bytes().splitlines():
        try:
            said = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            continue
        if head is None:
            head = said
        else:
            notes.setdefault(int(said.get("number", -1)), {}).update(said)
    return head, [note for note in notes.values() if "route" in note and not note.get("gone")]


def _is_gone(process: dict[str, Any]) -> bool:
    try:
        return bool(psutil.Process(process["pid"]).create_time() != process["started"])
    except (psutil.NoSuchProcess, KeyError):
        return True
