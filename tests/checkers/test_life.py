"""Silence proves something only where the silent socket was alive."""

import pytest

from netra_probe.checkers import Checker, canary, envelope
from netra_probe.checkers.verdict import Verdict

from .story import Story, encode

PING = '{"type":"ping"}'
WELCOME = encode({"type": "system_message", "data": {"event": "connection_established"}})


def a_story(*, pong: bool) -> Story:
    """alice asks and sees her own answer while bob is connected; then both are pinged and closed."""
    story = Story("alice", "bob")
    token = story.mint("alice")
    for user in ("alice", "bob"):
        process = {"user": user, "connection": f"{user}/ws-1", "surface": "websocket"}
        call = story.write("invoke", "connect", **process)
        story.complete(call, "ok")
        story.write("ok", "receive", payload=WELCOME, **process)
    alice = {"user": "alice", "connection": "alice/ws-1", "surface": "websocket"}
    story.write("invoke", "send", payload=encode({"type": "chat", "payload": {"content": token}}), **alice)
    for name in ("agent_started", "agent_completed"):
        payload = encode({"type": name, "run_id": "run-a", "payload": {"content": token}})
        story.write("ok", "receive", payload=payload, ids={"run_id": "run-a"}, **alice)
    for user in ("alice", "bob"):
        process = {"user": user, "connection": f"{user}/ws-1", "surface": "websocket"}
        story.write("invoke", "send", payload=PING, **process)
        if pong or user == "alice":
            story.write("ok", "receive", payload=encode({"type": "pong"}), **process)
        story.write("ok", "closed", status=1000, **process)
    return story


@pytest.mark.parametrize("checker", [canary(), envelope()], ids=lambda checker: checker.id)
def test_a_socket_that_left_a_ping_unanswered_proves_nothing_even_when_closed_in_order(checker: Checker) -> None:
    judgement = checker(a_story(pong=False).operations)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "bob/ws-1 did not answer a ping: its silence proves nothing" in judgement.doubts


@pytest.mark.parametrize("checker", [canary(), envelope()], ids=lambda checker: checker.id)
def test_a_socket_that_answered_was_alive(checker: Checker) -> None:
    doubts = checker(a_story(pong=True).operations).doubts
    assert not [doubt for doubt in doubts if "bob/ws-1" in doubt]
