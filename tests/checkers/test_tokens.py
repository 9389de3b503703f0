"""C6: credentials are judged by who the target says one is, and a refusal counts only while valid ones work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netra_probe.checkers import Window, tokens
from netra_probe.checkers.verdict import Verdict
from netra_probe.forgery import ATTEMPTS, SELF

from .story import Story


def playbook_story(*, accepted: dict[str, str] | None = None, surfaces: tuple[str, ...] = ("auth", "rest")) -> Story:
    """Bob tries the whole playbook on every surface; ``accepted`` says for whom some attempts were taken."""
    story = Story("alice", "bob")
    for surface in surfaces:
        story.control("bob", "bob", surface)
        for attempt in ATTEMPTS:
            who = (accepted or {}).get(attempt.name, "bob" if attempt.expect == SELF else None)
            story.forge("bob", attempt.name, who, surface, expect=attempt.expect)
        story.control("bob", "bob", surface)
    return story


def test_a_target_that_refuses_every_forgery_and_knows_its_users_passes() -> None:
    judgement = tokens()(playbook_story().operations)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["forged credentials"] == 2 * len(ATTEMPTS)


@given(name=st.sampled_from([attempt.name for attempt in ATTEMPTS]), surface=st.sampled_from(["auth", "websocket"]))
def test_every_attempt_that_is_taken_for_the_victim_is_found_by_name(name: str, surface: str) -> None:
    story = playbook_story(accepted={name: "alice"}, surfaces=(surface,))
    (finding,) = tokens()(story.operations).findings
    assert finding.kind == "forged credential accepted"
    assert (
        finding.summary
        == f'bob with a forged credential was taken for alice over {surface} through "{name}" (1 attempt)'
    )
    assert (finding.victims, finding.recipients) == (("alice",), ("bob",))
    kept = {0, 1, *finding.witness}
    again = tokens()([operation for operation in story.operations if operation.index in kept])
    assert again.findings == (finding,)


def test_an_expired_token_that_still_works_harms_its_owner() -> None:
    (finding,) = tokens()(playbook_story(accepted={"expired token": "bob"}, surfaces=("rest",)).operations).findings
    assert finding.summary == (
        'bob with a forged credential was taken for themselves over rest through "expired token" (1 attempt)'
    )
    assert "OWASP ASVS 5.0 9.2.1" in finding.explanation


def test_a_valid_token_that_is_answered_as_another_is_a_finding() -> None:
    story = Story("alice", "bob")
    story.control("alice", "alice")
    story.forge("bob", "alg none", None)
    story.control("bob", "alice")
    story.control("bob", "bob")
    (finding,) = tokens()(story.operations).findings
    assert finding.kind == "valid credential answered as another"
    assert (finding.victims, finding.recipients) == (("alice",), ("bob",))


def test_a_login_that_answers_with_another_account_is_a_finding() -> None:
    story = Story("alice", "bob")
    from_story = {"user_id": "", "access_token": "[jwt:1]"}
    story.request("bob", "POST", "/auth/login", {**from_story, "user_id": _id(story, "alice")})
    kinds = {finding.kind for finding in tokens()(story.operations).findings}
    assert kinds == {"valid credential answered as another"}


def test_a_refresh_token_works_once() -> None:
    story = Story("alice")
    body, answer = {"refresh_token": "[refresh-token:00c0ffee]"}, {"access_token": "[jwt:1]"}
    first = story.begin("alice", "POST", "/auth/refresh", body)
    second = story.begin("alice", "POST", "/auth/refresh", body)
    for call in (first, second):
        story.complete(call, "ok", status=200, payload='{"access_token":"[jwt:1]"}')
    (finding,) = tokens()(story.operations).findings
    assert finding.kind == "single-use credential accepted twice"
    story = Story("alice")
    story.request("alice", "POST", "/auth/refresh", answer, sent=body)
    story.request("alice", "POST", "/auth/refresh", {"detail": "used"}, status=401, sent=body)
    story.request("alice", "POST", "/auth/refresh", answer, sent={"refresh_token": "[refresh-token:0badcafe]"})
    assert tokens()(story.operations).findings == ()


def test_a_ticket_marked_as_single_use_is_granted_once() -> None:
    story = Story("alice", "bob")
    story.control("bob", "bob", "websocket")
    for who in ("bob", None):
        story.forge("bob", "ticket", who, "websocket", single_use="ticket 1")
    assert tokens()(story.operations).verdict is Verdict.PASS
    story.forge("alice", "ticket", "bob", "websocket", single_use="ticket 1")
    (finding,) = tokens()(story.operations).findings
    assert finding.summary == "ticket 1 was accepted 2 times, each time for bob"


# What would prove nothing


def test_without_forgeries_there_is_doubt() -> None:
    story = Story("bob")
    story.control("bob", "bob")
    assert tokens()(story.operations).doubts == ("no forged credential was tried",)


def test_refusals_prove_nothing_without_a_valid_token_on_the_same_surface_and_in_the_same_phase() -> None:
    story = Story("bob")
    story.control("bob", "bob", "auth")
    story.forge("bob", "alg none", None, "auth")
    story.forge("bob", "alg none", None, "websocket")
    story.control("bob", "bob", "rest", phase="before")
    story.forge("bob", "alg none", None, "rest", phase="after")
    doubts = tokens()(story.operations).doubts
    assert len(doubts) == 2
    assert doubts[0].startswith("rest (after): no valid credential was accepted")
    assert doubts[1].startswith("websocket: no valid credential was accepted")


def test_a_valid_token_refused_after_the_forgeries_means_that_one_is_locked_out() -> None:
    story = Story("bob")
    story.control("bob", "bob")
    story.forge("bob", "alg none", None)
    story.control("bob", None)
    judgement = tokens()(story.operations)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "locked out" in judgement.doubts[0]


def test_an_attempt_that_goes_unanswered_is_no_refusal() -> None:
    story = Story("bob")
    story.control("bob", "bob")
    call = story.write("invoke", "attempt", user="bob", surface="rest", detail={"attempt": "jku", "expect": "refused"})
    story.complete(call, "info")
    judgement = tokens()(story.operations)
    assert "1 attempt went unanswered (jku)" in judgement.doubts[1]


def test_what_lies_before_the_window_is_not_accused_again() -> None:
    story = playbook_story(accepted={"alg none": "alice"})
    assert tokens()(story.operations, Window(start=len(story.operations))).findings == ()


def _id(story: Story, user: str) -> str:
    return next(op.ids["user_id"] for op in story.operations if op.action == "principal" and op.user == user)
