"""The doctor: what is alive, what is spoken, what it costs, and what a run would do."""

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from composing import Composed
from deployments import called, in_process, lab_with, netra_probe, write_parameters
from performing import perform
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from netra_probe import Verdict, investigate
from netra_probe.batch.notebooks import all_notebooks
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers import automaton, canary, delivery, envelope
from netra_probe.clients.account_ledger import Ledger
from netra_probe.doctor import Amounts, Report, Status, examine, planned
from netra_probe.doctor.notebooks import read_cases
from netra_probe.history.store import History
from netra_probe.lab import Variant
from netra_probe.target.deployment import Target, read_target
from netra_probe.target.lab import as_target, find_or_start
from netra_probe.target.parameters import Parameters

BLIND = Parameters(environment="blind", deadline=3)


def lines(report: Report) -> dict[str, tuple[Status, str]]:
    return {line.subject: (line.status, line.text) for line in report.lines}


async def test_a_healthy_lab_is_ready_and_left_as_it_was() -> None:
    report = await examine(BLIND, find_or_start())
    assert (report.ready, report.exit_status, report.headline) == (True, 0, "READY")
    assert {line.status for line in report.lines} == {Status.OK}
    told = lines(report)
    assert "version 1.0.0, clock agrees" in told["auth service"][1]
    assert told["socket at backend 2"][1].startswith("alive, pong 1.")
    assert report.identities == "token"
    assert report.generators == dict.fromkeys(("user_message", "agent_request", "start_agent", "chat"), "works")
    assert set(report.dialect) == {"payload"}
    assert (report.missing, report.costs, report.left) == ((), (), ())
    assert report.made == Amounts(accounts=2, sockets=6, messages=4)
    mine = {entry.email for entry in Ledger().entries() if entry.pid == os.getpid()}
    assert not mine & {entry.email for entry in Ledger().entries() if entry.auth_url == find_or_start().auth_url}


VARIANTS: dict[str, tuple[Variant, Callable[[Report], object]]] = {
    "silent zombie": (Variant(zombie="silent"), lambda report: _half_dead(report)),
    "lingering zombie": (Variant(zombie="lingering"), lambda report: _half_dead(report)),
    "shared identity": (Variant(identity="demo-user"), lambda report: _shared(report, "demo-user-001")),
    "identities of its own": (Variant(identity="demo-users"), lambda report: _shared(report, "demo-user-")),
    "only agent_request": (Variant(only_agent_request=True, database=False), lambda report: _only(report)),
    "bridge factory": (Variant(dialect="factory", welcome="connect"), lambda report: _speaks(report, "event_type")),
    "connection manager": (Variant(dialect="manager", welcome="plain"), lambda report: _speaks(report, "data")),
    "agent request": (Variant(dialect="agent-request", handshake="1011"), lambda report: _speaks(report, "wrapped")),
}


def _half_dead(report: Report) -> None:
    assert report.exit_status == 3
    assert report.headline.startswith("NOT READY: socket at backend 1: half-dead: a welcome, then no answer")
    assert report.generators == {}
    costs = {cost.id: (cost.verdict, cost.reason) for cost in report.costs}
    assert costs["C4.2"] == costs["S1.4"] == ("inconclusive", "sockets are dead or half-dead")
    assert "S1.9" not in costs


def _shared(report: Report, who: str) -> None:
    assert report.identities == "shared"
    assert report.exit_status == 0
    assert report.headline.startswith(f"READY, but identity: sockets are bound to {who}")


def _only(report: Report) -> None:
    assert report.generators == {
        "user_message": "acknowledged only",
        "chat": "acknowledged only",
        "start_agent": "acknowledged only",
        "agent_request": "works",
    }
    assert lines(report)["runs"] == (Status.OK, "`agent_request` starts runs that come to their end")
    costs = {cost.id: (cost.verdict, cost.reason) for cost in report.costs}
    assert costs["S1.10"] == ("not applicable", "the target has no database surface")
    assert report.missing == ("database",)


def _speaks(report: Report, shape: str) -> None:
    assert report.exit_status == 0
    assert max(report.dialect, key=lambda name: report.dialect[name]) == shape
    assert report.identities == "token"


#: By day; the others differ from it in their dialect or in how they half-live.
BY_DAY = ("shared identity",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in BY_DAY else pytest.mark.nightly) for name in VARIANTS]
)
@pytest.mark.nightly
async def test_other_deployments_are_told_for_what_they_are(compose: Composed, name: str) -> None:
    variant, expect = VARIANTS[name]
    lab = compose(variant=variant)
    report = await examine(BLIND, as_target(lab))
    expect(report)
    assert report.left == ()
    assert report.text().splitlines()[0].startswith(("READY", "NOT READY"))


