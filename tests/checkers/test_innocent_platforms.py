"""What a sound platform does, and what looks like it and is a defect: each pair differs in the one thing that tells.

An echo of what the sender has just sent is no evidence, what needs no credential says nothing of one, and what the
probe itself made public is for others to read.
"""

from __future__ import annotations

import pytest

from netra_probe.checkers import authorisation, canary, envelope, hygiene, lifecycle
from netra_probe.checkers.base import Checker, judge
from netra_probe.checkers.base import Window as Whole
from netra_probe.checkers.judging import judge_case, referred
from netra_probe.checkers.verdict import CaseResult, Verdict

from .story import Story, encode, user_id


def found(story: Story, *checkers: Checker) -> list[str]:
    """The kinds of what the checkers find, leaks and hygiene alike."""
    judgements = judge(checkers, story.operations, Whole())
    return [finding.kind for judgement in judgements for finding in judgement.findings]


def two() -> Story:
    story = Story("alice", "bob")
    story.own("alice", "thread", "thread_alice")
    story.mint("alice")
    story.mint("bob")
    return story


# Acknowledgements


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ({"type": "message_received", "thread_id": "thread_alice", "message_id": "m-1", "status": "stored"}, []),
        ({"type": "message_created", "thread_id": "thread_alice", "content": "{bob}"}, []),
        ({"type": "thread_history", "thread_id": "thread_alice", "messages": ["{alice}"]}, ["foreign stream"]),
        ({"type": "agent_thinking", "thread_id": "thread_alice", "run_id": "run_alice"}, ["foreign stream"]),
    ],
)
def test_an_acknowledgement_of_ones_own_message_is_no_foreign_stream(
    answer: dict[str, object], kinds: list[str]
) -> None:
    story = two()
    for user in ("alice", "bob"):
        story.connect(user)
    story.send(
        "bob", {"type": "chat", "thread_id": "thread_alice", "content": story.secrets["bob"]}, attempt="foreign thread",
        object={"kind": "thread", "id": "thread_alice"}, owner="alice", expect="refused",
    )  # fmt: skip
    filled = {
        name: [story.secrets["alice"]] if isinstance(value, list)
        else story.secrets["bob"] if value == "{bob}" else value
        for name, value in answer.items()
    }  # fmt: skip
    story.receive("bob", filled)
    assert found(story, authorisation()) == kinds


# Ids


@pytest.mark.parametrize(("echoed", "kinds"), [(True, []), (False, ["foreign session id"])])
def test_a_text_that_both_users_put_where_an_id_belongs_is_nobodys_id(echoed: bool, kinds: list[str]) -> None:
    story = two()
    sent = {"session_id": "aaaaaaaa"} if echoed else {"title": "mine"}
    first = story.begin("alice", "POST", "/api/notes", {"session_id": "aaaaaaaa"})
    second = story.begin("bob", "POST", "/api/notes", sent)
    story.complete(first, "ok", status=201, payload='{"session_id": "aaaaaaaa"}')
    story.own("alice", "session", "aaaaaaaa")
    story.complete(second, "ok", status=201, payload='{"session_id": "aaaaaaaa"}')
    assert found(story, envelope()) == kinds


def test_a_secret_in_the_place_of_an_id_is_judged_as_a_secret() -> None:
    story = two()
    story.own("alice", "session", story.secrets["alice"])
    story.get("bob", "/api/notes", {"session_id": story.secrets["alice"]})
    assert found(story, envelope()) == []
    assert found(story, canary()) == ["foreign canary"]


@pytest.mark.parametrize(("asked", "kinds"), [(True, set()), (False, {"foreign run id", "foreign thread id"})])
def test_whose_a_run_is_follows_from_the_question_and_not_from_the_thread(asked: bool, kinds: set[str]) -> None:
    story = Story("alice", "bob")
    for user in ("alice", "bob"):
        story.connect(user)
    place = {"user": "bob", "connection": "bob/ws-1", "surface": "websocket"}
    if asked:
        call = story.write("invoke", "ask", ids={"thread_id": "thread_room"}, **place)
        story.send("bob", {"type": "chat", "thread_id": "thread_room"})
    story.own("alice", "thread", "thread_room")
    story.receive("bob", {"type": "agent_started", "run_id": "run_bob", "thread_id": "thread_room"})
    if asked:
        story.complete(call, "ok", ids={"run_id": "run_bob", "thread_id": "thread_room"})
    assert set(found(story, envelope())) == kinds


