"""A fresh PostgreSQL cluster in a moment: ``initdb`` and all ownership once per machine and version, then a copy.

The template is kept in the user's cache directory. Copying it is on the critical path of the lab's start, so it holds a
single database: ``template0``, ``template1`` and ``postgres`` would only be three more to copy.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.forking import tie_to
from netra_probe.lab.infrastructure.postgres_programs import (
    Account,
    account,
    environment,
    fingerprint,
    reachable_programs,
)

SUPERUSER = "postgres"
DATABASE = "netra"
ROLES = ("netra_auth", "netra_backend", "netra_probe")
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
