"""What is done to a deployment is what its owner allows, and what was done is undone."""

import asyncio
import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from deployments import called, lab_with, netra_probe, write_parameters

from netra_probe import Investigation, ParameterError, TargetError, Verdict, investigate, workloads
from netra_probe.checkers import automaton, canary, delivery, envelope, promises, tokens
from netra_probe.checkers.judging import judge_history
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.policy import Gate, Notes
from netra_probe.clients.rate_limit import RateLimiter
from netra_probe.clients.replies import Timeouts, Unreachable
from netra_probe.clients.transport import LiveTransport
from netra_probe.clients.websocket import Handshake
from netra_probe.errors import OutputError
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.history.store import History, Recorder
from netra_probe.target import environment
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.lab import find_or_start

ELSEWHERE = {"auth_url": "http://auth.netra.invalid", "backend_urls": ["http://api.netra.invalid"]}


def sent(probe: Investigation) -> list[str]:
    """Everything that went out to the target."""
    return [
        f"{operation.action} {operation.detail.get('path', '')}".strip()
        for operation in probe.history
        if operation.type == "invoke"
    ]


# Modes


def test_production_is_only_looked_at_unless_its_parameters_say_otherwise() -> None:
    from netra_probe.target.parameters import target_of

    assert target_of("production", ELSEWHERE).mode is Mode.OBSERVE
    assert target_of("prod-eu", ELSEWHERE).mode is Mode.OBSERVE
    assert target_of("production", {**ELSEWHERE, "mode": "probe"}).mode is Mode.PROBE
    assert target_of("staging", ELSEWHERE).mode is Mode.PROBE


def test_attack_on_another_machine_needs_somebody_who_allowed_it(tmp_path: Path) -> None:
    path = write_parameters(tmp_path, target={**ELSEWHERE, "mode": "attack"})
    ended = netra_probe("run", "C4", "--parameters", str(path), "--yes")
    assert ended.returncode == 2
    assert "mode attack needs authorised_by; name who allowed it" in ended.stderr
    assert lab_with(mode="attack").authorised_by is None


async def test_observe_sends_nothing_but_anonymous_reading_and_judges_nothing_else() -> None:
    probe = await investigate("C4", users=3, target=lab_with(mode="observe"))
    alice, bob, _ = probe.users
    async with probe.sockets() as sockets:
        run = await alice.ask("Where do I overspend?")
        await bob.until_event("agent_started")
        await bob.cut()
    knocks = await workloads.try_invalid_handshakes(probe, like=alice)
    probe.expect("Alice is answered", bool(run))  # of what was not done nothing can be expected
    case = probe.check("C4.2", canary(), envelope(), delivery(), automaton(), tokens(), promises())
    await probe.look()
    forged = await workloads.forge(probe, tester=bob, victim=alice)
    left = await probe.close()
    assert (sockets, list(knocks), bool(run)) == ([], [], False)
    assert case.verdict is Verdict.NOT_APPLICABLE
    assert case.result.reason.startswith("mode observe: ")
    assert forged.missing.startswith("mode observe: ")
    assert {line.split()[0] for line in sent(probe)} == {"GET"}
    assert not any("netra-probe.example" in operation.payload for operation in probe.history)
    assert left.verdict is Verdict.PASS
    assert not {user.email for user in probe.users} & {entry.email for entry in Ledger().entries()}
    again = judge_history(History.open(probe.history.path))
    assert [(case.id, case.verdict) for case in again.cases if case.was_run] == [("C4.2", Verdict.NOT_APPLICABLE)]


async def test_in_observe_a_case_that_needs_no_more_is_judged() -> None:
    probe = await investigate("S2", users=2, target=lab_with(mode="observe"))
    nobody = probe.wire.http(probe.target.auth_url, surface="auth")
    answered = await nobody.request("GET", "/health", anonymous=True)
    case = probe.check("S2.4", canary())
    as_user = await probe.users[0].rest.threads()
    later = probe.check("S2.5", canary())
    await nobody.close()
    await probe.close()
    assert answered
    assert case.verdict is Verdict.INCONCLUSIVE
    assert isinstance(as_user, Unreachable)
    assert later.verdict is Verdict.NOT_APPLICABLE