def test_a_welcome_says_of_a_forged_token_what_c6_has_to_judge() -> None:
    for detail, kinds in (({"attempt": "sub of nobody", "expect": "refused"}, []), ({}, ["identity not bound"])):
        story = Story("alice", "bob")
        call = story.write(
            "invoke", "connect", user="bob", connection="bob/ws-1", surface="websocket", detail=dict(detail)
        )
        story.receive("bob", {"type": "connection_established", "user_id": user_id("nobody")})
        story.complete(call, "ok", status=101)
        assert found(story, envelope()) == kinds


# After the end of a credential


def logged_out() -> Story:
    story = two()
    story.get("alice", "/api/news", {"title": "Prices fall"}, credential="alice-2")
    story.request("alice", "POST", "/auth/logout", {"status": "success"}, credential="alice-2")
    story.wait(5)
    story.get(
        "alice", "/api/news", {"title": "Prices fall"}, attempt="after logout", expect="refused", credential="alice-2"
    )
    return story


@pytest.mark.parametrize(("status", "kinds"), [(200, []), (401, ["credential works after its end"])])
def test_what_needs_no_credential_is_answered_after_a_logout_as_well(status: int, kinds: list[str]) -> None:
    story = logged_out()
    call = story.write(
        "invoke", "GET /api/news", connection="nobody/rest", surface="rest", detail={"path": "/api/news"}
    )
    story.complete(call, "ok" if status == 200 else "fail", status=status, payload='{"title": "Prices fall"}')
    assert found(story, lifecycle()) == kinds
    judgement = lifecycle()(story.operations)
    assert any("was not used afterwards" in doubt for doubt in judgement.doubts) == (status == 200)


@pytest.mark.parametrize(
    ("detail", "kinds"),
    [
        ({"attempt": "changed signature", "expect": "refused"}, []),
        ({"attempt": "changed signature", "expect": "refused", "credential": "alice-3"}, []),
        ({"attempt": "after logout", "expect": "refused", "credential": "alice-2"}, ["socket outlives its credential"]),
    ],
)
def test_a_socket_opened_with_a_forged_token_after_a_logout_is_none_of_the_session(
    detail: dict[str, str], kinds: list[str]
) -> None:
    story = two()
    story.get("alice", "/auth/me", {"email": "a"}, credential="alice-2")
    story.request("alice", "POST", "/auth/logout", {"status": "success"}, credential="alice-2")
    story.wait(5)
    story.connect("alice", "ws-9", **detail)
    story.receive("alice", {"type": "agent_started", "run_id": "r"}, "ws-9")
    assert found(story, lifecycle()) == kinds


def test_a_socket_that_was_opened_with_a_forged_token_before_the_logout_is_none_of_the_session_either() -> None:
    story = two()
    story.get("alice", "/auth/me", {"email": "a"})
    story.connect("alice", "ws-9", attempt="changed signature", expect="refused")
    story.request("alice", "POST", "/auth/logout", {"status": "success"})
    story.wait(5)
    story.receive("alice", {"type": "pong"}, "ws-9")
    assert found(story, lifecycle()) == []


# Credentials under trial


@pytest.mark.parametrize(
    ("name", "kind"), [("no token", "answered without credentials"), ("token expired", "invalid credential answered")]
)
def test_a_forged_token_is_not_called_no_credential(name: str, kind: str) -> None:
    story = two()
    aim = {"kind": "list", "id": "/api/notes of alice"}
    story.get("alice", "/api/notes", {"title": "Costs"}, object=aim)
    call = story.write(
        "invoke", "GET /api/notes", connection="nobody/rest", surface="rest",
        detail={"path": "/api/notes", "attempt": name, "object": aim, "owner": "alice", "expect": "refused"},
    )  # fmt: skip
    story.complete(call, "ok", status=200, payload='{"title": "Something"}')
    assert found(story, authorisation()) == [kind]


# Shares


@pytest.mark.parametrize(
    ("link", "kinds"), [("share_1f2e3d", set()), ("thread_alice", {"foreign read", "foreign canary"})]
)
def test_what_is_read_by_a_link_that_the_owner_made_is_no_foreign_read(link: str, kinds: set[str]) -> None:
    story = two()
    shown = {"id": "thread_alice", "title": f"Costs of {story.secrets['alice']}"}
    aim = {"kind": "share", "id": link}
    story.request(
        "alice", "POST", "/api/threads/thread_alice/share", {"share_id": "share_1f2e3d", "id": "thread_alice"}
    )
    story.own("alice", "share", link)
    path = f"/api/shared/{link}"
    for user, detail in (("alice", {}), ("bob", {"attempt": "foreign id", "owner": "alice", "expect": "refused"})):
        call = story.write(
            "invoke", "GET /api/shared/{share_id}", user=user, connection=f"{user}/rest", surface="rest",
            detail={"path": path, "object": aim, **detail},
        )  # fmt: skip
        story.complete(call, "ok", status=200, payload=encode(shown))
    assert set(found(story, authorisation(), canary())) == kinds


