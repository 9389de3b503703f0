"""C1 finds a planted secret wherever and however it surfaces, and knows when its silence proves nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

import pytest

from netra_probe.checkers import Window, canary
from netra_probe.checkers.verdict import Judgement
from netra_probe.history.canary import CanarySearch, mint

from .story import Story

SECRET = mint(seed=7, identity="a@x", user="alice", field="title", surface="rest")
TOKEN = SECRET.token


def encode64(text: str, lead: int, tail: str = "") -> str:
    return base64.b64encode(b"\xfb" * lead + text.encode() + tail.encode()).decode()


def search() -> CanarySearch:
    found = CanarySearch()
    found.add(SECRET)
    return found


ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": lambda token: token,
    "folded": str.lower,
    "hex": lambda token: token.encode().hex(),
    "hex in capitals": lambda token: token.encode().hex().upper(),
    "url, every character": lambda token: "".join(f"%{ord(character):02x}" for character in token),
    "url, one character": lambda token: f"%{ord(token[0]):X}{token[1:]}",
    "escaped": lambda token: "".join(f"\\u{ord(character):04x}" for character in token),
    **{f"base64, {lead} before": partial(encode64, lead=lead) for lead in range(3)},
    **{f"base64, {lead} before, more after": partial(encode64, lead=lead, tail="~?~?") for lead in range(3)},
    "base64 for urls": lambda token: base64.urlsafe_b64encode(b"\xfb\xef" + token.encode() + b"\xfb\xef\xff").decode(),
    "base64 in a url": lambda token: quote(encode64(token, 1, "??>"), safe=""),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_secret_is_found_in_every_encoding(encoding: str) -> None:
    form = encoding.split(" ")[0].rstrip(",")
    for around in ("{}", '{{"result":"see {} there"}}', "x{}", "data:text/plain;base64,{}"):
        (sighting,) = search().find(around.format(ENCODINGS[encoding](TOKEN)))
        assert (sighting.canary, sighting.whole, sighting.form) == (SECRET, True, form), around


@pytest.mark.parametrize(
    "cut", [f"{TOKEN[:14]}…", f"{TOKEN[:12]} and", TOKEN.encode().hex()[:30], encode64(TOKEN, 1)[:24]]
)
def test_a_beginning_is_seen_as_a_beginning(cut: str) -> None:
    (sighting,) = search().find(f"preview: {cut}")
    assert (sighting.canary, sighting.whole) == (SECRET, False)


@pytest.mark.parametrize(
    "text", ["", "a canary in a mine", "CANARY", TOKEN[:8], "Q0FOQVJZ", "%41%", "\\u00", "43414E415259"]
)
def test_what_only_looks_alike_is_nothing(text: str) -> None:
    assert list(search().find(text)) == []


def test_secrets_beside_each_other_are_all_found() -> None:
    other = mint(seed=7, identity="b@x", user="bob", field="title", surface="rest")
    both = search()
    both.add(other)
    found = both.find(f"{TOKEN} {TOKEN.lower()} {other.token.encode().hex()} {TOKEN}")
    assert sorted((sighting.form, sighting.token) for sighting in found) == sorted(
        [("raw", TOKEN), ("folded", TOKEN), ("hex", other.token)]
    )


def story() -> Story:
    """Alice and bob, each with a secret in a thread of their own that they have read."""
    told = Story("alice", "bob")
    for user in ("alice", "bob"):
        token = told.mint(user)
        told.request(user, "POST", "/api/threads", {"title": token}, 201, sent={"title": token})
    return told


def judged(told: Story, start: int = 0) -> Judgement:
    return canary()(told.operations, Window(start=start))


def test_everybody_seeing_their_own_passes() -> None:
    assert judged(story()).doubts == ()
    assert judged(story()).verdict == "pass"


def test_a_foreign_secret_is_a_finding_that_tells_the_way() -> None:
    told = story()
    last = told.get("bob", "/api/threads", [{"title": told.secrets["alice"]}])
    (finding,) = judged(told).findings
    assert (finding.kind, finding.victims, finding.recipients) == ("foreign canary", ("alice",), ("bob",))
    assert last.index in finding.witness
    assert finding.explanation.startswith("Let m = ")
    assert finding.explanation.endswith("a contradiction.")


def test_equal_leaks_are_one_finding_with_a_count() -> None:
    told = story()
    for _ in range(3):
        told.get("bob", "/api/threads", [{"title": told.secrets["alice"]}])
    (finding,) = judged(told).findings
    assert finding.summary == "alice's data reached bob over rest through GET /api/threads (3 responses, 1 secret)"


@pytest.mark.parametrize("status", [200, 403, 500])
def test_a_refusal_that_shows_the_secret_shows_it(status: int) -> None:
    told = story()
    told.get("bob", "/api/threads/t1", {"detail": told.secrets["alice"].lower()}, status)
    assert len(judged(told).findings) == 1


def test_nobody_in_particular_is_somebody_else() -> None:
    told = story()
    call = told.write(
        "invoke", "GET /api/threads", connection="nobody/rest", surface="rest", detail={"path": "/api/threads"}
    )
    told.complete(call, "ok", status=200, payload=told.secrets["alice"])
    (finding,) = judged(told).findings
    assert finding.recipients == ("anonymous",)


def test_ones_own_words_come_back_without_blame() -> None:
    told = story()
    words = {"content": f"is this {told.secrets['alice']}?"}
    told.request("bob", "POST", "/api/threads/t2/messages", words, 201, sent=words)
    assert judged(told).findings == ()


def test_a_secret_in_a_path_is_sent_too() -> None:
    told = story()
    told.get("bob", f"/api/search?q={told.secrets['alice']}", {"query": told.secrets["alice"]})
    assert judged(told).findings == ()


def test_quoting_afterwards_does_not_excuse() -> None:
    told = story()
    told.get("bob", "/api/threads", [{"title": told.secrets["alice"]}])
    told.send("bob", {"payload": told.secrets["alice"]})
    assert len(judged(told).findings) == 1


def test_acting_as_somebody_else_on_purpose_is_no_leak() -> None:
    told = story()
    told.get("bob", "/auth/me", {"name": told.secrets["alice"]}, attempt="valid token of alice", expect="alice")
    assert judged(told).findings == ()


def test_acting_as_oneself_is_nothing_special() -> None:
    told = story()
    told.get("bob", "/auth/me", {"name": told.secrets["bob"]}, attempt="own token", expect="self", control=True)
    assert judged(told).findings == ()
    told.get("bob", "/auth/me", {"name": told.secrets["alice"]}, attempt="own token", expect="self", control=True)
    assert [finding.recipients for finding in judged(told).findings] == [("bob",)]


def test_what_came_before_the_window_is_not_accused_again() -> None:
    told = story()
    told.get("bob", "/api/threads", [{"title": told.secrets["alice"]}])
    start = len(told.operations)
    for user in ("alice", "bob"):
        told.get(user, "/api/threads", [{"title": told.secrets[user]}])
    assert judged(told, start).verdict == "pass"


def test_rows_and_keys_are_no_recipients() -> None:
    told = story()
    told.row("threads", "1", "bob", {"title": told.secrets["alice"]})
    told.key("user:bob", ["bob"], told.secrets["alice"])
    assert judged(told).findings == ()


def doubts(told: Story, start: int = 0) -> str:
    judgement = judged(told, start)
    assert judgement.verdict == "inconclusive"
    return "; ".join(judgement.doubts)


def test_without_a_canary_nothing_is_proved() -> None:
    told = Story("alice")
    told.get("alice", "/api/threads", [])
    assert "no canary was planted" in doubts(told)


def test_without_a_delivery_nothing_is_proved() -> None:
    assert "nothing was delivered" in doubts(story(), start=10_000)


def test_without_an_owner_who_sees_their_own_nothing_is_proved() -> None:
    told = story()
    start = len(told.operations)
    told.get("alice", "/api/threads", [])
    assert "no positive control" in doubts(told, start)


def test_an_owner_who_plants_in_vain_is_a_doubt() -> None:
    told = story()
    start = len(told.operations)
    told.get("alice", "/api/threads", [{"title": told.secrets["alice"]}])
    told.request("bob", "POST", "/api/threads", {}, 201, sent={"title": told.secrets["bob"]})
    assert "bob planted a canary and never saw it" in doubts(told, start)


def test_alone_nobody_else_was_looking() -> None:
    told = Story("alice")
    token = told.mint("alice")
    told.request("alice", "POST", "/api/threads", {"title": token}, 201, sent={"title": token})
    assert "nobody but the owner was looking" in doubts(told)


def test_a_beginning_is_a_doubt_and_no_finding() -> None:
    told = story()
    told.get("bob", "/api/threads", [{"title": told.secrets["alice"][:15] + "…"}])
    assert "cut short" in doubts(told)


def test_a_control_canary_that_its_owner_sees_spoils_the_search() -> None:
    told = story()
    token = mint(seed=7, identity="alice", user="alice", field="c", surface="rest", control=True).token
    told.write("ok", "mint", user="alice", detail={"token": token, "field": "c", "control": True})
    told.get("alice", "/api/threads", [token])
    assert "control canary of alice" in doubts(told)
    told.get("bob", "/api/threads", [token])
    assert [finding.kind for finding in judged(told).findings] == ["control canary"]


def test_a_canary_of_another_investigation_is_somebody_elses_data() -> None:
    told = story()
    told.get("bob", "/api/threads", [TOKEN])
    (finding,) = judged(told).findings
    assert finding.story.startswith("data of another investigation reached {recipient} over rest")
    assert (finding.victims, finding.recipients, finding.is_isolation_failure) == ((), ("bob",), True)


def test_what_an_earlier_investigation_left_in_an_existing_account_is_a_doubt() -> None:
    told = story()
    told.write("ok", "principal", user="bob", ids={"user_id": "b"}, detail={"existing": True})
    told.get("bob", "/api/threads", [TOKEN])
    assert judged(told).findings == ()
    assert "another investigation" in doubts(told)


def test_a_socket_without_a_sign_of_life_is_a_doubt() -> None:
    told = Story("alice", "bob")
    for user in ("alice", "bob"):
        told.connect(user)
        told.receive(user, {"type": "system_message", "data": {"event": "connection_established"}})
    token = told.mint("alice")
    told.send("alice", {"payload": token})
    told.receive("alice", {"type": "agent_completed", "payload": {"result": token}})
    assert "bob/ws-1 gave no sign of life" in doubts(told)
    told.receive("bob", {"type": "pong"})
    assert judged(told).verdict == "pass"


def test_a_socket_that_was_closed_owes_no_sign_of_life() -> None:
    told = story()
    for name in ("ws-1", "ws-2"):
        told.connect("bob", name)
    told.closed("bob", 1000, "ws-1")
    told.receive("alice", {"type": "agent_completed", "payload": {"result": told.secrets["alice"]}})
    told.receive("bob", {"type": "pong"}, "ws-2")
    assert judged(told).verdict == "pass"
