"""Two broken endpoints are two things to mend: each is named, with whose data it gave to whom, wherever one reads.

The histories are small and made here; the checkers, the views and the records are the real ones.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from netra_probe.checkers.findings import MOST_SHOWN
from netra_probe.checkers.judging import ScenarioResult, judge_history
from netra_probe.display.evidence import EventTable, LeakMatrix
from netra_probe.display.timeline import Timeline
from netra_probe.display.views import COLUMNS, CaseView
from netra_probe.history.canary import mint
from netra_probe.history.lines import line
from netra_probe.history.operation import Operation
from netra_probe.report.junit import _finding
from netra_probe.results.compare import Kind, compare
from netra_probe.results.schema import FindingRecord, _fits, operations_of

ROUTES = ("GET /api/chat/messages/{message_id}", "GET /api/threads/{thread_id}")
PEOPLE = ("alice", "bob", "carol")


class Tape:
    """A history as an investigation leaves it, with one case over all of it."""

    def __init__(self, people: tuple[str, ...] = PEOPLE) -> None:
        self.operations: list[Operation] = []
        self.secrets: dict[str, list[str]] = {}
        self.write("ok", "open", detail={"scenario": "X9", "title": "Data", "environment": "lab", "seed": 7})
        for user in people:
            self.write("ok", "principal", user=user, ids={"user_id": f"id-of-{user}"})
            self.secrets[user] = [
                mint(seed=7, identity=user, user=user, field=field, surface="rest").token for field in ("title", "text")
            ]
            for field, token in zip(("title", "text"), self.secrets[user], strict=True):
                self.write("ok", "mint", user=user, detail={"token": token, "field": field, "surface": "rest"})
        for user in people:
            self.frame(user, user, "agent_completed")

    def write(self, type: Any, action: str, **fields: Any) -> Operation:
        operation = Operation(
            index=len(self.operations), time=len(self.operations) * 1_000_000, type=type, action=action, **fields
        )
        self.operations.append(operation)
        return operation

    def frame(self, owner: str, recipient: str, name: str, *, secrets: int = 1, tool: str = "") -> None:
        body = {"text": " ".join(self.secrets[owner][:secrets]), **({"tool_name": tool} if tool else {})}
        frame = json.dumps({"type": name, "run_id": f"run-of-{owner}", "payload": body})
        at = {"user": recipient, "connection": f"{recipient}/ws-1", "surface": "websocket"}
        self.write("ok", "receive", payload=frame, ids={"run_id": f"run-of-{owner}"}, **at)

    def read(self, whose: str, reader: str, route: str, **detail: Any) -> None:
        at = {"user": reader, "connection": f"{reader}/rest", "surface": "rest"}
        path = route.partition(" ")[2].replace("{thread_id}", "t-1").replace("{message_id}", "m-1")
        call = self.write("invoke", route, detail={"path": path, **detail}, **at)
        body = json.dumps({"padding": "x" * 300, "title": self.secrets[whose][0], "more": "y" * 300})
        self.write("ok", route, call=call.index, status=200, payload=body, **at)

    def judged(self, *checkers: str) -> ScenarioResult:
        marked = [{"id": checker, "options": {}} for checker in checkers]
        self.write("ok", "check", detail={"case": "X9.1", "claim": "data stays apart", "start": 0, "checkers": marked})
        self.write("ok", "cleanup", detail={"verdict": "pass", "left": []})
        return judge_history(self.operations)


def trespassed() -> Tape:
    """bob and carol read alice's thread, and bob her message, by id."""
    tape = Tape()
    for route in ROUTES:
        tape.read("alice", "alice", route)
        for intruder in ("bob", "carol") if "threads" in route else ("bob",):
            aim = {"kind": "thread", "id": "t-1"} if "threads" in route else {"kind": "message", "id": "m-1"}
            tape.read("alice", intruder, route, attempt="foreign id", owner="alice", object=aim, expect="refused")
    return tape


