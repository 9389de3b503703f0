"""Attribution: every row of the catalogue's table of look-alikes, each on a small history, judged by all checkers."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from netra_probe.checkers import REGISTRY, Window, judge
from netra_probe.checkers.attribution.attribution import Attribution, attribute, attributed
from netra_probe.checkers.attribution.rules import CAUGHT_BY, RULES
from netra_probe.checkers.verdict import Finding
from netra_probe.history.operation import Operation
from netra_probe.lab.shared.faults import known_faults

from .model import Settings
from .model_faults import FAULTS, Fault
from .story import Story, encode
from .test_noninterference import asked_in_turns

USERS = ("alice", "bob", "carol")
LARGE = "x" * 70_000


class Chat(Story):
    """People with a secret each, who ask on sockets; ``run`` says which events come, to whom, with what in them."""

    def __init__(self, *users: str, sockets: bool = True) -> None:
        super().__init__(*users)
        for user in users:
            self.mint(user, "prompt")
        for user in users if sockets else ():
            self.connect(user)

    def ask(self, user: str, prompt: str = "where do I overspend", *, nonce: str | None = None) -> Operation:
        return self.write(
            "invoke", "ask", user=user, connection=f"{user}/ws-1", surface="websocket", nonce=nonce,
            payload=f"{prompt} {self.secrets[user]}",
        )  # fmt: skip

    def event(self, user: str, run: str, name: str, body: object = None, *, seq: int | None = None) -> None:
        frame: dict[str, Any] = {"type": name, "run_id": run, "payload": body or {}}
        self.receive(user, frame if seq is None else {**frame, "seq": seq})

    def events(self, user: str, run: str, answer: str) -> None:
        self.event(user, run, "agent_started")
        self.event(user, run, "agent_thinking", {"thought": "so"})
        self.event(user, run, "agent_completed", {"result": answer})

    def answered(self, call: Operation, run: str) -> None:
        self.complete(call, "ok", ids={"run_id": run})

    def talk(self, user: str, run: str, answer: str | None = None, prompt: str = "where do I overspend") -> None:
        """One question, alone, with the user's own secret in the answer."""
        call = self.ask(user, prompt)
        self.events(user, run, self.secrets[user] if answer is None else answer)
        self.answered(call, run)


def explain(story: Story) -> Attribution:
    judgements = judge([kind() for kind in REGISTRY.values()], story.operations, Window())
    findings = [finding for judgement in judgements for finding in judgement.findings]
    assert findings, "nothing was found, so that there is nothing to explain"
    return attribute(findings, story.operations)


def first(story: Story) -> tuple[str, ...]:
    return explain(story).groups[0].faults


# Reaches everybody: W1 D3 X4


def test_whole_frames_that_reach_everybody_are_a_broadcast() -> None:
    story = Chat(*USERS)
    for number, asker in enumerate(USERS):
        call = story.ask(asker)
        for user in USERS:
            story.events(user, f"run-{number}", story.secrets[asker])
        story.answered(call, f"run-{number}")
    assert first(story) == ("W1",)


def test_a_list_that_shows_everybodys_rows_to_everybody_is_unscoped() -> None:
    story = Chat(*USERS, sockets=False)
    for user in USERS:
        story.request(user, "POST", "/api/threads", {"id": user}, 201, sent={"title": story.secrets[user]})
    for user in USERS:
        story.get(user, "/api/threads", [{"title": story.secrets[owner]} for owner in USERS])
    assert first(story) == ("D3",)


def test_data_that_piles_up_from_user_to_user_is_a_shared_default() -> None:
    story = Chat(*USERS, sockets=False)
    pile: list[str] = []
    for user in USERS:
        pile.append(story.secrets[user])
        story.request(user, "POST", "/api/threads", {"tags": list(pile)}, 201, sent={"title": story.secrets[user]})
    assert first(story) == ("X4",)


# Reaches only the next user of the same connection or slot: X2 P1 P3


def next_user(*, body: str = "", cut: bool = False) -> Chat:
    """Bob's request follows Alice's on the same backend and is answered with something of hers."""
    story = Chat(*USERS, sockets=False)
    call = story.begin("alice", "POST", "/api/messages", {"content": body or "hello", "mark": story.secrets["alice"]})
    if cut:
        story.complete(call, "info", detail={"silent": 1.0})
    else:
        story.complete(call, "ok", status=201, payload=encode({"id": "m1"}))
    story.get("bob", "/api/users/me", {"about": story.secrets["alice"]})
    story.get("carol", "/api/users/me", {"about": story.secrets["carol"]})
    return story