async def test_in_observe_every_act_says_that_it_was_not_allowed_and_none_raises() -> None:
    probe = await investigate("S1", users=3, target=lab_with(mode="observe"))
    alice, bob, carol = probe.users
    tried = [
        await workloads.equal_ids(probe),
        await workloads.burst(probe),
        await workloads.read_in_turns(probe),
        await workloads.trespass(probe, owner=alice, intruder=bob),
        await workloads.two_tabs(probe, carol, backends=(0, 1)),
        await workloads.killed_peer(probe, bob, [alice, carol]),
        await workloads.refresh_together(probe, carol),
        await workloads.disable(probe),
        await workloads.spend_together(probe, alice),
    ]
    case = probe.check("S1.1", canary(), delivery())
    await probe.close()
    assert case.verdict is Verdict.NOT_APPLICABLE
    assert {line.split()[0] for line in sent(probe)} <= {"GET"}
    assert any(outcome.missing.startswith("mode observe: ") for outcome in tried)


@pytest.mark.nightly
def test_a_notebook_in_observe_ends_without_an_exception_and_says_what_it_skipped(tmp_path: Path) -> None:
    path = write_parameters(tmp_path, environment="production")
    run = tmp_path / "run"
    ended = netra_probe("run", "C4", "--parameters", str(path), "--output", str(run))
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "Nothing was decided: no case applies" in ended.stdout
    (scenario,) = json.loads((run / "results.json").read_text())["scenarios"]
    assert scenario["verdict"] == "not applicable"
    assert all(
        case["reason"].startswith(("mode observe: ", "the target has no operator")) for case in scenario["cases"]
    )
    plan = json.loads((run / "run.json").read_text())
    assert [entry["status"] for entry in plan["scenarios"]] == ["completed"]


@pytest.mark.parametrize("meant", [["F10"], pytest.param(["[A-H]*"], marks=pytest.mark.nightly)], ids=" ".join)
def test_in_observe_no_cell_raises(meant: list[str], tmp_path: Path) -> None:
    path = write_parameters(tmp_path, environment="production")
    run = tmp_path / "run"
    netra_probe("run", *meant, "--parameters", str(path), "--output", str(run), seconds=600)
    scenarios = json.loads((run / "results.json").read_text())["scenarios"]
    reasons = {case["id"]: case["reason"] for one in scenarios for case in one["cases"] if case["verdict"] != "pass"}
    assert reasons and not {id: reason for id, reason in reasons.items() if "raised" in reason}
    assert {one["verdict"] for one in scenarios} <= {"not applicable", "pass"}, [one["id"] for one in scenarios]