@pytest.mark.nightly
async def test_a_service_that_calls_itself_well_around_a_dead_part_is_told_of(compose: Composed) -> None:
    module = Path(__file__).parent / "hygiene" / "faults_of_accounts.py"
    lab = compose(("Q-CONTRADICTION",), (module,))
    report = await examine(BLIND, as_target(lab))
    status, text = lines(report)["health"]
    assert (status, report.exit_status) == (Status.NOTE, 0)
    assert "health says healthy, and of redis the contrary" in text
    assert report.headline.startswith("READY, but auth service: ")


@pytest.mark.nightly
async def test_the_message_that_starts_runs_is_found_out_where_nobody_named_it(compose: Composed) -> None:
    lab = compose(variant=Variant(only_agent_request=True))
    named = as_target(lab).model_copy(update={"generator": "user_message"})
    report = await examine(BLIND, named)
    assert report.exit_status == 3
    assert "`user_message`: acknowledged only; set `generator: agent_request`" in lines(report)["runs"][1]
    probe = await investigate("C4", users=2, target=as_target(lab))
    try:
        assert probe.generator == "agent_request"
        async with probe.sockets():
            runs = await probe.together(user.ask("Where do I overspend?") for user in probe.users)
        case = probe.check("C4.2", canary(), envelope(), delivery(), automaton())
    finally:
        cleaned = await probe.close()
    assert all(runs)
    assert (case.verdict, cleaned.verdict) == (Verdict.PASS, Verdict.PASS), case.result.reason


async def test_in_observe_it_makes_nobody_and_says_what_it_skipped() -> None:
    report = await examine(BLIND, lab_with(mode="observe"))
    assert lines(report)["users"] == (
        Status.SKIPPED,
        "mode observe: nobody was registered or logged in, no socket opened",
    )
    assert not report.made
    assert not report.run
    assert report.exit_status == 0
    assert {cost.verdict for cost in report.costs} == {"not applicable"}
    assert "A run would send nothing but reading." in report.text()


async def test_existing_accounts_that_cannot_log_in_are_in_the_way() -> None:
    accounts = [{"email": f"{name}@example.org", "password": "env:PATH"} for name in ("a", "b")]
    report = await examine(BLIND, lab_with(accounts=accounts))
    assert report.exit_status == 3
    assert "did not let alice in, who is target.accounts.0" in lines(report)["users"][1]


async def test_what_is_not_there_is_named_with_its_remedy() -> None:
    dead = read_target(
        {"auth_url": find_or_start().auth_url, "backend_urls": ["http://127.0.0.1:9"], "redis_url": "env:NO_REDIS"},
        where="here",
    ).model_copy(update={"redis_url": None})
    report = await examine(BLIND, dead)
    assert report.exit_status == 3
    status, text = lines(report)["backend 1"]
    assert status is Status.BROKEN
    assert text.startswith("http://127.0.0.1:9 cannot be reached (ConnectError): is it running")
    assert lines(report)["users"][0] is Status.SKIPPED
    assert {cost.reason for cost in report.costs} >= {"a service cannot be reached"}
    assert not report.made


@pytest.fixture
async def odd_service() -> AsyncIterator[str]:
    """A service that is unwell, whose clock is an hour behind, and that registers nobody."""

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    def asked(connection: ServerConnection, request: Request) -> Response:
        if not request.path.startswith("/health"):
            return connection.respond(403, "closed")
        response = connection.respond(200, '{"status":"degraded","database":"disconnected","version":"9.9"}')
        del response.headers["Date"]
        response.headers["Date"] = "Mon, 01 Sep 2025 10:00:00 GMT"
        return response

    async with serve(handler, "127.0.0.1", 0, process_request=asked) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@pytest.mark.nightly
async def test_an_unwell_service_with_another_time_says_so(odd_service: str) -> None:
    report = await examine(BLIND, Target(auth_url=odd_service, backend_urls=[odd_service]))
    status, text = lines(report)["auth service and backend 1"]
    assert status is Status.NOTE
    assert "says degraded, version 9.9, but the service is degraded, database is disconnected" in text
    assert "s behind: mind token expiry" in text
    assert lines(report)["users"][0] is Status.BROKEN
    assert report.exit_status == 3


# What a run would do


def test_needs_are_read_where_they_are_written_or_under_their_name() -> None:
    (notebook,) = (notebook for notebook in all_notebooks() if notebook.id == "E4")
    needs = {case.id: case.surfaces for case in read_cases(notebook, users=3, rounds=1)}
    assert needs["E4j.1"] == {"second_backend"}
    assert needs["E4b.2"] == {"component UserExecutionContext", "component UserWebSocketEmitter"}
    for other in all_notebooks():
        read_cases(other, users=3, rounds=1)


