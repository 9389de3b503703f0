"""C5: users × operations × objects, judged by what answers give away and by what the owner reads afterwards."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netra_probe.checkers import Window, authorisation
from netra_probe.checkers.verdict import Finding, Judgement, Verdict

from .story import Story, user_id

THREAD = {"id": "t1", "object": "thread", "title": "Costs of the new cluster", "metadata": {"status": "active"}}
FORBIDDEN = {"detail": "not yours"}
PATH = "/api/threads/t1"


def story_of_alice() -> Story:
    """Alice has a thread and reads it."""
    story = Story("alice", "bob")
    story.own("alice", "thread", "t1")
    story.get("alice", PATH, THREAD)
    return story


def judge(story: Story, **options: Any) -> Judgement:
    return authorisation(**options)(story.operations)


def only(story: Story) -> Finding:
    (finding,) = judge(story).findings
    return finding


def bob(story: Story, method: str, answer: object, status: int, sent: object = None, path: str = PATH) -> None:
    story.attempt("bob", method, path, answer, status, owner="alice", object=("thread", "t1"), sent=sent)


# Reading


def test_a_refused_read_with_the_owners_control_passes() -> None:
    story = story_of_alice()
    bob(story, "GET", FORBIDDEN, 403)
    judgement = judge(story)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["foreign attempts"] == judgement.evidence["attempts with positive control"] == 1


def test_a_foreign_object_that_is_shown_is_a_finding_with_its_control_as_witness() -> None:
    story = story_of_alice()
    bob(story, "GET", THREAD, 200)
    finding = only(story)
    assert (finding.kind, finding.victims, finding.recipients) == ("foreign read", ("alice",), ("bob",))
    assert finding.severity == "isolation"
    assert finding.witness == (3, 4, 5, 6)
    again = authorisation()([story.operations[index] for index in (0, 1, 2, *finding.witness)])
    assert again.findings == (finding,)


def test_a_secret_of_the_owner_in_the_answer_convicts_even_without_a_control() -> None:
    story = Story("alice", "bob")
    secret = story.mint("alice")
    bob(story, "GET", {"text": secret}, 200)
    assert only(story).kind == "foreign read"


def test_an_echo_of_what_one_has_sent_is_no_leak() -> None:
    story = story_of_alice()
    bob(story, "GET", {"thread_id": "t1", "messages": []}, 200)
    (finding,) = judge(story).findings
    assert (finding.kind, finding.severity) == ("not refused", "hygiene")


def test_what_everybody_gets_is_no_leak() -> None:
    story = story_of_alice()
    common = {"object": "thread", "service": "netra-backend"}
    story.get("alice", PATH, {**THREAD, **common})
    story.own("bob", "thread", "t2")
    story.get("bob", "/api/threads/t2", {"id": "t2", "title": "Something else altogether", **common})
    bob(story, "GET", {"object": "thread", "service": "netra-backend"}, 200)
    assert [finding.kind for finding in judge(story).findings] == ["not refused"]


@pytest.mark.parametrize("reads", [True, False])
def test_what_is_said_to_a_tool_that_only_looks_up_is_nothing_written(reads: bool) -> None:
    story = story_of_alice()
    story.request("alice", "POST", "/api/tools/execute", THREAD, object={"kind": "thread", "id": "t1"})
    mark = {"attempt": "foreign id", "object": {"kind": "thread", "id": "t1"}, "owner": "alice", "expect": "refused"}
    said = {"tool_name": "recent_messages", "thread_id": "t1"}
    marked = {**mark, **({"reads": True} if reads else {})}
    story.request("bob", "POST", "/api/tools/execute", FORBIDDEN, 403, sent=said, **marked)
    # A run of hers has used the tool since.
    story.get("alice", PATH, {**THREAD, "steps": [{"tool": "recent_messages"}]})
    assert bool(judge(story).findings) is not reads
    assert not judge(story).doubts


def test_what_one_got_from_a_route_before_is_ones_own_also_when_the_route_does_something_else_later() -> None:
    story = story_of_alice()
    own = {"service": "model-inference", "note": "seeded for everybody"}
    for user, id in (("alice", "t1"), ("bob", "t2")):
        aim = {"kind": "thread", "id": id}
        story.request(user, "POST", "/api/tools/execute", own, sent={"tool_name": "spend_summary"}, object=aim)
    story.attempt(
        "bob", "POST", "/api/tools/execute", own, 200, owner="alice", object=("thread", "t1"), expect="bob",
        sent={"tool_name": "spend_summary", "thread_id": "t1"},
    )  # fmt: skip
    story.request("bob", "POST", "/api/tools/execute", {"name": "Bob the Builder"}, sent={"tool_name": "user_profile"})
    story.get("alice", PATH, THREAD)
    assert not judge(story).findings


@pytest.mark.parametrize("body", [{"success": False, "error": "no"}, {"valid": False}])
def test_a_refusal_in_a_200_is_a_refusal(body: object) -> None:
    story = story_of_alice()
    bob(story, "GET", body, 200)
    assert judge(story).verdict is Verdict.PASS


def test_a_refusal_as_server_error_is_a_defect_of_hygiene() -> None:
    story = story_of_alice()
    bob(story, "GET", {"detail": "Failed: 403: Access denied"}, 500)
    assert (only(story).kind, only(story).severity) == ("refusal as server error", "hygiene")


def test_an_answer_without_credentials_is_a_finding() -> None:
    story = story_of_alice()
    story.attempt("bob", "GET", "/api/threads", [THREAD], 200, owner=None, object=None, name="no token")
    assert only(story).kind == "answered without credentials"


# A claimed identity


def test_a_claimed_user_id_that_is_honoured_is_a_finding() -> None:
    story = story_of_alice()
    story.get("alice", "/api/threads", [THREAD])
    story.get("bob", "/api/threads", [])
    story.attempt("bob", "GET", "/api/threads", [THREAD], 200, owner="alice", object=None, name="user_id in query",
                  expect="bob")  # fmt: skip
    assert only(story).kind == "foreign read"


def test_a_claimed_user_id_that_is_ignored_is_in_order() -> None:
    story = story_of_alice()
    story.get("alice", "/api/threads", [THREAD])
    story.get("bob", "/api/threads", [])
    story.attempt("bob", "GET", "/api/threads", [], 200, owner="alice", object=None, name="user_id in query",
                  expect="bob")  # fmt: skip
    assert judge(story).verdict is Verdict.PASS


def test_what_is_written_in_another_name_is_seen_by_the_one_who_is_named() -> None:
    story = story_of_alice()
    story.request("alice", "POST", "/api/threads", THREAD, 201)
    story.get("alice", "/api/threads", [THREAD])
    body = {"title": "planted by bob", "user_id": user_id("alice")}
    story.attempt("bob", "POST", "/api/threads", {"id": "t9"}, 201, owner="alice", object=None, sent=body,
                  name="user_id in body", expect="bob")  # fmt: skip
    story.get("alice", "/api/threads", [THREAD, {"id": "t9", "title": "planted by bob"}])
    assert only(story).kind == "foreign write"


# Writing


def test_a_refused_write_that_left_nothing_passes() -> None:
    story = story_of_alice()
    story.request("alice", "PUT", PATH, THREAD, sent={"title": "Costs of the new cluster"})
    bob(story, "PUT", FORBIDDEN, 403, sent={"title": "taken over"})
    story.get("alice", PATH, THREAD)
    judgement = judge(story)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["re-reads"] == 1


def test_a_write_is_judged_by_what_the_owner_reads_and_not_by_its_status() -> None:
    for status, kind in ((200, "foreign write"), (403, "refused write took effect"), (500, "foreign write")):
        story = story_of_alice()
        bob(story, "PUT", {"detail": ""}, status, sent={"title": "taken over"})
        story.get("alice", PATH, {**THREAD, "title": "taken over"})
        finding = only(story)
        assert (finding.kind, finding.severity) == (kind, "isolation")
        assert "the owner then read what bob had written (title)" in finding.explanation


def test_a_write_that_is_answered_with_success_and_changed_nothing_is_hygiene() -> None:
    story = story_of_alice()
    bob(story, "PUT", {"ok": True}, 200, sent={"title": "taken over"})
    story.get("alice", PATH, THREAD)
    finding = only(story)
    assert (finding.kind, finding.severity) == ("not refused", "hygiene")
    assert "the owner sees no change" in finding.explanation


def test_a_change_that_the_owner_made_is_not_the_attackers() -> None:
    story = story_of_alice()
    bob(story, "PUT", FORBIDDEN, 403, sent={"title": "taken over"})
    story.request("alice", "PUT", PATH, THREAD, sent={"title": "renamed by alice"})
    story.get("alice", PATH, {**THREAD, "title": "renamed by alice"})
    assert judge(story).verdict is Verdict.PASS


def test_an_object_that_is_gone_after_a_foreign_delete_was_deleted() -> None:
    story = story_of_alice()
    bob(story, "DELETE", "", 204)
    story.get("alice", PATH, {"detail": "no such thread"}, 404)
    assert only(story).kind == "foreign write"


def test_an_object_that_its_owner_deleted_is_gone_for_that_reason() -> None:
    story = story_of_alice()
    bob(story, "DELETE", FORBIDDEN, 403)
    story.get("alice", PATH, THREAD)
    story.request("alice", "DELETE", PATH, "", 204)
    story.get("alice", PATH, {"detail": "no such thread"}, 404)
    assert judge(story).verdict is Verdict.PASS


def test_a_message_in_a_foreign_thread_is_found_in_the_owners_list() -> None:
    story = story_of_alice()
    messages = f"{PATH}/messages"
    story.get("alice", messages, [{"content": "where do I overspend"}])
    bob(story, "POST", {"id": "m2"}, 201, sent={"content": "hello from bob"}, path=messages)
    story.get("alice", messages, [{"content": "where do I overspend"}, {"content": "hello from bob"}])
    assert only(story).kind == "foreign write"


# Gone, or elsewhere


def test_what_was_deleted_is_gone() -> None:
    story = story_of_alice()
    story.request("alice", "DELETE", PATH, "", 204)
    story.get("alice", PATH, THREAD)
    assert only(story).kind == "use after delete"
    story = story_of_alice()
    story.request("alice", "DELETE", PATH, "", 204)
    story.get("alice", PATH, {**THREAD, "deleted_at": "2026-01-01"})
    story.get("alice", PATH, {"detail": "no such thread"}, 404)
    assert judge(story).findings == ()


def test_an_object_is_found_under_its_own_parent_only() -> None:
    story = story_of_alice()
    story.attempt("alice", "GET", "/api/threads/t2/messages/m1", {"id": "m1", "content": "hello"}, 200, owner="alice",
                  object=("message", "m1"), name="wrong parent")  # fmt: skip
    assert only(story).kind == "wrong parent"


# Sockets


def test_a_foreign_stream_that_is_granted_is_a_finding() -> None:
    story = story_of_alice()
    for user in ("alice", "bob"):
        story.connect(user)
    story.receive("alice", {"type": "thread_switched", "thread_id": "t1"})
    aim = {"attempt": "foreign id", "owner": "alice", "object": {"kind": "thread", "id": "t1"}, "expect": "refused"}
    story.send("bob", {"type": "switch_thread", "payload": {"thread_id": "t1"}}, **aim)
    story.receive("bob", {"type": "error_message", "error_code": "FORBIDDEN", "thread_id": "t1"})
    story.receive("bob", {"type": "ack", "thread_id": "t1"})
    assert judge(story).verdict is Verdict.PASS
    story.receive("bob", {"type": "agent_started", "thread_id": "t1", "run_id": "r1", "payload": {}})
    assert only(story).kind == "foreign stream"


# What would prove nothing


def test_without_a_foreign_attempt_there_is_doubt() -> None:
    assert judge(story_of_alice()).doubts == ("no foreign attempt was made",)


def test_a_refusal_without_the_owners_control_proves_nothing() -> None:
    story = Story("alice", "bob")
    story.own("alice", "thread", "t1")
    bob(story, "GET", FORBIDDEN, 403)
    assert judge(story).doubts == ("GET /api/threads/{id} has no positive control of the owner (1 attempt)",)


def test_a_write_that_nobody_re_reads_proves_nothing() -> None:
    for status in (200, 403):
        story = story_of_alice()
        story.request("alice", "PUT", PATH, THREAD, sent={"title": "mine"})
        bob(story, "PUT", {"detail": ""}, status, sent={"title": "taken over"})
        assert judge(story).verdict is Verdict.INCONCLUSIVE


def test_an_attempt_that_goes_unanswered_is_no_refusal() -> None:
    story = story_of_alice()
    bob(story, "GET", {"detail": "try again"}, 503)
    assert "went unanswered or broke" in judge(story).doubts[0]


def test_a_deletion_needs_no_control_that_destroys_the_object_first() -> None:
    story = story_of_alice()
    story.own("bob", "thread", "t2")
    story.request("bob", "DELETE", "/api/threads/t2", "", 204)
    bob(story, "DELETE", FORBIDDEN, 403)
    story.get("alice", PATH, THREAD)
    assert judge(story).verdict is Verdict.PASS


def test_the_existence_oracle_is_counted_and_reported_on_request() -> None:
    story = story_of_alice()
    bob(story, "GET", FORBIDDEN, 403)
    story.attempt("bob", "GET", "/api/threads/t0", {"detail": "none"}, 404, owner=None, object=("thread", "t0"),
                  name="missing id")  # fmt: skip
    assert judge(story).verdict is Verdict.PASS
    assert judge(story).evidence["existence oracles"] == 1
    (finding,) = judge(story, oracle=True).findings
    assert (finding.kind, finding.severity) == ("existence oracle", "hygiene")


def test_what_lies_before_the_window_is_context() -> None:
    story = story_of_alice()
    bob(story, "GET", THREAD, 200)
    start = len(story.operations)
    bob(story, "GET", FORBIDDEN, 403)
    story.get("alice", PATH, THREAD)
    assert authorisation()(story.operations, Window(start=start)).verdict is Verdict.PASS


# A small matrix of users, operations and objects on a correct service, and with one check left out


class Service:
    """Threads with owners; ``hole`` is the operation that forgets to ask whose they are."""

    def __init__(self, hole: str = "") -> None:
        self.hole = hole
        self.threads: dict[str, dict[str, str]] = {}

    def call(self, user: str, method: str, id: str, title: str) -> tuple[object, int]:
        thread = self.threads.get(id)
        if thread is None:
            return {"detail": "missing"}, 404
        if thread["owner"] != user and method != self.hole:
            return FORBIDDEN, 403
        if method == "DELETE":
            del self.threads[id]
            return "", 204
        if method == "PUT":
            thread["title"] = title
        return {"id": id, "title": thread["title"]}, 200


def matrix(random: Random, hole: str = "") -> Story:
    """Every user tries every operation on every thread, in random order; owners read before, between and after."""
    names = ["alice", "bob", "carol"]
    story, service = Story(*names), Service(hole)
    for name in names:
        for number in range(2):
            thread = f"thread-of-{name}-{number}"
            service.threads[thread] = {"owner": name, "title": f"the first plans of {name} {number}"}
            story.own(name, "thread", thread)
    spare = dict(service.threads)
    cells = [(user, method, id) for user in names for method in ("GET", "PUT", "DELETE") for id in spare]
    random.shuffle(cells)
    for user, method, id in cells:
        owner = spare[id]["owner"]
        path = f"/api/threads/{id}"
        if user == owner:
            if method != "DELETE":
                title = f"renamed {random.random()}"
                answer, status = service.call(user, method, id, title)
                story.request(user, method, path, answer, status, sent={"title": title} if method == "PUT" else None)
            continue
        story.get(owner, path, *service.call(owner, "GET", id, ""))
        title = f"taken over {random.random()}"
        answer, status = service.call(user, method, id, title)
        sent = {"title": title} if method == "PUT" else None
        story.attempt(user, method, path, answer, status, owner=owner, object=("thread", id), sent=sent)
        story.get(owner, path, *service.call(owner, "GET", id, ""))
    last = f"thread-of-{names[0]}-0"
    story.request(names[0], "DELETE", f"/api/threads/{last}", "", 204)
    return story


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_a_service_that_checks_every_operation_passes(seed: int) -> None:
    judgement = judge(matrix(Random(seed)))
    assert judgement.verdict is Verdict.PASS, judgement
    assert judgement.evidence["foreign attempts"] == 36


@given(seed=st.integers(0, 2**32), hole=st.sampled_from(["GET", "PUT", "DELETE"]))
@settings(max_examples=40, deadline=None)
def test_a_check_left_out_is_found_at_that_operation_and_no_other(seed: int, hole: str) -> None:
    findings = judge(matrix(Random(seed), hole)).findings
    assert findings
    assert {place.operation.split()[0] for finding in findings for place in finding.operations} == {hole}
    assert {finding.kind for finding in findings} <= {"foreign read", "foreign write"}
