"""Findings are graded by their harm: one table says why a kind is a mere weakness, and everything else is red."""

from __future__ import annotations

import json

import pytest

from netra_probe.checkers import authorisation, canary, hygiene
from netra_probe.checkers.hygiene import RULES
from netra_probe.checkers.severity import HARMS, HYGIENE, ISOLATION, WEAKNESSES, severity_of
from netra_probe.checkers.verdict import Finding, Verdict
from netra_probe.history import actions

from .story import Story


def test_every_rule_of_hygiene_is_graded_with_a_reason() -> None:
    """A rule that nobody has graded would turn verdicts red without anybody having decided so."""
    assert {rule.kind for rule in RULES} <= WEAKNESSES.keys() | HARMS.keys()
    assert not WEAKNESSES.keys() & HARMS.keys()
    assert all({**WEAKNESSES, **HARMS}.values())


@pytest.mark.parametrize("kind", HARMS)
def test_what_harms_is_isolation_whichever_checker_sees_it(kind: str) -> None:
    assert severity_of(kind) == ISOLATION
    assert Finding(checker="H1", kind=kind, summary="", witness=(1,)).is_isolation_failure


def test_what_nobody_has_thought_about_is_not_graded_down() -> None:
    assert severity_of("something new") == ISOLATION
    assert severity_of("error shows a stack trace") == HYGIENE


@pytest.mark.parametrize("shape", [{"algorithm": "none"}, {"algorithm": "HS256", "known_key": True}])
def test_a_token_that_anybody_can_issue_is_red(shape: dict[str, object]) -> None:
    story = Story("alice")
    about = {"kind": "access token", "form": "jwt", "claims": "aud exp sub", **shape}
    story.write("ok", actions.TOKEN, user="alice", detail=about)
    story.get("alice", "/api/threads", [])
    judgement = hygiene()(story.operations)
    assert judgement.verdict is Verdict.FAIL
    (finding,) = [one for one in judgement.findings if one.is_isolation_failure]
    assert finding.kind in HARMS


def issued(story: Story, user: str, token: str) -> None:
    story.request(user, "POST", "/auth/login", {"access_token": token})


def test_another_users_token_in_an_answer_is_a_leak_and_ones_own_is_none() -> None:
    story = Story("alice", "bob")
    story.mint("alice")
    issued(story, "alice", "[jwt:0123abcd]")
    issued(story, "bob", "[jwt:4567abcd]")
    story.get("alice", "/auth/me", {"token": "[jwt:0123abcd]"})
    assert canary()(story.operations).findings == ()
    story.get("bob", "/api/config", {"last": "[jwt:0123abcd]"})
    story.get("bob", "/api/config", {"last": "[jwt:0123abcd]"})
    (finding,) = canary()(story.operations).findings
    assert (finding.kind, finding.victims, finding.recipients) == ("another user's credential", ("alice",), ("bob",))
    assert (finding.count, finding.is_isolation_failure) == (2, True)


def test_a_token_that_one_has_sent_may_come_back() -> None:
    story = Story("alice", "bob")
    story.mint("alice")
    issued(story, "alice", "[jwt:0123abcd]")
    story.request("bob", "POST", "/api/echo", {"text": "[jwt:0123abcd]"}, sent={"text": "[jwt:0123abcd]"})
    story.get("bob", "/api/threads", {"error": "[jwt:0123abcd]"}, 401, attempt="victim's token")
    assert canary()(story.operations).findings == ()


def test_a_write_into_another_users_thread_that_is_confirmed_is_red_though_the_owner_sees_no_change() -> None:
    """The owner's thread may not list its messages: the answer says where the message went."""
    story = Story("alice", "bob")
    story.own("alice", "thread", "t1")
    thread = {"id": "t1", "title": "Costs of the new cluster"}
    story.get("alice", "/api/threads/t1", thread)
    made = {"id": "m9", "thread_id": "t1"}
    story.attempt(
        "bob", "POST", "/api/threads/t1/messages", made, 201, sent={"content": "hello"}, owner="alice",
        object=("thread", "t1"),
    )  # fmt: skip
    story.get("alice", "/api/threads/t1", thread)
    findings = authorisation()(story.operations).findings
    assert [(one.kind, one.severity) for one in findings] == [("foreign write accepted", ISOLATION)]
    assert json.loads(story.operations[findings[0].witness[1]].payload) == made
