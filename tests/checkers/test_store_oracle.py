"""C12: in the stores, column, key and content agree on whose a thing is."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from netra_probe.checkers import Window, store
from netra_probe.checkers.verdict import Finding, Judgement, Verdict

from .story import Story, user_id


def planted() -> Story:
    """Alice and Bob have a secret, a thread and a row each."""
    story = Story("alice", "bob")
    for user in ("alice", "bob"):
        story.mint(user)
        story.own(user, "thread", f"thread-{user}")
        story.row('"public"."threads"', f"thread-{user}", user, thread(story, user))
    return story


def thread(story: Story, user: str) -> dict[str, object]:
    return {"id": f"thread-{user}", "title": story.secrets[user], "metadata_": {"user_id": user_id(user)}}


def judge(story: Story) -> Judgement:
    return store()(story.operations)


def only(story: Story) -> Finding:
    (finding,) = judge(story).findings
    return finding


def test_rows_that_hold_their_owners_secrets_pass() -> None:
    judgement = judge(planted())
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["own canaries stored"] == 2


def test_a_row_with_another_users_secret_is_a_finding_that_replays() -> None:
    story = planted()
    story.row("messages", "m1", "bob", {"id": "m1", "content": story.secrets["alice"]})
    finding = only(story)
    assert finding.kind == "foreign canary in a row"
    assert (finding.victims, finding.recipients, finding.surface) == (("alice",), ("bob",), "database")
    assert finding.summary == "a row of bob holds alice's data in messages (title) (1 row)"
    again = store()([story.operations[index] for index in (0, 1, *finding.witness)])
    assert [found.kind for found in again.findings] == [finding.kind]


def test_what_a_user_quoted_is_that_users_own_content() -> None:
    story = planted()
    story.request("bob", "POST", "/api/threads/thread-bob/messages", {}, 201, sent={"content": story.secrets["alice"]})
    story.row("messages", "m1", "bob", {"content": story.secrets["alice"]})
    assert judge(story).verdict is Verdict.PASS


def test_a_row_that_belongs_to_nobody_is_an_orphan_if_it_holds_a_secret() -> None:
    story = planted()
    story.row("steps", "s1", None, {"input": story.secrets["alice"]})
    story.row("steps", "s2", None, {"input": "nothing of ours"})
    assert only(story).kind == "orphan row"


def test_a_row_of_one_user_that_refers_to_a_thread_of_another_is_a_finding() -> None:
    story = planted()
    story.row("runs", "r1", "alice", {"id": "r1", "thread_id": "thread-bob"})
    finding = only(story)
    assert finding.summary == "a row of alice refers to what is bob's in runs (thread) (1 row)"


def test_two_users_with_one_run_id_disagree_in_the_rows() -> None:
    story = planted()
    for user in ("alice", "bob"):
        call = story.write("invoke", "ask", user=user, surface="websocket")
        story.complete(call, "ok", ids={"run_id": "run-1"})
    story.row("public.runs", "run-1", "bob", {"id": "run-1"})
    assert only(story).kind == "owner mismatch"


def test_a_row_does_not_change_hands() -> None:
    story = planted()
    story.row('"public"."threads"', "thread-alice", "bob", {"id": "x"})
    assert {finding.kind for finding in judge(story).findings} == {"owner changed", "owner mismatch"}


def test_a_key_that_names_two_users_is_a_finding() -> None:
    story = planted()
    story.key(f"cache:{user_id('alice')}:{user_id('bob')}", ["alice", "bob"], "x")
    finding = only(story)
    assert finding.kind == "key of two users"
    assert "cache:{user}:{user}" in finding.summary


def test_an_id_that_is_only_part_of_a_longer_one_is_not_named() -> None:
    story = planted()
    story.write("ok", "principal", user="carol", ids={"user_id": "u1"})
    story.write("ok", "principal", user="dave", ids={"user_id": "u12"})
    story.key("session:u12", ["carol", "dave"], "x")
    assert judge(story).verdict is Verdict.PASS
    story.key("session:u12u1", ["carol", "dave"], "x")
    assert only(story).victims == ("carol", "dave")


def test_a_value_with_another_users_secret_is_a_finding() -> None:
    story = planted()
    story.key(f"session:{user_id('bob')}", ["bob"], {"last": story.secrets["alice"]})
    assert only(story).kind == "foreign canary in a key"


def test_a_key_that_names_a_thread_belongs_to_its_owner() -> None:
    story = planted()
    story.key("thread:thread-alice:messages", [], [story.secrets["alice"]])
    assert judge(story).verdict is Verdict.PASS
    story.key("thread:thread-alice:messages", [], [story.secrets["bob"]])
    assert only(story).victims == ("bob",)


def test_a_queue_that_names_nobody_is_counted_and_not_accused() -> None:
    story = planted()
    story.key("message_queue:high", [], [story.secrets["alice"], story.secrets["bob"]])
    judgement = judge(story)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["canaries under keys that name nobody"] == 2


def test_without_rows_or_without_an_own_secret_in_them_there_is_doubt() -> None:
    assert judge(Story("alice")).doubts == ("no row and no cache key was read",)
    story = Story("alice")
    story.mint("alice")
    story.row("threads", "t1", "alice", {"id": "t1"})
    assert "nothing shows that the search reaches them" in judge(story).doubts[0]


def test_what_lies_before_the_window_is_not_accused_again() -> None:
    story = planted()
    story.row("messages", "m1", "bob", {"content": story.secrets["alice"]})
    assert store()(story.operations, Window(start=len(story.operations))).findings == ()


# A store of many users, whole and with one thing in the wrong place


def filled(random: Random, users: int, rows: int) -> Story:
    names = [f"user-{number}" for number in range(users)]
    story = Story(*names)
    for name in names:
        story.mint(name)
        story.own(name, "thread", f"thread-{name}")
    for number in range(rows):
        name = random.choice(names)
        holds = {"thread_id": f"thread-{name}", "content": story.secrets[name], "user_id": user_id(name)}
        if random.random() < 0.5:
            story.row("public.messages", f"m{number}", name, holds)
        else:
            story.key(f"user:{user_id(name)}:recent", [name], holds)
    return story


@given(seed=st.integers(0, 2**32), users=st.integers(2, 8), rows=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_store_in_order_is_never_accused(seed: int, users: int, rows: int) -> None:
    assert judge(filled(Random(seed), users, rows)).verdict is Verdict.PASS


@given(seed=st.integers(0, 2**32), users=st.integers(2, 8), rows=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_one_row_of_the_first_borrower_is_found_among_many(seed: int, users: int, rows: int) -> None:
    """A worker that keeps its creator's context writes a later user's content under the first one's name."""
    story = filled(Random(seed), users, rows)
    content = {"thread_id": "thread-user-1", "content": story.secrets["user-1"]}
    story.row("public.messages", "wrong", "user-0", content)
    found = judge(story).findings
    assert {finding.kind for finding in found} == {"foreign canary in a row", "owner mismatch"}
    assert all(finding.victims == ("user-1",) and finding.recipients == ("user-0",) for finding in found)
