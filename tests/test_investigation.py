"""An investigation on the real lab: it makes its users, records, judges, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from netra_probe import Investigation, ParameterError, TargetError, Verdict, investigate, workloads
from netra_probe.checkers import automaton, canary, delivery, envelope, promises
from netra_probe.checkers.judging import judge_history
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.replies import Broken, Refused, Timeouts, why_not
from netra_probe.history import actions
from netra_probe.history.store import History, Recorder
from netra_probe.investigation.expectations import out_of_reach
from netra_probe.target.deployment import Target
from netra_probe.target.lab import find_or_start

KILLED = """
import asyncio, os, signal
from netra_probe import investigate
async def main():
    probe = await investigate("C4", users=2)
    print(",".join(user.email for user in probe.users), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def leave_out_the_rest(probe: Investigation) -> None:
    """What the scenario owes beside what was checked does not apply."""
    for case in probe.result().cases:
        if not case.was_run:
            probe.check(case.id, needs=["surface of no target"])


@pytest.fixture
async def probe() -> AsyncIterator[Investigation]:
    opened = await investigate("C4", users=2)
    yield opened
    await opened.close()


async def test_a_healthy_round_passes_and_the_stored_history_says_the_same(probe: Investigation) -> None:
    alice, bob = probe.users
    async with probe.sockets():
        runs = await probe.together(user.ask("Where do I overspend?") for user in (alice, bob))
    assert all(runs)
    case = probe.check("C4.2", canary(), envelope(), delivery(), automaton())
    assert case.verdict is Verdict.PASS
    leave_out_the_rest(probe)
    cleaned = await probe.close()
    assert (cleaned.verdict, cleaned.left) == (Verdict.PASS, ())
    again = judge_history(History.open(probe.history.path))
    assert again == probe.result()
    assert again.verdict is Verdict.PASS


async def test_nothing_of_the_users_is_left_in_the_stores(probe: Investigation) -> None:
    ids = {user.id: user.name for user in probe.users}
    async with probe.sockets():
        await probe.together(user.ask("Where do I overspend?") for user in probe.users)
    assert probe.database is not None
    assert probe.cache is not None
    assert (await probe.database.count(ids))['"public"."threads"'] == 2
    await probe.close()
    look = await investigate("C4", users=2)
    try:
        assert look.database is not None
        assert look.cache is not None
        assert await look.database.count(ids) == {}
        assert await look.cache.naming(ids) == []
    finally:
        await look.close()
    assert not {user.email for user in probe.users} & {entry.email for entry in Ledger().entries()}


async def test_without_a_delivery_nothing_passes(probe: Investigation) -> None:
    case = probe.check("C4.1", canary(), envelope(), delivery(), automaton())
    assert case.verdict is Verdict.INCONCLUSIVE


async def test_a_case_without_its_surface_is_not_applicable() -> None:
    target = find_or_start().model_copy(update={"database_url": None})
    probe = await investigate("C4", users=2, target=target)
    try:
        case = probe.check("C4.4", canary(), needs=["database"])
        assert case.verdict is Verdict.NOT_APPLICABLE
        assert "no database surface" in case.result.reason
        reachable = probe.check("C4.5", canary(), needs=["component IsolatedEnvironment"])
        assert reachable.verdict is not Verdict.NOT_APPLICABLE, "the lab has one"
    finally:
        await probe.close()


def test_a_case_without_its_component_is_not_applicable(tmp_path: Path) -> None:
    elsewhere = Target(auth_url="http://auth.example", backend_urls=["http://backend.example"])
    needs = ["component IsolatedEnvironment", "component LLMManager"]
    assert out_of_reach(elsewhere, needs) == ["IsolatedEnvironment", "LLMManager"]
    named = elsewhere.model_copy(update={"components": {"LLMManager": "platform.models:Manager"}})
    assert out_of_reach(named, needs) == ["IsolatedEnvironment"]
    history = Recorder(tmp_path / "C4.jsonl")
    probe = Investigation(
        scenario="C4",
        environment="lab",
        target=named,
        history=history,
        ledger=Ledger(),
        seed=1,
        timeouts=Timeouts(),
    )
    case = probe.check("C4.1", canary(), needs=[*needs, "database"])
    history.close()
    assert case.verdict is Verdict.NOT_APPLICABLE
    assert "no database surface; the target's `components` do not say where IsolatedEnv" in case.result.reason


async def test_no_token_or_password_reaches_the_history(probe: Investigation) -> None:
    (alice, _) = probe.users
    async with probe.sockets([alice]):
        await alice.ask("Where do I overspend?")
    await alice.auth.refresh()
    secrets = [alice.auth.access, alice.auth.refreshing, alice._password, find_or_start().secret("database_url")]
    await probe.close()
    text = "".join(str(operation.payload) + str(operation.detail) for operation in History.open(probe.history.path))
    assert "[jwt:" in text
    for secret in secrets:
        assert secret is not None
        assert secret.reveal() not in text


async def test_strangers_stay_outside_and_the_owner_gets_in(probe: Investigation) -> None:
    (alice, _) = probe.users
    outcomes = await workloads.try_invalid_handshakes(probe, like=alice)
    assert [bool(outcome) and not isinstance(outcome, tuple) for outcome in outcomes] == [False, False, False]
    controls = [
        operation.ids.get("user_id")
        for operation in probe.history
        if operation.action == actions.ATTEMPT and operation.type == "ok"
    ]
    assert len(controls) == 3
    assert all(who and alice.id.startswith(who) for who in controls)


def test_accounts_of_a_killed_kernel_are_removed_by_the_next_investigation() -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    emails = set(killed.stdout.strip().split(","))
    assert emails <= {entry.email for entry in Ledger().orphans()}
    subprocess.run([sys.executable, "-c", KILLED.replace("os.kill", "pass #")], check=False, timeout=60)
    assert not emails & {entry.email for entry in Ledger().entries()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenario": "C44"}, r'unknown scenario "C44"; did you mean "C4"\?'),
        ({"scenario": "C4", "users": 1}, "users=1: isolation needs at least two users"),
        ({"scenario": "C4", "environment": "stagin"}, r'unknown environment "stagin".*did you mean "staging"\?'),
        ({"scenario": "C4", "target": {"auth_ur": "http://localhost:1"}}, r'environment lab: ("target|unknown key)'),
    ],
)
async def test_wrong_use_is_one_clear_error(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        await investigate(**arguments)  # type: ignore[arg-type]


async def test_an_unreachable_target_is_named_with_a_remedy() -> None:
    before = Ledger().entries()
    target = {"auth_url": "http://127.0.0.1:9", "backend_urls": ["http://127.0.0.1:9"]}
    with pytest.raises(TargetError, match=r"http://127\.0\.0\.1:9 did not register alice: Unreachable.*is it running"):
        await investigate("C4", users=2, target=target)
    assert [entry for entry in Ledger().entries() if entry.auth_url == "http://127.0.0.1:9"] == []
    assert len(Ledger().entries()) <= len(before)


@pytest.mark.parametrize(
    "reply", [Refused(status=403, error="closed"), Refused(status=405), Broken(status=501)], ids=repr
)
def test_why_nobody_was_let_in_is_a_sentence_with_the_status(reply: Refused | Broken) -> None:
    said = why_not(reply, "POST /auth/register")
    assert "POST /auth/register" in said and str(reply.status) in said and type(reply).__name__ not in said


async def test_an_unreachable_database_is_an_error_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DATABASE", "postgresql://netra:hunter2hunter2@127.0.0.1:9/netra")
    target = {
        "auth_url": "http://127.0.0.1:9",
        "backend_urls": ["http://127.0.0.1:9"],
        "database_url": "env:SOME_DATABASE",
    }
    with pytest.raises(TargetError, match=r"target\.database_url: cannot connect") as caught:
        await investigate("C4", users=2, target=target)
    assert "hunter2" not in str(caught.value)


async def test_a_case_is_judged_once_and_in_its_own_scenario(probe: Investigation) -> None:
    probe.check("C4.1", canary())
    with pytest.raises(ParameterError, match=r'"C4\.1" was checked already'):
        probe.check("C4.1", canary())
    with pytest.raises(ParameterError, match=r'"D1\.1" does not belong to scenario C4'):
        probe.check("D1.1", canary())


async def test_the_history_is_kept_where_the_run_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRA_PROBE_RUN", str(tmp_path))
    probe = await investigate("C4", users=2)
    await probe.close()
    assert os.listdir(tmp_path / "history") == ["C4.jsonl.gz"]


async def test_a_case_is_done_again_with_another_parameter_and_a_finding_stays(probe: Investigation) -> None:
    shell = InteractiveShell.instance()
    try:
        shell.user_ns.update(probe=probe, rounds=1, promises=promises, done=[])
        for cell in (
            'rounds = 1  # probe = await investigate("C4")',
            "done.append(rounds); await probe.users[0].rest.threads()\n"
            "probe.expect('the number of rounds is odd', rounds % 2, 1)",
            'probe.check("C4.1", promises())',
        ):
            await shell.run_cell_async(cell, store_history=True, transformed_cell=cell)
        first = probe.result().cases[0]
        assert (first.verdict, first.evidence) == (Verdict.PASS, {"promises": 1})
        assert (await probe.again("C4.1", rounds=2)).verdict is Verdict.FAIL
        assert (await probe.again("C4.1")).verdict is Verdict.FAIL, "what was found once stays found"
        assert shell.user_ns["done"] == [1, 2, 1] and shell.user_ns["rounds"] == 1
        with pytest.raises(ParameterError, match="no lines; name a variable"):
            await probe.again("C4.1", lines=3)
        with pytest.raises(ParameterError, match=r"no executed cell checks C4\.2"):
            await probe.again("C4.2")
        leave_out_the_rest(probe)
        await probe.close()
        assert judge_history(History.open(probe.history.path)) == probe.result()
        with pytest.raises(ParameterError, match="the investigation is closed"):
            await probe.again("C4.1")
        assert "odd" in probe.promises().text(), "after the end a view shows everything"
    finally:
        InteractiveShell.clear_instance()