async def test_observing_a_target_that_is_not_there_is_an_error() -> None:
    dead = {"auth_url": "http://127.0.0.1:9", "backend_urls": ["http://127.0.0.1:9"], "mode": "observe"}
    with pytest.raises(TargetError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        await investigate("C4", users=2, target=dead)


async def test_a_leak_that_was_seen_outweighs_an_act_that_was_not_allowed() -> None:
    probe = await investigate("C4", users=2, target=find_or_start())
    try:
        alice, _ = probe.users
        stolen = alice.canary("note", "rest")
        probe.history.observe(actions.RECEIVE, user="bob", connection="bob/ws-1", surface="websocket", payload=stolen)
        probe.notes.withhold("mode probe: forging tokens needs mode attack")
        case = probe.check("C4.2", canary())
        assert case.verdict is Verdict.FAIL
        probe.notes.withhold("mode probe: forging tokens needs mode attack")
        case = probe.check("C4.3", canary())
        assert (case.verdict, case.result.reason) == (
            Verdict.NOT_APPLICABLE,
            "mode probe: forging tokens needs mode attack",
        )
    finally:
        await probe.close()


# Asking


@pytest.mark.parametrize("command", [["run", "C4"], ["doctor"]])
def test_another_machine_is_asked_for_and_without_anybody_there_nothing_is_sent(
    command: list[str], tmp_path: Path
) -> None:
    path = write_parameters(tmp_path, target=ELSEWHERE)
    ended = called(*command, "--parameters", str(path), NETRA_PROBE_OUTPUTS=str(tmp_path / "outputs"))
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "blind is not on this machine: api.netra.invalid, auth.netra.invalid. Mode probe." in ended.stderr
    assert "akes and tries" in ended.stderr
    assert 'nobody is there to be asked; give --yes, or write `consent: "probe api.netra.invalid"`' in ended.stderr
    assert not (tmp_path / "outputs").exists()


def test_another_answer_than_the_name_is_a_no(tmp_path: Path) -> None:
    path = write_parameters(tmp_path, target=ELSEWHERE)
    ended = called("doctor", "--parameters", str(path), stdin="yes\n")
    assert ended.returncode == 2
    assert "not confirmed, nothing was sent" in ended.stderr


@pytest.mark.parametrize("way", [pytest.param("answer", marks=pytest.mark.nightly), "--yes", "consent"])
def test_whoever_says_so_in_so_many_words_goes_on(way: str, tmp_path: Path) -> None:
    consent = {"consent": "probe api.netra.invalid"} if way == "consent" else {}
    path = write_parameters(tmp_path, target={**ELSEWHERE, **consent})
    more = ["--yes"] if way == "--yes" else []
    ask = netra_probe if way == "answer" else called
    ended = ask("doctor", "--parameters", str(path), *more, stdin="blind\n" if way == "answer" else None)
    assert ended.returncode == 3, ended.stderr
    assert "NOT READY: auth service: http://auth.netra.invalid cannot be reached" in ended.stdout


def test_consent_to_something_else_is_none(tmp_path: Path) -> None:
    path = write_parameters(tmp_path, target={**ELSEWHERE, "consent": "observe api.netra.invalid"})
    ended = called("run", "C4", "--parameters", str(path))
    assert ended.returncode == 2
    assert 'consents to something else; to go ahead write consent: "probe api.netra.invalid"' in ended.stderr


# Caps


def gated(
    history: Recorder, *, most: int | None = None, rate: float | None = None
) -> tuple[LiveTransport, Gate, Notes]:
    target, notes = find_or_start(), Notes()
    gate = Gate(target, notes, RateLimiter(most=most, rate=rate))
    return LiveTransport(target, history, Timeouts(), gate=gate), gate, notes


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "history.jsonl")
    yield recorder
    recorder.abandon()


async def test_requests_and_handshakes_count_together_and_beyond_the_cap_nothing_is_sent(history: Recorder) -> None:
    wire, gate, notes = gated(history, most=3)
    http = wire.http(find_or_start().auth_url, surface="auth")
    try:
        for _ in range(2):
            assert await http.request("GET", "/health", anonymous=True)
        await wire.open(Handshake(name="nobody/ws-1", token=Secret("not-a-token")))
        before = len(history)
        refused = await http.request("GET", "/health", anonymous=True)
        assert isinstance(refused, Unreachable)
        assert refused.reason.startswith("the cap of 3 requests was reached")
        assert isinstance(await wire.open(Handshake(name="nobody/ws-2")), Unreachable)
        assert len(history) == before
        assert notes.limits == [refused.reason]
        gate.leaving = True
        assert await http.request("GET", "/health", anonymous=True)
    finally:
        await http.close()


async def test_turns_are_given_out_at_the_rate_and_shared_between_processes(tmp_path: Path) -> None:
    shared = tmp_path / "logs" / "pace.json"
    one, other = (RateLimiter(rate=200.0, most=12, shared=shared) for _ in range(2))
    begin = time.monotonic()
    turns = [await pace.turn() for _ in range(6) for pace in (one, other)]
    assert all(turns)
    assert time.monotonic() - begin >= 11 / 200.0
    assert await one.turn() is False
    assert await other.turn(beyond=True) is True


#: Holds the lock of a file until it is told to let go, or for so many seconds; says which of the two came first.
HOLDER = """
import fcntl, select, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
print("told" if select.select([sys.stdin], [], [], float(sys.argv[2]))[0] else "gave up")
"""