def test_the_next_user_after_a_large_body_has_the_previous_context() -> None:
    assert first(next_user(body=LARGE)) == ("X2",)


def test_the_next_user_after_a_cancelled_request_has_a_connection_out_of_step() -> None:
    assert first(next_user(cut=True)) == ("P3",)


def test_the_next_user_after_an_ordinary_request_has_a_pooled_session() -> None:
    assert first(next_user()) == ("P1",)


def test_a_large_body_that_was_also_cancelled_leaves_the_group_to_be_named() -> None:
    (group, *_) = explain(next_user(body=LARGE, cut=True)).groups
    assert {"X2", "P3"} & set(group.faults)


# Only the first requester's data: K1 K3 G5


def test_the_first_answer_given_again_is_a_cache_without_the_user() -> None:
    story = Chat(*USERS, sockets=False)
    answer = {"about": story.secrets["alice"]}
    for user in USERS:
        story.get(user, "/api/users/me/summary", answer)
    groups = explain(story).groups
    assert groups[0].faults in (("K1", "K3"), ("K1",))


def test_if_people_without_an_account_get_it_the_cache_is_in_front() -> None:
    story = Chat("alice", "bob", sockets=False)
    answer = {"about": story.secrets["alice"]}
    for user in ("alice", "bob"):
        story.get(user, "/api/users/me/summary", answer)
    call = story.write("invoke", "GET /api/users/me/summary", connection="nobody/rest", surface="rest")
    story.write("ok", call.action, connection="nobody/rest", surface="rest", call=call.index, payload=encode(answer))
    assert first(story) == ("K3",)


def test_the_first_completion_for_the_same_prompt_is_a_cache_of_completions() -> None:
    story = Chat(*USERS)
    for number, user in enumerate(USERS):
        story.talk(user, f"run-{number}", answer=f"advice: {story.secrets['alice']}")
    assert first(story) == ("G5",)


def test_the_first_completion_for_a_similar_prompt_is_a_similarity_cache() -> None:
    story = Chat(*USERS)
    wordings = ("where do I overspend", "tell me where do I overspend", "I overspend where, do tell")
    for number, (user, wording) in enumerate(zip(USERS, wordings, strict=False)):
        story.talk(user, f"run-{number}", answer=f"advice: {story.secrets['alice']}", prompt=wording)
    assert first(story) == ("G7",)


# Only the last writer's: X1 W3


def test_frames_that_go_to_whoever_asked_last_come_from_a_global() -> None:
    story = Chat(*USERS)
    one = story.ask("alice", "what of alice")
    two = story.ask("bob", "what of bob")
    story.events("bob", "run-1", story.secrets["alice"])
    story.events("bob", "run-2", story.secrets["bob"])
    story.answered(two, "run-2")
    story.complete(one, "info", ids={"run_id": "run-1"}, detail={"silent": 5.0})
    story.talk("carol", "run-3")
    assert first(story) == ("X1",)


def test_losses_after_a_second_connection_only_are_the_registry_of_connections() -> None:
    story = Chat("alice", "bob")
    story.connect("alice", "ws-2")
    for number in range(3):
        call = story.ask("alice")
        story.wait(20)
        story.complete(call, "info", detail={"silent": 20.0})
        story.talk("bob", f"run-{number}")
    fence(story, "alice", "bob")
    story.receive("alice", {"type": "pong"}, "ws-2")
    assert first(story) == ("W3",)


# Only same-instant pairs with equal ids: W5 X6


def test_answers_that_change_places_between_equal_request_ids_share_a_map() -> None:
    story = Chat("alice", "bob", sockets=False)
    one = story.write("invoke", "GET /api/users/me", user="alice", connection="alice/rest", surface="rest", nonce="r-1")
    two = story.write("invoke", "GET /api/users/me", user="bob", connection="bob/rest", surface="rest", nonce="r-1")
    for call, other in ((one, "bob"), (two, "alice")):
        story.complete(call, "ok", status=200, payload=encode({"about": story.secrets[other]}))
    assert first(story) == ("W5",)