def broadcast() -> Tape:
    """What is alice's reaches bob and carol, in frames of several types with one or two secrets each."""
    tape = Tape()
    for recipient in ("bob", "carol"):
        tape.frame("alice", recipient, "agent_started")
        tape.frame("alice", recipient, "tool_completed", secrets=2, tool="cost_analyzer")
        tape.frame("alice", recipient, "agent_completed", secrets=2)
    tape.frame("bob", "carol", "agent_completed")
    tape.read("alice", "bob", ROUTES[1])
    return tape


def record_of(result: ScenarioResult) -> list[dict[str, Any]]:
    """The findings as results.json holds them."""
    (case,) = json.loads(json.dumps(result.as_record(numbers=True)))["cases"]
    findings: list[dict[str, Any]] = case["findings"]
    return findings


def test_each_broken_route_is_named_in_headline_notebook_record_and_junit() -> None:
    tape = trespassed()
    result = tape.judged("C5", "C1")
    (case,) = result.cases
    assert case.reason.startswith(
        "bob and carol could read alice's data by id through 2 endpoints: "
        "GET /api/chat/messages/{message_id}, GET /api/threads/{thread_id} (3 attempts); "
        "alice's data reached bob and carol: 3 frames and responses, 1 secret"
    )
    shown = CaseView(case, tape.operations).text()
    read = next(finding for finding in record_of(result) if finding["kind"] == "foreign read")
    assert [(place["operation"], len(place["pairs"])) for place in read["operations"]] == [
        (ROUTES[0], 1),
        (ROUTES[1], 2),
    ]
    assert _fits(read, FindingRecord)
    for text in (shown, CaseView(case, tape.operations).html(), _finding(read), "\n".join(operations_of(read))):
        assert ROUTES[0] in text
        assert ROUTES[1] in text
    assert "more like it" not in shown
    example = read["operations"][1]["pairs"][0]["example"]
    assert example["text"].startswith(f"#{example['operation']} bob/rest ← 200 GET /api/threads/{{thread_id}} ")


def test_matrix_heading_timeline_and_record_add_up_to_the_same_number() -> None:
    tape = broadcast()
    matrix = LeakMatrix.of(tape.operations)
    timeline = Timeline.of(tape.operations)
    result = tape.judged("C1")
    pairs: Counter[tuple[str, str]] = Counter()
    for finding in record_of(result):
        assert finding["count"] == sum(pair["count"] for place in finding["operations"] for pair in place["pairs"])
        for place in finding["operations"]:
            for pair in place["pairs"]:
                pairs[pair["owner"], pair["recipient"]] += pair["count"]
    assert pairs == {("alice", "bob"): 4, ("alice", "carol"): 3, ("bob", "carol"): 1}
    assert {pair: count for pair, count in matrix.counts.items() if pair[0] != pair[1]} == pairs
    assert matrix.leaks == sum(pairs.values()) == 8
    assert "8 frames and responses with another user's data, 3 secrets" in matrix.text()
    assert result.cases[0].reason == "alice's and bob's data reached bob and carol: 8 frames and responses, 3 secrets"
    # One of the eight is a response: no mark on the timeline, which shows frames.
    assert sum(bool(mark.foreign) for mark in timeline.marks) == 7
    assert "bob/ws-1: 1 agent_completed  ! 3 frames with data of alice" in timeline.text()


def test_a_type_of_frame_stands_with_its_tool_and_without_ids() -> None:
    tape = broadcast()
    names = [place["operation"] for finding in record_of(tape.judged("C1")) for place in finding["operations"]]
    assert names == [
        "GET /api/threads/{thread_id}",
        "agent_completed",
        "agent_started",
        "tool_completed (cost_analyzer)",
    ]


def test_a_view_shows_ten_operations_and_says_where_the_others_are() -> None:
    tape = Tape()
    for number in range(MOST_SHOWN + 3):
        tape.read("alice", "bob", f"GET /api/{'abcdefghijklmnop'[number]}/things")
    result = tape.judged("C1")
    (finding,) = record_of(result)
    assert len(finding["operations"]) == MOST_SHOWN + 3
    text = CaseView(result.cases[0], tape.operations).text()
    assert "and 3 more in results.json" in text
    assert "and 3 more operations in results.json" in text
    assert operations_of(finding)[-1] == "and 3 more in results.json"