def test_what_a_run_would_do_is_estimated_from_what_the_last_refresh_counted() -> None:
    (notebook,) = (notebook for notebook in all_notebooks() if notebook.id == "C4")
    cases = {case.id: case for case in read_cases(notebook, users=3, rounds=4)}
    assert cases["C4.2"].amounts == Amounts(sockets=3, messages=12, requests=cases["C4.2"].amounts.requests)
    assert (cases["C4.1"].amounts.accounts, cases["C4.5"].amounts.accounts) == (3, 7)
    assert cases["C4.3"].workloads == ("catch_up", "try_invalid_handshakes")
    assert cases["C4.4"].surfaces == {"operator"}
    more = {case.id: case for case in read_cases(notebook, users=6, rounds=8)}
    assert more["C4.1"].amounts.accounts == 6
    assert more["C4.2"].amounts.messages == 48
    (sweep,) = (notebook for notebook in all_notebooks() if notebook.id == "S1")
    once, often = (read_cases(sweep, users=3, rounds=rounds) for rounds in (1, 5))
    assert often[0].amounts.messages == 5 * once[0].amounts.messages
    assert often[1:] == once[1:]  # none of them names the rounds


@pytest.mark.nightly
async def test_a_run_does_what_the_last_refresh_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate for C4, compared with its recording."""
    monkeypatch.setenv("NETRA_PROBE_RUN", str(tmp_path))
    await perform("C4", target=lab_with(generator=None))
    (notebook,) = (notebook for notebook in all_notebooks() if notebook.id == "C4")
    target = find_or_start().model_copy(update={"generator": None})
    said = planned(Parameters(environment="blind"), target, [notebook])
    done = Amounts.of(History.open(tmp_path / "history" / "C4.jsonl.gz"))
    assert (said.accounts, said.sockets, said.messages) == (done.accounts, done.sockets, done.messages)
    assert said.rows == 5 * said.accounts + 10 * (said.messages - 1)


def test_every_committed_case_has_its_amounts() -> None:
    for scenario in SCENARIOS.values():
        assert sum(case.amounts.get("accounts", 0) for case in scenario.declared) >= 2, scenario.id
        # What the database holds is read, and what is asked of a class stays here: nothing is sent for it.
        still = [case.id for case in scenario.declared if not case.amounts]
        assert scenario.id[0] == "E" or scenario.id == "G1" or still == ["S1.10"] * (scenario.id == "S1"), still


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"mode": "probe"}, "mode probe: "),
        ({"mode": "attack", "authorised_by": "the owner"}, ""),
        ({"accounts": [{"email": f"{name}@x.example", "password": "env:PATH"} for name in "ab"]}, "target.accounts"),
    ],
)
def test_costs_follow_from_what_the_parameters_allow(more: dict[str, Any], reason: str) -> None:
    from netra_probe.doctor.examination import State, cases_of, costs

    elsewhere = {"auth_url": "https://a.example", "backend_urls": ["https://b.example"], **more}
    state = State(lab=False, reached=True, people=True, sockets=True, runs=True)
    found = costs(cases_of(BLIND, all_notebooks()), Target.model_validate(elsewhere), state)
    # A target that is described by its addresses lacks surfaces and does not say where its classes are.
    reasons = {
        cost.reason for cost in found if not cost.reason.startswith(("the target has no", "the target's `components`"))
    }
    assert bool(reasons) == bool(reason)
    assert not reason or any(one.startswith(reason) for one in reasons)


# The command


def test_the_command_says_before_what_it_does_and_gives_scripts_their_json(tmp_path: Path) -> None:
    path = write_parameters(tmp_path)
    ended = netra_probe("doctor", "--parameters", str(path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr.startswith(
        "The doctor itself makes and tries: 2 accounts, 6 sockets and 4 messages; it removes"
    )
    assert ended.stdout.splitlines()[0] == "READY"
    assert max(map(len, ended.stdout.splitlines())) <= 110
    record = json.loads(called("doctor", "--parameters", str(path), "--json").stdout)
    assert (record["schema"], record["ready"], record["identities"], record["left"]) == (1, True, "token", [])
    assert record["missing"] == ["database", "cache", "operator"]
    assert record["run"]["accounts"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "stagin"], 'did you mean "staging"?'),
        (["--parameters", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_wrong_parameters_are_status_2(arguments: list[str], message: str) -> None:
    status, complaint = in_process("doctor", *arguments)
    assert status == 2
    assert message in complaint