def test_equal_run_ids_of_the_platforms_own_making_collide() -> None:
    story = Chat("alice", "bob")
    one, two = story.ask("alice", "of alice"), story.ask("bob", "of bob")
    for user in ("alice", "bob"):
        story.events(user, "run-1", story.secrets[user])
    story.answered(one, "run-1")
    story.answered(two, "run-1")
    story.events("bob", "run-1", story.secrets["alice"])
    assert first(story) == ("X6",)


def test_a_foreign_run_that_comes_under_an_id_that_clients_chose_is_no_collision() -> None:
    story = Chat("alice", "bob")
    one, two = story.ask("alice", "of alice", nonce="equal"), story.ask("bob", "of bob", nonce="equal")
    hers = {"run_id": "run-1", "thread_id": "thread-of-alice"}
    for user in ("alice", "bob"):
        for name, body in (("agent_started", {}), ("agent_completed", {"result": story.secrets["alice"]})):
            frame = {"type": name, **hers, "payload": {**body, "turn_id": "equal"}}
            story.receive(user, frame)
    story.complete(one, "ok", ids=hers)
    story.complete(two, "ok", ids={**hers, "thread_id": "thread-of-bob"})
    assert first(story) == ("W5",)


# Only crafted ids: K2 A5


def test_leaks_between_users_whose_ids_begin_alike_come_from_keys_by_pattern() -> None:
    story = Story()
    for user, id in (("alice", "u1"), ("bob", "u12"), ("carol", "v3")):
        story.write("ok", "principal", user=user, ids={"user_id": id})
        story.mint(user)
    for user in ("alice", "carol"):
        story.get(user, "/api/users/me", {"about": story.secrets[user]})
    story.get("alice", "/api/users/me/recent", [story.secrets["alice"], story.secrets["bob"]])
    assert first(story)[0] == "K2"


def test_a_token_that_begins_alike_is_a_cache_of_validations() -> None:
    story = Story("alice", "bob")
    story.control("bob", "bob")
    story.forge("bob", "same beginning", "alice")
    assert first(story) == ("A5",)


# Stale on connect: W6 K1


def test_old_frames_on_a_fresh_connection_were_kept_for_somebody_else() -> None:
    story = Chat("alice", sockets=True)
    story.write("ok", "principal", user="bob", ids={"user_id": "b-1"})
    story.talk("alice", "run-1")
    story.closed("alice", 1006)
    story.connect("bob")
    story.event("bob", "run-1", "agent_completed", {"result": story.secrets["alice"]})
    assert first(story) == ("W6",)


def test_what_comes_to_several_of_the_run_of_one_who_has_gone_was_kept_for_that_one() -> None:
    story = Chat("alice", "bob", "carol")
    call = story.ask("alice")
    story.event("alice", "run-1", "agent_started")
    story.closed("alice", 1000)
    story.complete(call, "info", ids={"run_id": "run-1"})
    for user in ("bob", "carol"):
        story.talk(user, f"run-of-{user}")
        story.event(user, "run-1", "agent_completed", {"result": story.secrets["alice"]})
    assert first(story) == ("W6",)


# Needs an id that the attacker supplies: D1–D3 W2 W4 G6

AIM: dict[str, Any] = {"owner": "alice", "object": {"kind": "thread", "id": "t1"}, "expect": "refused"}


def owned() -> Chat:
    story = Chat("alice", "bob")
    story.own("alice", "thread", "t1")
    story.request("alice", "PUT", "/api/threads/t1", {"id": "t1"}, sent={"title": story.secrets["alice"]})
    story.get("alice", "/api/threads/t1", {"id": "t1", "title": story.secrets["alice"]})
    return story


def test_a_foreign_object_read_by_its_id() -> None:
    story = owned()
    story.get("bob", "/api/threads/t1", {"id": "t1", "title": story.secrets["alice"]}, attempt="foreign id", **AIM)
    assert first(story) == ("D1",)


def test_a_foreign_object_changed_by_its_id() -> None:
    story = owned()
    story.request("bob", "PUT", "/api/threads/t1", {}, 200, sent={"title": "taken"}, attempt="foreign id", **AIM)
    story.get("alice", "/api/threads/t1", {"id": "t1", "title": "taken"})
    assert first(story) == ("D2",)


