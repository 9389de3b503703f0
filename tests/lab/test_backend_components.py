"""Components of the backend on their own, where no server is needed to see what they promise."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_probe.lab.backend.agents.agent import choose_specialist
from netra_probe.lab.backend.circuit_breakers import FAILURES, OPEN_SECONDS, ModelBreaker
from netra_probe.lab.backend.settings import SETTINGS, BackendSettings, Limits
from netra_probe.lab.backend.user_execution_context import (
    MAX_DEPTH,
    ContextIsolationError,
    InvalidContextError,
    UserExecutionContext,
)
from netra_probe.lab.llm_service.composition import PIECES, ChatMessage, complete, pieces_of
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment
from netra_probe.lab.shared.live_configuration import COMMON
from netra_probe.lab.shared.settings import ConfigurationProblem


def context(**changes: Any) -> UserExecutionContext:
    ids = {"user_id": "u-1", "thread_id": "thread_1", "run_id": "run_1", **changes}
    return UserExecutionContext.from_request(**ids)


@pytest.mark.parametrize("field", ["user_id", "thread_id", "run_id", "request_id"])
def test_empty_and_placeholder_ids_make_no_context(field: str) -> None:
    for value in ("", "  ", " u", "registry", "placeholder", "Default", "temp", "none", "NULL", "undefined", "temp_1"):
        with pytest.raises(InvalidContextError):
            context(**{field: value})


def test_nothing_in_a_context_can_be_changed_nor_shared_with_its_maker() -> None:
    mine: dict[str, Any] = {"list": [1, {"deep": "value"}]}
    made = context(agent_context=mine)
    mine["list"][1]["deep"] = "changed by somebody else"
    assert made.to_dict()["agent_context"] == {"list": [1, {"deep": "value"}]}
    with pytest.raises(TypeError):
        made.agent_context["new"] = 1  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.user_id = "u-2"  # type: ignore[misc]
    assert made.verify_isolation()


def test_children_inherit_identity_and_context_and_know_their_parent() -> None:
    parent = context(agent_context={"kept": 1}, websocket_client_id="ws_1")
    child = parent.create_child_context("step", additional_agent_context={"added": 2})
    assert (child.user_id, child.thread_id, child.run_id) == (parent.user_id, parent.thread_id, parent.run_id)
    assert (child.parent_request_id, child.operation_depth) == (parent.request_id, 1)
    assert child.request_id != parent.request_id
    assert dict(child.agent_context) == {"kept": 1, "added": 2}
    assert dict(parent.agent_context) == {"kept": 1}


async def test_a_child_that_is_cleaned_up_leaves_its_parent_whole_and_a_failure_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[str] = []

    def broken() -> None:
        raise OSError("gone")

    async def awaited() -> None:
        called.append("child's second")

    parent = context()
    child = parent.create_child_context("step")
    parent.add_cleanup_callback(lambda: called.append("parent's"))
    for callback in (lambda: called.append("child's first"), broken, awaited):
        child.add_cleanup_callback(callback)
    await child.cleanup()
    await child.cleanup()
    assert called == ["child's second", "child's first"]
    assert "gone" in caplog.text
    await parent.cleanup()
    assert called[2:] == ["parent's"]


def test_contexts_that_call_each_other_in_a_circle_are_stopped() -> None:
    current = context()
    for _ in range(MAX_DEPTH):
        current = current.create_child_context("again")
    with pytest.raises(InvalidContextError, match="circle"):
        current.create_child_context("once more")


def test_a_session_of_another_user_or_a_mutable_object_is_found() -> None:
    class Session:
        user_id = "u-2"

    with pytest.raises(ContextIsolationError):
        context(db_session=Session()).verify_isolation()
    with pytest.raises(ContextIsolationError):
        context(agent_context={"shared": threading.Lock()}).verify_isolation()


def test_contexts_of_many_threads_stay_apart() -> None:
    made: dict[int, list[UserExecutionContext]] = {}

    def work(number: int) -> None:
        root = context(user_id=f"u-{number}", agent_context={"number": number})
        made[number] = [root.create_child_context(f"step {step}") for step in range(50)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, children in made.items():
        assert {(child.user_id, child.agent_context["number"]) for child in children} == {(f"u-{number}", number)}
    assert len({child.request_id for children in made.values() for child in children}) == 500


@given(st.text(max_size=500) | st.text(alphabet="ab ", max_size=50))
def test_pieces_concatenate_to_the_text_without_an_empty_one_or_a_torn_word(text: str) -> None:
    pieces = pieces_of(text)
    assert len(pieces) == PIECES
    assert "".join(pieces) == text
    if text[1:].count(" ") >= PIECES - 1:
        assert all(pieces)
        assert all(piece.startswith(" ") for piece in pieces[1:])


@given(st.lists(st.builds(ChatMessage, role=st.sampled_from(["system", "user"]), content=st.text()), max_size=5))
def test_the_model_repeats_its_whole_context(messages: list[ChatMessage]) -> None:
    answer = complete(messages)
    assert all(message.content in answer for message in messages)
    assert complete(messages) == answer


@pytest.mark.parametrize(
    ("request_text", "specialist"),
    [
        ("Where do I overspend?", "cost_specialist"),
        ("Why is inference slow?", "performance_specialist"),
        ("Hello", "general_specialist"),
    ],
)
def test_triage_goes_by_the_words_of_the_request(request_text: str, specialist: str) -> None:
    assert choose_specialist(request_text) == specialist


def test_the_breaker_opens_after_failures_tries_once_and_closes_on_success() -> None:
    now, told = [0.0], list[str]()
    breaker = ModelBreaker(told.append, clock=lambda: now[0])
    for _ in range(FAILURES):
        assert breaker.may_ask()
        breaker.unreachable()
    assert (breaker.may_ask(), told) == (False, ["service_degraded"])
    now[0] += OPEN_SECONDS
    assert (breaker.may_ask(), breaker.may_ask()) == (True, False)
    breaker.reached()
    assert (breaker.state, told) == ("closed", ["service_degraded", "service_recovered"])


def test_settings_name_what_is_missing_and_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IsolatedEnvironment, "_instance", None)
    variables = IsolatedEnvironment()
    variables.enable_isolation()
    values = {
        "DATABASE_URL": "postgresql://u:secret-value@h/d",
        "REDIS_URL": "redis://:secret-value@h/0",
        "AUTH_SERVICE_URL": "http://auth",
        "LLM_SERVICE_URL": "http://llm",
        "SERVICE_ID": "netra-backend",
        "SERVICE_SECRET": "secret-value-of-the-service",
    }
    variables.replace("runtime", values)
    settings = BackendSettings.of(UnifiedConfigurationManager(service_name="backend", settings=(*COMMON, *SETTINGS)))
    assert "secret-value" not in repr(settings)
    assert settings.limits.message_bytes == Limits().message_bytes
    for name in values:
        variables.replace("runtime", {**values, name: ""})
        with pytest.raises(ConfigurationProblem, match=name) as problem:
            UnifiedConfigurationManager(service_name="backend", settings=(*COMMON, *SETTINGS)).validate()
        assert "secret-value" not in str(problem.value)