def test_an_object_that_its_owner_made_public_is_read_by_others() -> None:
    for body, kinds in (({"title": "Costs", "is_public": True}, []), ({"title": "Costs"}, ["foreign read"])):
        story = two()
        shown = {"id": "thread_alice", "title": f"Costs of {story.secrets['alice']}"}
        story.request("alice", "POST", "/api/threads", shown, sent=body)
        story.get("alice", "/api/threads/thread_alice", shown)
        story.attempt(
            "bob", "GET", "/api/threads/thread_alice", shown, 200, owner="alice", object=("thread", "thread_alice")
        )
        assert found(story, authorisation()) == kinds


# Common lists


@pytest.mark.parametrize(("common", "kinds"), [(True, []), (False, ["foreign read"])])
def test_what_ones_own_request_shows_as_well_is_not_the_doing_of_a_claim(common: bool, kinds: list[str]) -> None:
    story = two()
    aim = {"kind": "list", "id": "/api/posts of alice"}
    everybodys = {"posts": [{"author_id": user_id("alice"), "text": story.secrets["alice"]}]}
    story.get("alice", "/api/posts", everybodys, object=aim)
    story.get("bob", "/api/posts", everybodys if common else {"posts": []})
    story.get("bob", "/api/posts", everybodys, attempt="user id in the query", object=aim, owner="alice", expect="bob")
    assert found(story, authorisation()) == kinds


@pytest.mark.parametrize(("common", "kinds"), [(True, []), (False, ["foreign write"])])
def test_what_stands_in_a_list_that_everybody_writes_to_was_not_forced_upon_its_reader(
    common: bool, kinds: list[str]
) -> None:
    story = two()
    aim = {"kind": "list", "id": "/api/posts of alice"}
    mine, first, second = "A post of alice's", story.secrets["bob"], story.mint("bob", "text")
    story.get("alice", "/api/posts", {"posts": [mine, first] if common else [mine]}, object=aim)
    story.request(
        "bob", "POST", "/api/posts", {"status": "ok"}, 201, sent={"text": second, "user_id": user_id("alice")},
        attempt="user id in the body", object=aim, owner="alice", expect="bob",
    )  # fmt: skip
    story.get("alice", "/api/posts", {"posts": [mine, first, second]}, object=aim)
    assert found(story, authorisation()) == kinds


# Malformed requests


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (404, "a request with a quote in its id is answered with status 500: GET /api/threads/{id} (1 time)"),
        (500, "a request with any unknown id is answered with status 500: GET /api/threads/{id} (1 time)"),
    ],
)
def test_a_quote_is_blamed_only_where_a_plain_text_is_understood(plain: int, said: str) -> None:
    story = Story("alice")
    for what, id, status in (("plain text where the malformed comes", "nobodys", plain), ("malformed", "'", 500)):
        mark = {"hygiene": what, "what": "a quote in its id"}
        story.get("alice", f"/api/threads/{id}", {"detail": "it broke"}, status, **mark)
    (finding,) = hygiene()(story.operations).findings
    assert finding.summary == said


def test_words_of_a_refusal_that_the_request_brought_along_are_no_refusal() -> None:
    for sent, kinds in (("my thread was not found", []), ("my thread", ["refusal as server error"])):
        story = Story("alice")
        body = {"title": sent}
        story.request("alice", "POST", "/api/threads", {"error": "insert of 'my thread was not found'"}, 500, sent=body)
        assert [kind for kind in found(story, hygiene()) if kind == "refusal as server error"] == kinds


# One cause, several cases


def test_a_cause_that_several_cases_show_is_told_once_and_referred_to() -> None:
    story = two()
    cases: list[CaseResult] = []
    for number, path in enumerate(("/api/posts", "/api/posts", "/api/notes"), 1):
        start = len(story.operations)
        token = story.mint("alice", f"text of case {number}")
        story.get("alice", path, {"texts": [token]})
        story.get("bob", path, {"texts": [token]})
        detail = {"case": f"C4.{number}", "claim": "what is one's own", "start": start}
        marker = story.write("ok", "check", surface="probe", detail=detail)
        result = judge_case(story.operations, marker, [canary(), envelope()])
        cases.append(referred(result, cases, story.operations))
    assert [case.verdict for case in cases] == [Verdict.FAIL] * 3
    assert [case.reason.startswith("as in C4.1: ") for case in cases] == [False, True, False]