@pytest.mark.parametrize(
    ("name", "message", "fault"),
    [("subscribe", "switch_thread", "W4"), ("claimed id in a question", "user_message", "W2")],
)
def test_a_foreign_stream_by_subscription_or_by_a_claimed_id(name: str, message: str, fault: str) -> None:
    story = owned()
    story.send("bob", {"type": message, "thread_id": "t1"}, attempt=name, **AIM)
    call = story.ask("alice")
    for user in ("alice", "bob"):
        story.receive(user, {"type": "agent_started", "run_id": "run-1", "thread_id": "t1", "payload": {}})
        done = {"result": story.secrets["alice"]}
        story.receive(user, {"type": "agent_completed", "run_id": "run-1", "thread_id": "t1", "payload": done})
    story.answered(call, "run-1")
    assert first(story)[0] == fault


def test_a_tool_that_fetches_a_foreign_row() -> None:
    story = owned()
    story.send("bob", {"type": "user_message", "content": "show thread t1"}, attempt="foreign id in a tool", **AIM)
    call = story.ask("bob")
    story.event("bob", "run-2", "agent_started")
    story.event("bob", "run-2", "tool_executing", {"tool_name": "lookup"})
    story.event("bob", "run-2", "tool_completed", {"tool_name": "lookup", "result": story.secrets["alice"]})
    story.event("bob", "run-2", "agent_completed", {"result": "done"})
    story.answered(call, "run-2")
    assert first(story) == ("G6",)


def test_a_user_id_beside_the_token() -> None:
    story = Story("alice", "bob")
    story.control("bob", "bob")
    story.forge("bob", "X-User-ID of the victim", "alice", expect="self")
    assert first(story) == ("A9",)


# Sequentially too, or only overlapping: X4 G3 W6 K1, or X1 G1 G2 W5


def test_foreign_content_in_ones_own_run_is_a_singleton_if_only_at_the_same_time() -> None:
    story = Chat("alice", "bob")
    one, two = story.ask("alice", "what of alice"), story.ask("bob", "what of bob")
    story.events("bob", "run-2", f"advice on {story.secrets['alice']}")
    story.events("alice", "run-1", story.secrets["alice"])
    story.answered(one, "run-1")
    story.answered(two, "run-2")
    assert first(story) == ("G1",)


def test_foreign_content_in_ones_own_run_is_memory_if_also_afterwards() -> None:
    story = Chat("alice", "bob")
    story.talk("alice", "run-1")
    call = story.ask("bob", "something else")
    story.events("bob", "run-2", f"as you said: {story.secrets['alice']}")
    story.answered(call, "run-2")
    assert first(story) == ("G3",)


def test_foreign_results_of_tools_at_the_same_time_are_keyed_by_tool_name() -> None:
    story = Chat("alice", "bob")
    one, two = story.ask("alice", "what of alice"), story.ask("bob", "what of bob")
    for user, run, result in (("alice", "run-1", "bob"), ("bob", "run-2", "alice")):
        story.event(user, run, "agent_started")
        story.event(user, run, "tool_executing", {"tool_name": "ledger"})
        story.event(user, run, "tool_completed", {"tool_name": "ledger", "result": story.secrets[result]})
        story.event(user, run, "agent_completed", {"result": story.secrets[user]})
    story.answered(one, "run-1")
    story.answered(two, "run-2")
    assert first(story) == ("G2",)


# Gaps in one user's run, nothing foreign: W8 W3 F4 W13


def fence(story: Story, *users: str) -> None:
    """Everybody's connection lives: ping, pong."""
    for user in users:
        story.send(user, {"type": "ping"})
        story.receive(user, {"type": "pong"})


def test_missing_events_at_a_slow_reader_were_dropped_from_a_queue() -> None:
    story = Chat("alice", "bob")
    story.write("ok", "disturb", user="alice", detail={"what": "slow reader", "target": "alice/ws-1"})
    call = story.ask("alice")
    for number, name in ((1, "agent_started"), (2, "agent_thinking"), (6, "agent_completed")):
        story.event("alice", "run-1", name, seq=number)
    story.answered(call, "run-1")
    call = story.ask("bob")
    for number, name in ((1, "agent_started"), (2, "agent_thinking"), (3, "agent_completed")):
        story.event("bob", "run-2", name, seq=number)
    story.answered(call, "run-2")
    fence(story, "alice", "bob")
    assert first(story) == ("W8",)


