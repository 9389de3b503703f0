"""Classes of the platform in this process: the lab's, and some that nobody here wrote."""

import asyncio
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_probe import investigate
from netra_probe.clients.component import COMPONENTS, Absent, Component, Raised, Returned
from netra_probe.errors import ParameterError
from netra_probe.history.store import Recorder
from netra_probe.target.deployment import Target
from netra_probe.target.lab import find_or_start

IDS = {"user_id": "u-1", "thread_id": "thread_1", "run_id": "run_1"}
CHECKOUT = '''
    """A checkout of another version: some calls are as they were, others are not."""
    import asyncio, threading

    class Context:
        def __init__(self, user, run): self.user, self.run = user, run
        @classmethod
        def from_request(cls, user, run, tenant): return cls(user, run)
        def create_child_context(self, operation_name): return self
        to_dict = {"not": "callable"}

    class Registry:
        """By the book."""
        def get_user_session(self, user_id): return {"user_id": user_id}
        async def create_agent_for_user(self, user_id, **kwargs): raise RuntimeError("out of agents for " + user_id)
        async def cleanup_user_session(self, user_id): await asyncio.Event().wait()

    class Awkward:
        __slots__ = ()
        def __new__(cls, *args): raise SystemExit("not in this process")
        def __repr__(self): raise ValueError("no repr")

    class Broken:
        def get(self, key, default=None): return Odd()

    class Odd:
        def __repr__(self): raise ValueError("no repr")
        def __str__(self): raise ValueError("no text")

    function = lambda: None
'''


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "history.jsonl")
    yield recorder
    recorder.abandon()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package on the path."""
    (tmp_path / "other_platform").mkdir()
    (tmp_path / "other_platform" / "__init__.py").write_text("")
    (tmp_path / "other_platform" / "services.py").write_text(textwrap.dedent(CHECKOUT))
    (tmp_path / "other_platform" / "exits.py").write_text("raise SystemExit('configure me first')\n")
    (tmp_path / "other_platform" / "broken.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "other_platform"
    for name in [name for name in sys.modules if name.startswith("other_platform")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_labs_classes_are_there_and_as_they_are_written_down(history: Recorder, name: str) -> None:
    component = Component(history, name)
    assert component, component.differences
    assert component.differences == ()


async def test_a_call_returns_its_value_and_is_in_the_history(history: Recorder) -> None:
    contexts = Component(history, "UserExecutionContext")
    made = await contexts.call("from_request", by="alice", **IDS)
    assert isinstance(made, Returned)
    child = await contexts.call("create_child_context", "tool:search", on=made.value, by="alice")
    assert isinstance(child, Returned)
    assert child.value.parent_request_id == made.value.request_id
    invoked, returned = [operation for operation in history if operation.action == "UserExecutionContext.from_request"]
    assert (invoked.type, returned.type, returned.user, returned.surface) == ("invoke", "ok", "alice", "component")
    assert returned.ids["user_id"] == "u-1"
    assert made.operation == returned.index
    assert '"thread_id":"thread_1"' in invoked.payload


async def test_what_the_class_raises_is_a_value(history: Recorder) -> None:
    contexts = Component(history, "UserExecutionContext")
    refused = await contexts.call("from_request", user_id="placeholder", thread_id="t", run_id="r")
    assert refused == Raised(kind="InvalidContextError", message=getattr(refused, "message", ""))
    assert not refused
    assert history[len(history) - 1].type == "fail"


async def test_an_instance_is_made_and_asked(history: Recorder) -> None:
    environments = Component(history, "IsolatedEnvironment")
    one, other = environments.construct(by="alice"), environments.construct(by="bob")
    assert isinstance(one, Returned) and isinstance(other, Returned)
    assert one.value is other.value
    assert (await environments.call("is_isolated", on=one.value)) == Returned(value=one.value.is_isolated())
    assert "0x" not in "".join(operation.payload for operation in history)


async def test_threads_call_without_awaiting(history: Recorder) -> None:
    contexts = Component(history, "UserExecutionContext")
    made = await asyncio.gather(
        *(asyncio.to_thread(contexts.call_now, "from_request", **{**IDS, "run_id": f"r{n}"}) for n in range(8))
    )
    assert {result.value.run_id for result in made if isinstance(result, Returned)} == {f"r{n}" for n in range(8)}
    assert sum(operation.type == "ok" for operation in history) == 8


async def test_differences_are_reported_and_nothing_crashes_on_them(history: Recorder, checkout: str) -> None:
    contexts = Component(history, "UserExecutionContext", path=f"{checkout}.services:Context")
    assert [str(difference) for difference in contexts.differences] == [
        "UserExecutionContext.from_request takes (user, run, tenant) instead of (user_id, thread_id, run_id, …)",
        "UserExecutionContext.verify_isolation is missing",
        "UserExecutionContext.to_dict is a dict and cannot be called",
    ]
    assert [difference.kind for difference in contexts.differences] == ["parameters", "missing", "missing"]
    wrong = await contexts.call("from_request", **IDS)
    assert isinstance(wrong, Absent)
    assert "takes (user, run, tenant)" in wrong.reason
    assert await contexts.call("verify_isolation") == Absent(reason="UserExecutionContext has no verify_isolation")
    assert contexts.takes("from_request", "tenant")
    assert not contexts.takes("from_request", "user_id")
    fitting = await contexts.call("from_request", "u-1", "r-1", "t-1")
    assert isinstance(fitting, Returned)
    assert fitting.value.user == "u-1"
    assert sum(operation.action == "difference" for operation in history) == 3


async def test_a_class_of_another_package_by_the_book_has_no_differences(history: Recorder, checkout: str) -> None:
    registry = Component(history, "AgentRegistry", path=f"{checkout}.services:Registry", patience=0.05)
    assert registry.differences == ()
    made = registry.construct()
    assert isinstance(made, Returned)
    session = await registry.call("get_user_session", "u-1", on=made.value)
    assert session == Returned(value={"user_id": "u-1"})
    failed = await registry.call("create_agent_for_user", "u-1", on=made.value)
    assert isinstance(failed, Raised)
    assert (failed.kind, failed.message) == ("RuntimeError", "out of agents for u-1")
    hanging = await registry.call("cleanup_user_session", "u-1", on=made.value)
    assert isinstance(hanging, Raised)
    assert hanging.kind == "TimeoutError"
    assert history[hanging.operation].type == "info"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{0}.services:Nothing", "AttributeError"),
        ("{0}.nowhere:Context", "ModuleNotFoundError"),
        ("{0}.exits:Context", "SystemExit: configure me first"),
        ("{0}.broken:Context", "SyntaxError"),
        ("{0}.services:function", "it is a function and no class"),
        ("{0}/services.py", "not written as package.module:Class"),
    ],
)
async def test_what_cannot_be_imported_is_a_difference(
    history: Recorder, checkout: str, path: str, reason: str
) -> None:
    component = Component(history, "LLMManager", path=path.format(checkout))
    assert not component
    (difference,) = component.differences
    assert difference.kind == "import"
    assert reason in difference.text
    assert isinstance(component.construct(), Absent)
    assert isinstance(await component.call("ask_llm", "hello"), Absent)


async def test_a_class_that_leaves_or_cannot_be_shown_does_no_harm(history: Recorder, checkout: str) -> None:
    leaving = Component(history, "DatabaseManager", path=f"{checkout}.services:Awkward").construct()
    assert isinstance(leaving, Raised)
    assert leaving.kind == "SystemExit"
    odd = Component(history, "IsolatedEnvironment", path=f"{checkout}.services:Broken")
    made = odd.construct()
    assert isinstance(made, Returned)
    assert isinstance(await odd.call("get", "NAME", on=made.value), Returned)
    assert history[len(history) - 1].payload == '"<Odd>"'


def test_an_unknown_component_names_the_nearest(history: Recorder) -> None:
    with pytest.raises(ParameterError, match=r'unknown component "LLMManger"; did you mean "LLMManager"\?'):
        Component(history, "LLMManger")


async def test_an_investigation_takes_the_class_that_its_parameters_name(checkout: str) -> None:
    components = {"AgentRegistry": f"{checkout}.services:Registry"}
    target = Target.model_validate({**dict(find_or_start()), "components": components})
    probe = await investigate("C4", users=2, target=target)
    try:
        assert probe.component("AgentRegistry").type is sys.modules[f"{checkout}.services"].Registry
        assert probe.component("AgentRegistry") is probe.component("AgentRegistry")
        assert probe.component("UserExecutionContext").path.startswith("netra_probe.lab.")
    finally:
        await probe.close()


def test_the_lab_has_every_class_of_the_contract(history: Recorder) -> None:
    assert [name for name in COMPONENTS if Component(history, name).type is None] == []