@asynccontextmanager
async def held_elsewhere(path: Path, seconds: float = 10.0) -> AsyncIterator[asyncio.subprocess.Process]:
    """A file whose lock another process has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pipe = subprocess.PIPE
    command = (sys.executable, "-c", HOLDER, str(path), str(seconds))
    holder = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        yield holder
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.communicate()


async def let_go(holder: asyncio.subprocess.Process) -> str:
    said, _ = await holder.communicate(b"let go\n")
    return said.decode().strip()


async def test_other_tasks_go_on_while_another_process_has_the_lock(tmp_path: Path) -> None:
    limiter = RateLimiter(most=1, shared=tmp_path / "logs" / "pace.json")
    async with held_elsewhere(tmp_path / "logs" / "pace.json") as holder:
        assert await asyncio.gather(limiter.turn(), let_go(holder)) == [True, "told"]
    ledger = Ledger()
    probe = await investigate("C4", users=2, target=find_or_start())
    try:
        async with held_elsewhere(ledger.folder / "accounts.lock") as holder:
            recruits, said = await asyncio.gather(probe.recruit(1), let_go(holder))
            assert (len(recruits), said) == (1, "told")
    finally:
        await probe.close()


async def test_a_lock_that_nobody_lets_go_of_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "LOCK_SECONDS", 0.1)
    async with held_elsewhere(tmp_path / "pace.json"):
        with pytest.raises(OutputError, match=r"held the lock of .*/pace\.json for 0\.1 s\. End it"):
            await RateLimiter(most=1, shared=tmp_path / "pace.json").turn()


async def test_without_caps_nothing_is_kept(tmp_path: Path) -> None:
    pace = RateLimiter(shared=tmp_path / "pace.json")
    assert await pace.turn()
    assert list(tmp_path.iterdir()) == []


def test_other_machines_have_caps_without_being_asked_for() -> None:
    target = Target.model_validate(ELSEWHERE)
    assert (target.rate, target.most) == (50.0, 50_000)
    assert (find_or_start().rate, find_or_start().most) == (None, None)
    assert Target.model_validate({**ELSEWHERE, "max_requests_per_second": 2.0}).rate == 2.0


def test_a_run_that_reaches_its_cap_is_inconclusive_and_cleans_up(tmp_path: Path) -> None:
    path = write_parameters(tmp_path, target={"max_requests": 20})
    run = tmp_path / "run"
    ended = netra_probe("run", "C4", "--parameters", str(path), "--output", str(run))
    assert ended.returncode == 3, ended.stdout + ended.stderr
    results = json.loads((run / "results.json").read_text())
    assert results["verdict"] == "inconclusive"
    verdicts = {case["id"]: (case["verdict"], case["reason"]) for case in results["scenarios"][0]["cases"]}
    assert verdicts["C4.1"][0] == "pass", verdicts
    assert verdicts["C4.5"][0] == "inconclusive"
    assert "the cap of 20 requests was reached" in verdicts["C4.5"][1]
    assert results["cleanup"] == {"verdict": "pass", "left": []}


# Existing accounts


@dataclass
class Somebody:
    """An account that people have made by hand, with a thread of their own in it."""

    email: str
    password: Secret
    client: httpx.AsyncClient
    thread: str = ""

    @staticmethod
    async def register(number: int) -> "Somebody":
        lab = find_or_start()
        email, password = f"person-{secrets.token_hex(4)}-{number}@example.org", "correct horse battery"
        async with httpx.AsyncClient() as client:
            body = {"email": email, "password": password, "name": f"Person {number}"}
            made = await client.post(f"{lab.auth_url}/auth/register", json=body)
        bearer = {"Authorization": f"Bearer {made.json()['access_token']}"}
        somebody = Somebody(email, Secret(password), httpx.AsyncClient(base_url=lab.backend_urls[0], headers=bearer))
        created = await somebody.client.post("/api/threads", json={"title": "My own budget"})
        somebody.thread = created.json()["id"]
        return somebody

    async def threads(self) -> list[str]:
        return [thread["id"] for thread in (await self.client.get("/api/threads")).json()]


@asynccontextmanager
async def people(number: int) -> AsyncIterator[tuple[list[Somebody], Target]]:
    """People with accounts, and the lab as a target that names them."""
    everybody = [await Somebody.register(position) for position in range(number)]
    try:
        accounts = [{"email": one.email, "password": one.password} for one in everybody]
        yield everybody, lab_with(accounts=accounts)
    finally:
        for one in everybody:
            await one.client.aclose()


async def test_existing_accounts_log_in_are_used_and_stay() -> None:
    async with people(2) as (everybody, target):
        probe = await investigate("C4", users=2, target=target)
        alice, _ = probe.users
        async with probe.sockets():
            runs = await probe.together(user.ask("Where do I overspend?") for user in probe.users)
        case = probe.check("C4.2", canary(), envelope(), delivery(), automaton())
        cleaned = await probe.close()
        assert all(runs)
        assert case.verdict is Verdict.PASS, case.result.reason
        # The interface deletes the threads; what the database keeps about them is named.
        assert cleaned.verdict is Verdict.NOT_APPLICABLE
        assert all(re.match(r"\d+ row\(s\) in \S+ about what was made", item) for item in cleaned.left), cleaned.left
        assert not any("/auth/register" in line or "users/me" in line for line in sent(probe))
        assert alice.email == everybody[0].email
        assert len(alice.threads_made) == 1
        assert [await one.threads() for one in everybody] == [[one.thread] for one in everybody]
        assert not {one.email for one in everybody} & {entry.email for entry in Ledger().entries()}


async def test_fewer_accounts_than_users_are_an_error_and_fewer_than_a_crowd_a_case_less() -> None:
    async with people(2) as (_, target):
        with pytest.raises(ParameterError, match=r"target\.accounts names 2 account\(s\), 3 users are needed; add"):
            await investigate("C4", users=3, target=target)
        probe = await investigate("C4", users=2, target=target)
        assert await probe.recruit(8) == []
        case = probe.check("C4.5", canary())
        await probe.close()
        assert case.verdict is Verdict.NOT_APPLICABLE
        assert case.result.reason == "target.accounts names 2 account(s), 10 users are needed"


async def test_an_existing_account_is_neither_removed_nor_locked() -> None:
    async with people(2) as (_, target):
        probe = await investigate("C4", users=2, target=target)
        alice, _ = probe.users
        http = alice.rest.http
        for method, route in (("DELETE", "/api/users/me"), ("POST", "/auth/users/{id}/disable")):
            assert isinstance(await http.request(method, route, path={"id": alice.id}), Unreachable)
        assert "those of target.accounts are left alone" in (await workloads.guess_passwords(probe, alice)).missing
        assert await http.request("GET", "/api/threads")
        await probe.close()


async def test_an_account_that_cannot_log_in_is_named() -> None:
    wrong = Secret("wrong-password")
    accounts = [{"email": f"nobody-{number}@netra-probe.example", "password": wrong} for number in "12"]
    with pytest.raises(
        TargetError, match=r"accounts\.0: POST /auth/login was refused \(status 401.*e-mail and password"
    ):
        await investigate("C4", users=2, target=lab_with(accounts=accounts))


# Interruptions


#: A job in the background of a shell does not hear Ctrl-C, and neither would its children: as in a terminal, it does.
AS_IN_A_TERMINAL = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from netra_probe.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


def interruptible(*arguments: str) -> subprocess.Popen[str]:
    """The command line, ready to be interrupted."""
    return subprocess.Popen(
        [sys.executable, "-c", AS_IN_A_TERMINAL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "moment",
    [
        '"action":"ask"',
        *(pytest.param(moment, marks=pytest.mark.nightly) for moment in ('"POST /auth/register"', '"DELETE ')),
    ],
    ids=str.lower,
)
@pytest.mark.nightly
def test_ctrl_c_at_any_time_leaves_a_valid_result_and_no_account(moment: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = write_parameters(tmp_path)
    with interruptible("run", "C4", "--parameters", str(path), "--output", str(run)) as process:
        recorded = run / "history" / "C4.jsonl"
        deadline = time.monotonic() + 60
        while not (recorded.exists() and moment.encode() in recorded.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=40)
    assert process.returncode == 3, complaint
    results = json.loads((run / "results.json").read_text())
    assert results["verdict"] == "inconclusive"
    assert len(results["scenarios"][0]["cases"]) == 5
    assert results["cleanup"]["verdict"] == "inconclusive"
    after = json.loads((run / "run.json").read_text())["after"]
    assert after["removed"] >= 3
    assert after["left"] == []
    marked = {operation.user for operation in History.open(recorded) if operation.action == "POST /auth/register"}
    assert marked >= {"alice", "bob", "carol"}
    assert not [entry for entry in Ledger().orphans() if entry.auth_url == find_or_start().auth_url]


def test_an_interruption_before_anything_was_done_is_a_valid_result_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with interruptible("run", "C4", "--output", str(run)) as process:
        deadline = time.monotonic() + 60
        while not (run / "run.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=40)
    assert process.returncode == 3, complaint
    results = json.loads((run / "results.json").read_text())
    assert results["verdict"] == "inconclusive"
    assert {case["reason"] for case in results["scenarios"][0]["cases"]} == {"not run: the run was interrupted"}