def test_half_of_the_runs_lost_on_two_backends_are_a_registry_in_each_process() -> None:
    story = Chat(*USERS)
    for number in range(6):
        user = USERS[number % 3]
        call = story.write(
            "invoke", "ask", user=user, connection=f"{user}/ws-1", surface="websocket", payload=story.secrets[user],
            backend=f"backend-{number % 2 + 1}",
        )  # fmt: skip
        if number % 2:
            story.wait(20)
            story.complete(call, "info", detail={"silent": 20.0})
        else:
            story.events(user, f"run-{number}", story.secrets[user])
            story.answered(call, f"run-{number}")
    story.talk("alice", "run-7")
    fence(story, *USERS)
    assert first(story) == ("F4",)


def test_losses_on_all_that_was_open_when_a_store_was_away_are_a_listener_that_died() -> None:
    story = Chat("alice", "bob")
    for user in ("alice", "bob"):
        story.talk(user, f"run-of-{user}")
    story.write("ok", "disturb", detail={"what": "interrupt", "target": "subscriptions at the cache"})
    calls = [story.ask(user) for user in ("alice", "bob")]
    story.wait(20)
    for call in calls:
        story.complete(call, "info", detail={"silent": 20.0})
    fence(story, "alice", "bob")
    assert first(story) == ("W14",)


def test_an_answer_that_begins_sooner_if_others_have_asked_is_a_shared_prefix() -> None:
    assert first(asked_in_turns(10, new=0.06, shared=0.0)) == ("K6",)


def test_losses_that_come_with_the_death_of_another_are_a_fan_out_that_stops() -> None:
    story = Chat("alice", "bob", "carol")
    story.talk("bob", "run-1")
    call = story.ask("bob")
    story.write("ok", "disturb", user="alice", detail={"what": "kill", "target": "alice/ws-1"})
    story.closed("alice", 1006)
    story.wait(20)
    story.complete(call, "info", detail={"silent": 20.0})
    story.talk("carol", "run-3")
    fence(story, "bob", "carol")
    assert first(story) == ("W13",)


# What only one fault does


@pytest.mark.parametrize(
    ("attempt", "fault"),
    [
        ("alg none", "A1"), ("claims changed", "A1"), ("signature stripped", "A1"), ("own key as jwk", "A2"),
        ("kid names an empty file", "A2"), ("blank key", "A2"), ("exp a minute ago", "A3"), ("expired token", "A3"),
        ("aud of services", "A4"), ("type refresh", "A4"), ("refresh token as access token", "A4"),
        ("piece of iss at its beginning", "A12"), ("list of pieces of aud", "A12"),
        ("user_id in the query", "A9"), ("forged token in cookie token", "A9"), ("bypass by X-E2E-Test", "F1"),
    ],
)  # fmt: skip
def test_each_family_of_forgeries_names_its_fault(attempt: str, fault: str) -> None:
    story = Story("alice", "bob")
    story.control("bob", "bob")
    story.forge("bob", attempt, "alice")
    assert first(story) == (fault,)


def test_credentials_that_outlive_their_end() -> None:
    for how, use, fault in (("logout", "rest", "A6"), ("expire", "rest", "A3"), ("revoke", "socket", "W11")):
        story = Story("alice", "bob")
        story.get("alice", "/auth/me", {})
        story.connect("alice")
        story.write("ok", how, user="alice")
        story.wait(5)
        if use == "rest":
            story.get("alice", "/auth/me", {}, attempt="after the end", expect="refused")
        else:
            story.receive("alice", {"type": "thread_created", "payload": {}})
        assert first(story) == (fault,)


