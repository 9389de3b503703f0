"""IsolatedEnvironment: one truth per process, layered by source, closed to the outside when isolated."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_probe.lab.shared.isolated_environment import EnvironmentProblem, IsolatedEnvironment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatedEnvironment]:
    """The singleton, as new, with one known variable in the process environment."""
    monkeypatch.setattr(IsolatedEnvironment, "_instance", None)
    monkeypatch.setenv("NETRA_COLOUR", "process")
    before = dict(os.environ)
    yield IsolatedEnvironment()
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


def test_there_is_one_instance_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IsolatedEnvironment, "_instance", None)
    seen: set[int] = set()
    barrier = threading.Barrier(20)

    def look() -> None:
        barrier.wait()
        seen.add(id(IsolatedEnvironment()))

    threads = [threading.Thread(target=look) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1


def test_the_strongest_source_wins_and_its_end_uncovers_the_next(environment: IsolatedEnvironment) -> None:
    sources = ["default", "file", "process", "runtime", "secret", "override"]
    for source in sources:
        if source != "process":
            environment.set("NETRA_COLOUR", source, source=source)
    for source in reversed(sources):
        assert environment.get("NETRA_COLOUR") == source
        assert environment.get_variable_source("NETRA_COLOUR") == source
        environment.delete("NETRA_COLOUR", source)
    assert environment.get("NETRA_COLOUR", "none") == "none"
    assert environment.get_variable_source("NETRA_COLOUR") is None


def test_setting_says_whether_the_value_counts(environment: IsolatedEnvironment) -> None:
    assert environment.set("NETRA_COLOUR", "strong", source="override")
    assert not environment.set("NETRA_COLOUR", "weak", source="file")


def test_isolation_closes_the_border_both_ways(environment: IsolatedEnvironment) -> None:
    environment.enable_isolation()
    os.environ["NETRA_COLOUR"] = "changed outside"
    assert environment.get("NETRA_COLOUR") == "process"
    environment.set("NETRA_SHAPE", "inside")
    assert "NETRA_SHAPE" not in os.environ
    environment.disable_isolation()
    assert environment.get("NETRA_COLOUR") == "changed outside"


def test_outside_of_isolation_libraries_see_what_is_set_until_it_is_deleted(environment: IsolatedEnvironment) -> None:
    environment.set("NETRA_COLOUR", "runtime")
    assert os.environ["NETRA_COLOUR"] == "runtime"
    environment.delete("NETRA_COLOUR", "runtime")
    assert os.environ["NETRA_COLOUR"] == "process"


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${NETRA_COLOUR}", "process"),
        ("a-${NETRA_COLOUR}-b", "a-process-b"),
        ("${NETRA_NOWHERE:-fallback}", "fallback"),
        ("${NETRA_NOWHERE}", "${NETRA_NOWHERE}"),
        ("$${NETRA_COLOUR}", "${NETRA_COLOUR}"),
        ("$(touch /tmp/never) `id` $NETRA_COLOUR", "$(touch /tmp/never) `id` $NETRA_COLOUR"),
        ("${NETRA_CHAIN}", "process!"),
    ],
)
def test_references_are_expanded_and_commands_are_text(
    environment: IsolatedEnvironment, text: str, expanded: str
) -> None:
    environment.set("NETRA_CHAIN", "${NETRA_COLOUR}!")
    environment.set("NETRA_TEXT", text)
    assert environment.get("NETRA_TEXT") == expanded


def test_a_circle_of_references_is_named(environment: IsolatedEnvironment) -> None:
    environment.set("NETRA_A", "${NETRA_B}")
    environment.set("NETRA_B", "${NETRA_A}")
    with pytest.raises(EnvironmentProblem, match="NETRA_A -> NETRA_B -> NETRA_A"):
        environment.get("NETRA_A")
    assert environment.get_subprocess_env()["NETRA_A"] == "${NETRA_B}", "the other variables still reach a child"


def test_changes_are_announced_once_and_a_bad_listener_harms_nobody(environment: IsolatedEnvironment) -> None:
    heard: list[tuple[str, str | None, str | None]] = []

    def bad(*_: object) -> None:
        raise RuntimeError("no")

    def good(key: str, old: str | None, new: str | None) -> None:
        heard.append((key, old, new))

    environment.add_change_callback(bad)
    environment.add_change_callback(good)
    environment.set("NETRA_COLOUR", "new")
    environment.set("NETRA_COLOUR", "new")
    environment.set("NETRA_COLOUR", "hidden", source="default")
    environment.delete("NETRA_COLOUR", "runtime")
    environment.remove_change_callback(good)
    environment.set("NETRA_COLOUR", "unheard")
    assert heard == [("NETRA_COLOUR", "process", "new"), ("NETRA_COLOUR", "new", "process")]
    assert ("NETRA_COLOUR", "RuntimeError") in environment.callback_failures()


def test_a_callback_may_use_the_environment(environment: IsolatedEnvironment) -> None:
    def note(key: str, _old: str | None, _new: str | None) -> None:
        if not key.endswith("_SEEN"):
            environment.set(f"{key}_SEEN", "yes")

    environment.add_change_callback(note)
    environment.set("NETRA_COLOUR", "new")
    assert environment.get("NETRA_COLOUR_SEEN") == "yes"


def test_many_threads_lose_no_write(environment: IsolatedEnvironment) -> None:
    environment.enable_isolation()

    def write(number: int) -> None:
        for step in range(200):
            environment.set(f"NETRA_T{number}", str(step))
            assert environment.get(f"NETRA_T{number}") == str(step)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [environment.get(f"NETRA_T{number}") for number in range(8)] == ["199"] * 8


def test_a_child_process_gets_the_whole_expanded_environment(environment: IsolatedEnvironment) -> None:
    environment.enable_isolation()
    environment.set("NETRA_TEXT", "it is ${NETRA_COLOUR}")
    child = environment.get_subprocess_env({"NETRA_EXTRA": "more"})
    code = "import os; print(os.environ['NETRA_TEXT'], os.environ['NETRA_EXTRA'])"
    output = subprocess.run([sys.executable, "-c", code], env=child, capture_output=True, text=True, check=True).stdout
    assert output == "it is process more\n"


def test_a_file_is_read_as_a_source_of_its_own(environment: IsolatedEnvironment, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# comment\nexport NETRA_SHAPE='round'\nNETRA_COLOUR=file\n\nNETRA_SIZE=\"big\"\n")
    assert environment.load_from_file(file) == 3
    assert (environment.get("NETRA_SHAPE"), environment.get("NETRA_SIZE")) == ("round", "big")
    assert environment.get("NETRA_COLOUR") == "process"
    file.write_text("not a variable\n")
    with pytest.raises(EnvironmentProblem, match="line 1"):
        environment.load_from_file(file)


def test_a_service_has_its_own_value_before_the_shared_one(environment: IsolatedEnvironment) -> None:
    environment.set("TIMEOUT", "shared")
    environment.set("AUTH_TIMEOUT", "own")
    assert environment.namespaced("auth", "TIMEOUT") == "own"
    assert environment.namespaced("backend", "TIMEOUT") == "shared"


@pytest.mark.parametrize(("key", "value"), [("1A", "x"), ("A B", "x"), ("", "x"), ("A", "nul\0")])
def test_what_no_process_could_hold_is_refused(environment: IsolatedEnvironment, key: str, value: str) -> None:
    with pytest.raises(EnvironmentProblem):
        environment.set(key, value)


def test_the_repr_shows_no_value(environment: IsolatedEnvironment) -> None:
    environment.set("NETRA_PASSWORD", "hunter2")
    assert "hunter2" not in repr(environment)
