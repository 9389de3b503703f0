"""C7: after its end a credential is refused everywhere, and the sockets that were opened with it close."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_probe.checkers import Window, lifecycle
from netra_probe.checkers.verdict import Judgement, Verdict
from netra_probe.forgery import ATTEMPTS
from netra_probe.history.actions import ATTEMPTS_WITH_ENDED_TOKENS

from .story import Story

ME = {"email": "a@example.org"}


def ended(how: str = "logout", **detail: str) -> Story:
    """Alice works, on requests and on a socket; then her credential ends."""
    story = Story("alice", "bob")
    story.get("alice", "/auth/me", ME)
    story.connect("alice")
    if how == "logout":
        story.request("alice", "POST", "/auth/logout", {"status": "success"})
    else:
        story.write("ok", how, user="alice", detail=detail)
    story.wait(5)
    return story


def use(story: Story, status: int, answer: object = ME, **detail: str) -> None:
    story.get("alice", "/auth/me", answer, status, attempt="after the end", expect="refused", **detail)


def judge(story: Story) -> Judgement:
    return lifecycle()(story.operations)


@pytest.mark.parametrize("how", ["logout", "revoke", "expire", "disable"])
def test_a_credential_that_is_refused_and_a_socket_that_is_closed_pass(how: str) -> None:
    story = ended(how)
    story.closed("alice", 1008)
    use(story, 401)
    judgement = judge(story)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence == {
        "credentials ended": 1, "uses refused after the end": 1, "sockets closed after the end": 1,
    }  # fmt: skip


@pytest.mark.parametrize("code", [1008, 1000])
def test_a_socket_that_is_closed_before_the_logout_is_answered_counts_as_closed_by_it(code: int) -> None:
    story = Story("alice")
    story.get("alice", "/auth/me", ME)
    for name in ("ws-1", "ws-2"):
        story.connect("alice", name)
    story.closed("alice", 1008, "ws-1")  # for another reason, long ago
    call = story.begin("alice", "POST", "/auth/logout")
    story.closed("alice", code, "ws-2")
    story.complete(call, "ok", status=200, payload='{"status": "success"}')
    story.wait(5)
    use(story, 401)
    assert judge(story).evidence["sockets closed after the end"] == (code == 1008)


@pytest.mark.parametrize("status", [401, 200])
def test_a_session_that_is_logged_out_for_a_forgery_is_used_by_the_forgery(status: int) -> None:
    """Its logout names a credential of its own; the token is presented as ``revoked token``, beside many others."""
    story = Story("alice")
    story.write("ok", "revoke", user="alice", detail={"credential": "alice-2"})
    story.wait(5)
    for name, answer in (("unsigned", 401), ("revoked token", status)):
        story.get("alice", "/auth/me", ME, answer, attempt=name, expect="refused")
    judgement = judge(story)
    assert [found.kind for found in judgement.findings] == ["credential works after its end"] * (status == 200)
    assert not [doubt for doubt in judgement.doubts if "was not used afterwards" in doubt]


def test_forgeries_from_an_ended_token_are_the_declared_ones() -> None:
    made = {attempt.name for attempt in ATTEMPTS if "revoked" in attempt.needs}
    assert made == ATTEMPTS_WITH_ENDED_TOKENS


@pytest.mark.parametrize("how", ["logout", "revoke", "expire"])
def test_a_credential_that_still_works_is_a_finding(how: str) -> None:
    story = ended(how)
    story.closed("alice", 1008)
    use(story, 200)
    (finding,) = judge(story).findings
    assert finding.kind == "credential works after its end"
    assert finding.summary == f"alice's credential was accepted after {how} through GET /auth/me (1 answer)"
    again = lifecycle()([op for op in story.operations if op.index in {0, 1, *finding.witness}])
    assert [found.kind for found in again.findings] == [finding.kind]


def test_an_attempt_is_judged_by_the_request_inside_it() -> None:
    """What wraps the request has no body: it cannot say that a 200 means no."""
    story = ended()
    story.closed("alice", 1008)
    mark = {"attempt": "after the end", "expect": "refused"}
    wrapper = story.write("invoke", "attempt", surface="auth", user="alice", detail=mark)
    use(story, 200, {"valid": False, "error": "revoked"})
    story.complete(wrapper, "ok", status=200)
    assert judge(story).findings == ()


def test_a_200_that_says_no_is_a_refusal() -> None:
    story = ended()
    story.closed("alice", 1008)
    use(story, 200, {"valid": False, "error": "revoked"})
    assert judge(story).verdict is Verdict.PASS


def test_a_socket_that_goes_on_carrying_events_is_a_finding() -> None:
    story = ended("revoke")
    use(story, 401)
    story.receive("alice", {"type": "agent_started", "run_id": "r1", "payload": {}})
    story.receive("alice", {"type": "pong"})
    (finding,) = judge(story).findings
    assert finding.kind == "socket outlives its credential"
    assert finding.severity == "isolation"


def test_a_socket_that_stays_open_after_the_end_is_no_mere_weakness() -> None:
    story = ended("expire")
    use(story, 401)
    story.receive("alice", {"type": "pong"})
    (finding,) = judge(story).findings
    assert (finding.kind, finding.severity) == ("socket alive after the end", "isolation")


def test_the_grace_and_the_farewell_are_no_life_after_the_end() -> None:
    story = ended("revoke")
    story.time -= 4 * 10**9
    story.receive("alice", {"type": "agent_thinking", "run_id": "r1", "payload": {}})
    story.wait(4)
    story.receive("alice", {"type": "error_message", "error_code": "TOKEN_REVOKED"})
    story.closed("alice", 1008)
    use(story, 401)
    assert judge(story).verdict is Verdict.PASS


def test_sockets_of_others_and_sockets_with_another_credential_go_on() -> None:
    story = Story("alice", "bob")
    story.get("alice", "/auth/me", ME, credential="phone")
    story.connect("alice", "ws-1", credential="phone")
    story.connect("alice", "ws-2", credential="desk")
    story.connect("bob")
    story.write("ok", "revoke", user="alice", detail={"credential": "phone"})
    story.wait(5)
    story.closed("alice", 1008, "ws-1")
    story.receive("alice", {"type": "pong"}, "ws-2")
    story.receive("bob", {"type": "pong"})
    use(story, 401, credential="phone")
    use(story, 200, credential="desk")
    assert judge(story).verdict is Verdict.PASS


def test_logging_in_again_is_a_new_beginning() -> None:
    story = ended()
    story.closed("alice", 1008)
    use(story, 401)
    story.request("alice", "POST", "/auth/login", {"access_token": "[jwt:2]"})
    story.get("alice", "/auth/me", ME)
    story.connect("alice", "ws-2")
    story.receive("alice", {"type": "agent_started", "run_id": "r2", "payload": {}}, "ws-2")
    assert judge(story).verdict is Verdict.PASS


# What would prove nothing


def test_without_an_end_there_is_doubt() -> None:
    story = Story("alice")
    story.get("alice", "/auth/me", ME)
    assert judge(story).doubts == ("no credential was ended",)


def test_an_end_without_use_before_or_after_proves_nothing() -> None:
    unused = Story("alice")
    unused.write("ok", "revoke", user="alice")
    assert len(judge(unused).doubts) == 2
    too_early = Story("alice")
    too_early.get("alice", "/auth/me", ME)
    too_early.write("ok", "revoke", user="alice")
    use(too_early, 200)
    judgement = judge(too_early)
    assert judgement.findings == ()
    assert judgement.doubts == ("revoke of alice (#3): the credential was not used afterwards",)


def test_a_socket_that_the_probe_itself_closes_says_nothing() -> None:
    story = ended()
    use(story, 401)
    story.closed("alice", 1000)
    assert "alice/ws-1 neither was closed nor gave any sign" in judge(story).doubts[0]


def test_what_lies_before_the_window_is_not_accused_again() -> None:
    story = ended()
    use(story, 200)
    assert lifecycle()(story.operations, Window(start=len(story.operations))).findings == ()


@given(grace=st.floats(0, 10), late=st.floats(0.01, 20))
def test_only_what_comes_after_the_grace_counts(grace: float, late: float) -> None:
    story = Story("alice")
    story.get("alice", "/auth/me", ME)
    end = story.write("ok", "revoke", user="alice")
    story.time = end.time + int(late * 1e9) - 1_000_000
    use(story, 200)
    found = lifecycle(grace=grace)(story.operations).findings
    assert bool(found) == (int(late * 1e9) >= int(grace * 1e9))


def test_the_options_rebuild_the_checker() -> None:
    assert dict(lifecycle(grace=7.5).options) == {"grace": 7.5}
    assert dict(lifecycle().options) == {}
