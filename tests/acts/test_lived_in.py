"""Where people live: nothing of theirs is changed, what is made is gone again or named, an ill target is let be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployments import netra_probe
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from strange_platform import HARMFUL, LivedInPlatform, served

from netra_probe import Investigation, TargetError, Verdict, investigate, workloads
from netra_probe.checkers import authorisation, canary
from netra_probe.checkers.judging import judge_history
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.replies import Unreachable
from netra_probe.detection.matrix import Report, Trial
from netra_probe.detection.trials import not_cleaned
from netra_probe.display.exploration import NotTried
from netra_probe.doctor import plan_operations
from netra_probe.history.secret import Secret
from netra_probe.history.store import History
from netra_probe.investigation.leftovers import sweep_target
from netra_probe.target.deployment import Target
from netra_probe.target.parameters import Parameters

PEOPLE = {"a@example.org": "correct horse battery", "b@example.org": "staple the horses"}
ACCOUNTS = [{"email": email, "password": Secret(password)} for email, password in PEOPLE.items()]


@asynccontextmanager
async def living(platform: LivedInPlatform, **changes: Any) -> AsyncIterator[tuple[Investigation, list[str]]]:
    """An investigation as two people who live there; their user ids."""
    ids = [platform.move_in(email, password) for email, password in PEOPLE.items()]
    with served(platform) as url:
        values = {"auth_url": url, "backend_urls": [url], "accounts": ACCOUNTS, **changes}
        probe = await investigate("D3", users=2, target=Target.model_validate(values))
        try:
            yield probe, ids
        finally:
            await probe.close()


def sent(platform: LivedInPlatform) -> set[str]:
    return {f"{method} {path}" for method, path, _ in platform.served}


HARM = {f"{method} {path}" for method, path in HARMFUL}


@pytest.mark.parametrize("mode", ["probe", "attack"])
async def test_what_people_had_is_the_same_to_the_byte_and_what_was_made_is_gone(mode: str) -> None:
    platform = LivedInPlatform()
    async with living(platform, mode=mode) as (probe, ids):
        before = platform.snapshot(*ids)
        kept = await workloads.create_and_read_all(probe)
        assert platform.snapshot(*ids) != before
        deleted = await workloads.delete_all(probe)
        await workloads.trespass(probe, owner=probe.users[0], intruder=probe.users[1])
        cleaned = await probe.close()
        assert platform.snapshot(*ids) == before
    assert (cleaned.verdict, cleaned.left) == (Verdict.PASS, ())
    assert kept.counts["made"] == kept.counts["read back"] == 6
    assert deleted.counts["deleted"] == 6
    assert not sent(platform) & HARM
    assert {"POST /api/v1/chats/new", "DELETE /api/v1/notes/{note_id}"} <= sent(platform)
    record = probe.result().coverage
    assert record == judge_history(History.open(probe.history.path)).coverage
    withheld = record["operations"]["withheld"]
    assert set(withheld) >= HARM and not set(withheld) & sent(platform)
    assert withheld["POST /api/v1/keys"] == "accounts that existed before are read and never changed"
    shown = NotTried(record)
    assert shown.headline == "Nothing was explored systematically"
    assert any("POST /api/v1/keys" in line for line in shown.lines)
    assert "not searched: routes that no description lists" in shown.lines
    assert ("PUT /api/v1/folders/{folder_id}" in sent(platform)) is (mode == "attack")


async def test_nothing_that_an_act_sends_gets_by_and_the_case_says_so() -> None:
    platform = LivedInPlatform()
    async with living(platform) as (probe, ids):
        before, alice = platform.snapshot(*ids), probe.users[0]
        chat = platform.things("chats")[0]
        for method, path in HARMFUL:
            filled = {"chat_id": chat, "key_id": platform.things("keys")[0], "user_id": ids[0]}
            assert isinstance(await alice.rest.http.request(method, path, path=filled, json={}), Unreachable), path
        for method in ("PUT", "DELETE"):
            refused = await alice.rest.http.request(method, "/api/v1/chats/{chat_id}", path={"chat_id": chat}, json={})
            assert isinstance(refused, Unreachable)
            assert "was not made by this run" in refused.reason
        assert platform.snapshot(*ids) == before
        assert not sent(platform) & HARM
        case = probe.check("D3.1", authorisation())
        assert case.verdict is Verdict.NOT_APPLICABLE
        assert "PUT /api/v1/profile is not sent: accounts that existed before are read and never" in case.result.reason


async def test_own_accounts_need_mode_attack_for_what_is_theirs_as_a_whole() -> None:
    for mode, reached in (("probe", False), ("attack", True)):
        platform = LivedInPlatform()
        async with living(platform, accounts=(), mode=mode) as (probe, _):
            reply = await probe.users[0].rest.http.request("PUT", "/api/v1/profile", json={"name": "x"})
        assert bool(reply) is reached


async def test_what_the_owner_allows_is_sent_and_what_is_never_to_be_is_not() -> None:
    platform = LivedInPlatform()
    allow = ["POST /api/v1/jobs", "* /api/v1/configs/**"]
    async with living(platform, allow=allow, never=["POST /api/v1/folders/"]) as (probe, ids):
        before = platform.snapshot(*ids)
        await workloads.create_and_read_all(probe)
        cleaned = await probe.close()
        after = json.loads(platform.snapshot(*ids))
    assert {"POST /api/v1/jobs", "POST /api/v1/configs/models"} <= sent(platform)
    assert "POST /api/v1/folders/" not in sent(platform)
    jobs = sorted(f"job {id[:8]}… of {name}" for id_, name in zip(ids, ("alice", "bob"), strict=True)
                  for id in after[id_]["jobs"])  # fmt: skip
    assert cleaned.left == tuple(f"{job} (nothing deletes it)" for job in jobs)
    assert cleaned.verdict is Verdict.NOT_APPLICABLE
    for state in (after, old := json.loads(before)):
        for id in ids:
            state[id].pop("jobs"), state[id].pop("shared")
    assert after == old


async def test_a_deletion_that_deletes_nothing_is_found_with_the_first_and_no_second_is_made() -> None:
    platform = LivedInPlatform(forgetful=True)
    async with living(platform) as (probe, _):
        old = set(platform.things("notes"))
        await workloads.create_and_read_all(probe)
        (note,) = set(platform.things("notes")) - old
        cleaned = await probe.close()
    assert (cleaned.verdict, [item[:13] for item in cleaned.left]) == (Verdict.FAIL, [f"note {note[:8]}"])


async def test_who_cleans_up_waits_when_told_to_and_logs_in_again() -> None:
    platform = LivedInPlatform(limit=2)
    async with living(platform) as (probe, ids):
        before = platform.snapshot(*ids)
        await workloads.create_and_read_all(probe)
        platform.tokens.clear()
        cleaned = await probe.close()
        assert platform.snapshot(*ids) == before
    assert (cleaned.verdict, cleaned.left) == (Verdict.PASS, ())
    assert any(operation.status == 429 for operation in probe.history)
    assert platform.hasty == []


async def test_what_a_killed_process_has_left_in_an_account_is_noted_before_and_swept(tmp_path: Path) -> None:
    platform = LivedInPlatform()
    ids = [platform.move_in(email, password) for email, password in PEOPLE.items()]
    before = platform.snapshot(*ids)
    with served(platform) as url:
        target = Target.model_validate({"auth_url": url, "backend_urls": [url], "accounts": ACCOUNTS})
        probe = await investigate("D3", users=2, target=target)
        await workloads.create_and_read_all(probe)
        assert probe.wire.gate is not None
        journal = probe.wire.gate.belongings.journal
        assert journal is not None
        head, *lines = journal.path.read_bytes().splitlines()
        assert {json.loads(line).get("kind") for line in lines} >= {"chat", "folder", "note"}
        # Its process dies.
        journal.path.write_bytes(b"\n".join([head.replace(b'"pid":', b'"pid":9999'), *lines, b'{"number":']))
        assert await sweep_target(target, Ledger()) == ["6 thing(s) of a@example.org, b@example.org"]
        assert platform.snapshot(*ids) == before
        assert not journal.path.exists()
        await probe.close()


async def test_a_target_that_stops_answering_is_let_be_and_the_step_is_named() -> None:
    platform = LivedInPlatform(stuck=9.0)
    async with living(platform, allow=["POST /api/v1/index/rebuild"]) as (probe, _):
        alice, bob = probe.users
        rebuilding = probe.start([alice.rest.http.request("POST", "/api/v1/index/rebuild", json={})])
        assert probe.wire.gate is not None
        watch = probe.wire.gate.watch
        assert watch is not None
        while not watch.reason:
            await bob.rest.http.request("GET", "/api/v1/chats/")
        asked = len(platform.served)
        step = "the target stopped answering: nothing answered since POST /api/v1/index/rebuild by alice"
        assert watch.reason == step
        reply = await bob.rest.http.request("GET", "/api/v1/chats/")
        assert platform.rebuilt.is_set()
        assert reply
        assert len(platform.served) <= asked + 6
        await rebuilding
        again = await bob.rest.http.request("POST", "/api/v1/index/rebuild", json={})
        assert isinstance(again, Unreachable)
        case = probe.check("D3.1", authorisation())
        assert (case.verdict, case.result.reason.partition(";")[0]) == (Verdict.INCONCLUSIVE, step)
        assert (await probe.close()).verdict is Verdict.PASS


async def test_a_limit_that_the_run_itself_has_reached_is_named_at_its_step() -> None:
    platform = LivedInPlatform(limit=1)
    async with living(platform) as (probe, _):
        await workloads.create_and_read_all(probe)
        assert probe.notes.limits == []
        alice = probe.users[0]
        assert probe.wire.gate is not None
        for one in [one for one in probe.wire.gate.belongings.left if one.owner == "alice"][:2]:
            action = f"DELETE {probe.rules.deletion(one.route)}"
            reply = await alice.rest.http.request(*action.split(), path={f"{one.kind}_id": one.id})
            if getattr(reply, "status", 0) == 429:
                break
        assert probe.notes.limits == [f"the target asked alice to slow down (429): {action} was not served"]
        crowded = await alice.rest.http.request("GET", "/api/v1/crowded")
        assert not crowded
        assert probe.notes.limits[1] == (
            "GET /api/v1/crowded by alice: the target has no connection left in a pool (503), "
            "and it was this run that asked"
        )


async def test_a_lockout_and_a_breaker_that_the_run_itself_has_caused_are_named_at_their_steps() -> None:
    platform = LivedInPlatform(lockout=3)
    async with living(platform) as (probe, _):
        alice, bob = probe.users
        for _ in range(3):
            guess = await bob.auth.login(email=alice.email, password=Secret("a guess of bob's"))
            assert getattr(guess, "status", 0) == 401
        assert probe.notes.limits == []
        assert not await alice.login()
        for _ in range(3):
            await bob.rest.http.request("GET", "/api/v1/guarded")
        asked = "and it was this run that asked"
        locked = f"has locked an account or an address out (423) after 3 refusal(s), {asked}"
        assert probe.notes.limits == [
            f"POST /auth/login by alice: the target {locked}",
            f"GET /api/v1/guarded by bob: the target has opened a circuit breaker (503), {asked}",
        ]
        # What comes through later is no limit any more; what does not leaves the case open.
        platform.breaker = 1
        assert await bob.rest.http.request("GET", "/api/v1/guarded")
        case = probe.check("D3.1", authorisation())
        assert case.verdict is Verdict.INCONCLUSIVE
        assert case.result.reason == f"POST /auth/login by alice: the target {locked}"
        platform.wrong.clear()
        assert await alice.login()
        assert probe.notes.limits == []


async def test_one_service_given_as_both_is_walked_through_and_reported_once() -> None:
    platform = LivedInPlatform()
    async with living(platform, accounts=(), mode="attack") as (probe, _):
        alice, bob = probe.users
        await workloads.create_and_read_all(probe)
        await workloads.trespass(probe, owner=alice, intruder=bob)
        surfaces: dict[str, set[str]] = {}
        for operation in probe.history:
            if operation.type == "invoke" and operation.action.startswith("GET /"):
                surfaces.setdefault(operation.action, set()).add(operation.surface)
        surfaces.pop("GET /openapi.json")
        assert len(surfaces) > 5
        assert {action: found for action, found in surfaces.items() if len(found) > 1} == {}
        case = probe.check("D3.1", authorisation(), canary())
        told = [(finding.checker, finding.kind, finding.summary) for finding in case.result.findings]
        assert len(told) == len(set(told))
        (leak,) = {finding.checker for finding in case.result.findings if finding.is_isolation_failure}
        assert leak


async def test_the_plan_says_what_is_sent_and_what_is_not_and_why() -> None:
    platform = LivedInPlatform()
    with served(platform) as url:
        values = {"auth_url": url, "backend_urls": [url], "accounts": ACCOUNTS, "allow": ["POST /api/v1/jobs"]}
        target = Target.model_validate({**values, "public": ["GET /api/v1/users/search"]})
        plan = await plan_operations(Parameters(environment="blind"), target)
    assert platform.served == []
    told = {f"{one.method} {one.path}": one for one in plan.operations}
    assert {name for name in HARM if told[name].sent} == {"POST /api/v1/jobs"}
    assert told["POST /api/v1/jobs"].why == "target.allow: POST /api/v1/jobs"
    assert told["PUT /api/v1/users/settings"].why == "accounts that existed before are read and never changed"
    assert told["GET /api/v1/index/rebuild"].why == 'a GET that may do something ("rebuild"): name it in target.allow'
    assert told["POST /api/v1/chats/new"].why == "makes what DELETE /api/v1/chats/{chat_id} deletes"
    assert told["GET /api/v1/users/search"].public
    assert "  POST /auth/login " in plan.text().partition("A run will not send")[0]


async def test_a_page_of_a_front_end_or_a_log_in_is_no_answer_and_a_missing_route_is_named() -> None:
    for status, said in (
        (200, "POST /auth/register was answered with an HTML page, which is no answer of an API"),
        (302, "POST /auth/register was answered with a redirect to sso.example/in, which is no answer of an API"),
        (404, "no such route: POST /auth/register (404)"),
        (405, "no such route: POST /auth/register (405)"),
    ):
        page = FastAPI(openapi_url=None)

        @page.api_route("/{rest:path}", methods=["GET", "POST"])
        async def answer(rest: str, status: int = status) -> Response:
            there = {"location": "https://sso.example/in?next=x"} if status == 302 else None
            return HTMLResponse("<!doctype html><html>the front end</html>", status, there)

        platform = LivedInPlatform()
        platform.app = page
        with served(platform) as url, pytest.raises(TargetError) as raised:
            await investigate("D3", users=2, target={"auth_url": url, "backend_urls": [url]})
        assert said in str(raised.value)
        assert "target.auth_url" in str(raised.value)


async def test_without_a_socket_what_wants_one_is_not_applicable_and_a_promised_one_is_missed() -> None:
    for more, verdict in (({}, Verdict.NOT_APPLICABLE), ({"generator": "chat"}, Verdict.INCONCLUSIVE)):
        async with living(LivedInPlatform(), **more) as (probe, _):
            async with probe.sockets():
                await probe.users[0].ask("Where do I overspend?")
            assert probe.check("D3.1", canary()).verdict is verdict


async def test_what_is_declared_public_is_no_leak_and_a_recheck_agrees() -> None:
    for public, verdict in ((["GET /api/v1/users/search"], Verdict.PASS), ([], Verdict.FAIL)):
        async with living(LivedInPlatform(), accounts=(), public=public) as (probe, _):
            alice, bob = probe.users
            for user in (alice, bob):
                secret = user.canary("note", "rest")
                await user.rest.http.request("POST", "/api/v1/notes", json={"text": secret})
                await user.rest.http.request("GET", "/api/v1/notes")
                assert probe.wire.gate is not None
                probe.rules.tried["POST /api/v1/notes"] = True
            await bob.rest.http.request("GET", "/api/v1/users/search")
            case = probe.check("D3.1", canary())
            assert case.verdict is verdict, case.result.reason
        (again,) = (case for case in judge_history(History.open(probe.history.path)).cases if case.was_run)
        assert (again.id, again.verdict) == ("D3.1", verdict)


def test_a_clean_up_that_fails_counts_as_seen_in_detection() -> None:
    seen = not_cleaned("C4", 2.0)
    record = Report(trials=(Trial(fault="X1", reached=1, triggered=1, seen=(seen,)),)).as_record()
    assert record["detection_rate"]["hits"] == 1
    assert (record["faults"][0]["case"], record["faults"][0]["scenario"]) == ("C4.clean-up", "C4")


@pytest.mark.nightly
def test_a_notebook_where_people_live_changes_nothing_of_theirs(tmp_path: Path) -> None:
    platform = LivedInPlatform()
    ids = [platform.move_in(email, password) for email, password in PEOPLE.items()]
    before = platform.snapshot(*ids)
    variables = {f"LIVED_IN_{number}": password for number, password in enumerate(PEOPLE.values())}
    accounts = [{"email": email, "password": f"env:LIVED_IN_{number}"} for number, email in enumerate(PEOPLE)]
    with served(platform) as url:
        # Everybody finds everybody there: that is declared, else it is the finding that it would be elsewhere.
        public = ["GET /api/v1/users/search"]
        target = {"auth_url": url, "backend_urls": [url], "accounts": accounts, "public": public}
        path = tmp_path / "blind.yaml"
        path.write_text(yaml.safe_dump({"environment": "blind", "target": target, "users": 2, "rounds": 1}))
        ended = netra_probe("run", "D3", "--parameters", str(path), "--output", str(tmp_path / "run"), **variables)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert platform.snapshot(*ids) == before
    assert results["cleanup"] == {"verdict": "pass", "left": []}, ended.stdout
    assert ended.returncode in (0, 3), ended.stdout
    assert not sent(platform) & HARM