def test_transactions_resources_and_stores() -> None:
    lost = Story("alice", "bob")
    one, two = lost.begin_txn("alice"), lost.begin_txn("bob")
    lost.txn("alice", ["r", "balance", 1], ["w", "balance", 2], began=one)
    lost.txn("bob", ["r", "balance", 1], ["w", "balance", 3], began=two)
    assert first(lost) == ("D5",)

    dirty = Story("alice", "bob")
    one = dirty.begin_txn("alice", ["w", "x", 1])
    dirty.txn("bob", ["r", "x", 1])
    dirty.complete(one, "fail")
    assert first(dirty) == ("P2",)

    twice = Story("alice")
    one, two = (twice.begin_txn("alice", ["spend", "refresh token", 1]) for _ in range(2))
    for call in (one, two):
        twice.txn("alice", ["spend", "refresh token", 1], began=call)
    assert first(twice) == ("A7",)

    leak = Story("alice")
    for cycle in range(4):
        leak.gauge("PostgreSQL connections", 5 + cycle, cycle)
    assert first(leak) == ("P4",)

    worker = Story("alice", "bob")
    for user in ("alice", "bob"):
        worker.own(user, "thread", f"thread-{user}")
    worker.row("runs", "r2", "alice", {"id": "r2", "thread_id": "thread-bob"})
    assert first(worker) == ("X3",)


def test_an_answer_in_ones_own_other_conversation_is_a_current_conversation() -> None:
    story = Story("alice", "bob")
    asks = [
        story.write("invoke", "ask", user="alice", surface="websocket", nonce=f"q{number}", ids={"thread_id": thread})
        for number, thread in enumerate(("t1", "t2"))
    ]
    for name, thread in (("agent_started", "t1"), ("agent_completed", "t2")):
        story.receive("alice", {"type": name, "run_id": "r", "thread_id": thread})
    story.complete(asks[0], "ok", ids={"run_id": "r", "thread_id": "t1"})
    assert first(story) == ("X7",)


def test_an_answer_that_an_equal_key_brings_is_kept_without_its_user() -> None:
    story = owned()
    answer = {"id": "t1", "title": story.secrets["alice"]}
    story.request("alice", "POST", "/api/threads", answer, sent={})
    story.request("bob", "POST", "/api/threads", answer, sent={}, attempt="equal idempotency key", owner="alice",
                  expect="bob")  # fmt: skip
    assert first(story) == ("K5",)


@pytest.mark.parametrize("reached_before", [False, True])
def test_a_tool_that_shows_the_first_callers_data_has_the_first_callers_session(reached_before: bool) -> None:
    story = owned()
    if reached_before:
        story.get("bob", "/api/threads/t1", {"detail": "not yours"}, 403, attempt="foreign id", **AIM)
    for user in ("alice", "bob"):
        story.request(user, "POST", "/api/tools/execute", {"titles": [story.secrets["alice"]]}, sent={"name": "index"})
    assert first(story) == ("T1",)


def test_nothing_found_means_nothing_to_explain() -> None:
    assert attribute([], Chat(*USERS).operations).groups == ()
    assert str(Attribution()) == "nothing in the catalogue looks like this"


def test_every_finding_gets_the_faults_that_its_checker_can_see() -> None:
    story = owned()
    story.get("bob", "/api/threads/t1", {"id": "t1", "title": story.secrets["alice"]}, attempt="foreign id", **AIM)
    judgements = judge([kind() for kind in REGISTRY.values()], story.operations, Window())
    found = [finding for judgement in judgements for finding in judgement.findings]
    explained = attributed(found, attribute(found, story.operations))
    assert len(explained) == len(found)
    for finding in explained:
        assert finding.attribution[0] == "D1"
    assert isinstance(explained[0], Finding)


def test_every_fault_of_the_catalogue_can_be_named_by_some_clue() -> None:
    spoken_for = {fault for clue in RULES for fault, weight in clue.points.items() if weight > 0}
    assert spoken_for == set(CAUGHT_BY)
    assert set(CAUGHT_BY) == set(known_faults())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
@pytest.mark.nightly
def test_on_the_model_platform_the_fault_is_mostly_in_the_first_group(fault: type[Fault]) -> None:
    hits = 0
    for seed in range(20):
        history = fault(Random(seed), fault.settings_for(Settings())).play()
        judgements = history.judge([kind() for kind in REGISTRY.values()])
        findings = [finding for judgement in judgements for finding in judgement.findings]
        groups = attribute(findings, history.operations, Window(start=history.start)).groups
        hits += bool(groups) and fault.id.rstrip("b") in groups[0].faults
    assert hits >= 14, f"{fault.id} was named in {hits} of 20"