@pytest.mark.parametrize("tape", [trespassed, broadcast])
def test_no_line_of_a_case_is_longer_than_120_columns(tape: Any) -> None:
    told = tape()
    text = CaseView(told.judged("C5", "C1").cases[0], told.operations).text()
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_a_witness_is_shown_around_the_secret_of_its_own_finding() -> None:
    tape = Tape()
    decoy = tape.secrets["bob"][0]
    body = json.dumps({"own": decoy, "padding": "x" * 400, "stolen": tape.secrets["alice"][1], "tail": "y" * 400})
    at = {"user": "bob", "connection": "bob/rest", "surface": "rest"}
    call = tape.write("invoke", ROUTES[1], detail={"path": "/api/threads/t-2", "query": {"all": "yes"}}, **at)
    tape.write("ok", ROUTES[1], call=call.index, status=200, payload=body, **at)
    (finding,) = record_of(tape.judged("C1"))
    asked, answered = (step["text"] for step in finding["witness"] if "bob/rest" in step["text"])
    assert asked == f"#{call.index} bob/rest → GET /api/threads/t-2?all=yes"
    assert tape.secrets["alice"][1] in answered
    assert decoy not in answered


def test_the_event_table_marks_another_users_run_and_collapses_equal_ones() -> None:
    tape = Tape(("alice", "bob"))
    for number in range(3):
        for name in ("agent_started", "agent_completed"):
            frame = json.dumps({"type": name, "run_id": f"r-{number}"})
            tape.write("ok", "receive", user="bob", connection="bob/ws-1", surface="websocket", payload=frame)
        tape.write("ok", "ask", user="bob", surface="websocket", call=0, ids={"run_id": f"r-{number}"})
    tape.frame("alice", "bob", "agent_completed")
    tape.write("ok", "ask", user="alice", surface="websocket", call=0, ids={"run_id": "run-of-alice"})
    rows = [row for row in EventTable.of(tape.operations).rows if row[0] == "bob"]
    assert rows == [
        ["bob", "run-1", "own", "1", "agent_completed"],
        ["bob", "run-2 ×3", "own", "2", "agent_started · agent_completed"],
        ["bob", "run-5", "! alice's", "1", "agent_completed"],
    ]


def test_a_further_broken_route_is_news_and_results_without_operations_can_be_compared() -> None:
    both = record_of(trespassed().judged("C5"))
    one = json.loads(json.dumps(both))
    one[0]["operations"] = one[0]["operations"][:1]
    old = json.loads(json.dumps(both))
    del old[0]["operations"], old[0]["count"], old[0]["secrets"]

    def case(findings: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": "D3.3", "title": "t", "verdict": "fail", "reason": "r", "findings": findings}

    (change,) = compare({"D3.3": case(one)}, {"D3.3": case(both)})
    assert (change.kind, change.added) == (Kind.MORE, (f"authorisation · foreign read (rest): {ROUTES[1]}",))
    assert compare({"D3.3": case(old)}, {"D3.3": case(both)}) == []
    assert operations_of(old[0]) == []
    assert _fits(old[0], FindingRecord)


def test_a_request_is_shown_with_its_whole_path_and_query_and_what_it_tries() -> None:
    path = f"/api/chat/messages/msg_{'a1' * 16}"
    detail = {"path": path, "query": {"all": "yes"}, "attempt": "foreign id"}
    asked = Operation(index=9, time=0, type="invoke", action=ROUTES[0], connection="bob/rest", detail=detail)
    assert line(asked) == f"#9 bob/rest → GET {path}?all=yes [foreign id]"
    told = {"attempt": "alg none", "phase": "GET /auth/me", "token": "alg=none sub=id-of-alice no aud"}
    forged = Operation(index=9, time=0, type="invoke", action="attempt", connection="bob/door", detail=told)
    assert line(forged) == "#9 bob/door → attempt [alg none at GET /auth/me: alg=none sub=id-of-alice no aud]"
