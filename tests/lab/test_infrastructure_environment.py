"""IsolatedEnvironment: one truth per process, layered by source, closed to the outside when isolated."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_probe.lab.shared.database_url import DatabaseUrl
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


def test_what_is_written_behind_our_back_is_named_and_not_handed_on(environment: IsolatedEnvironment) -> None:
    environment.enable_isolation()
    assert environment.changed_outside() == []
    os.environ["NETRA_FOREIGN"] = os.environ["NETRA_COLOUR"] = "from another service"
    assert environment.changed_outside() == ["NETRA_COLOUR", "NETRA_FOREIGN"]
    assert "NETRA_FOREIGN" not in environment.get_subprocess_env()


def test_secrets_reach_neither_children_nor_the_process_environment(environment: IsolatedEnvironment) -> None:
    environment.set("NETRA_KEY", "hunter2", source="secret")
    assert environment.get("NETRA_KEY") == "hunter2"
    assert "NETRA_KEY" not in os.environ
    assert "NETRA_KEY" not in environment.get_subprocess_env()
    assert environment.get_subprocess_env({"NETRA_KEY": "by name"})["NETRA_KEY"] == "by name"


def test_an_empty_secret_is_none_and_a_conflict_is_told(
    environment: IsolatedEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    environment.replace("secret", {"NETRA_COLOUR": "", "NETRA_KEY": "new"})
    assert environment.get_variable_source("NETRA_COLOUR") == "process"
    environment.set("NETRA_KEY", "old", source="file")
    assert environment.get("NETRA_KEY") == "new"
    assert environment.conflicts() == {"NETRA_KEY": ["secret", "file"]}
    assert [record.getMessage() for record in caplog.records] == [
        "NETRA_KEY differs between secret and file; that of the secret store counts"
    ]


@pytest.mark.parametrize(
    ("name", "given", "found"),
    [
        ("test", None, "for-tests-only"),
        ("development", None, None),
        ("production", None, None),
        ("test", "real", "real"),
        ("development", "for-tests-only", "for-tests-only"),
        ("production", "real", "real"),
        ("production", "for-tests-only", None),
        ("prod-eu", "for-tests-only", None),
    ],
)
def test_test_credentials_are_for_tests(
    environment: IsolatedEnvironment, name: str, given: str | None, found: str | None
) -> None:
    environment.set("ENVIRONMENT", name)
    if given is not None:
        environment.set("OAUTH_CLIENT_SECRET", given)
    assert environment.get("OAUTH_CLIENT_SECRET") == environment.get_all().get("OAUTH_CLIENT_SECRET") == found


def test_a_file_with_a_bad_line_changes_nothing(environment: IsolatedEnvironment, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("NETRA_SHAPE=round\nNETRA_SIZE=nul\0\n")
    with pytest.raises(EnvironmentProblem):
        environment.load_from_file(file)
    assert environment.get("NETRA_SHAPE") is None


def test_an_environments_own_name_comes_after_the_services(
    environment: IsolatedEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["NETRA_KEY", "NETRA_KEY_STAGING", "AUTH_NETRA_KEY", "AUTH_NETRA_KEY_STAGING"]
    for name in names:
        environment.set(name, name)
        assert environment.namespaced("auth", "NETRA_KEY", environment="staging") == name
    assert environment.namespaced("backend", "NETRA_KEY", environment="production") == "NETRA_KEY"
    environment.delete("NETRA_KEY")
    assert environment.namespaced("backend", "NETRA_KEY", "none", environment="production") == "none"
    assert "NETRA_KEY is not set for backend in production" in caplog.text


def test_all_that_is_missing_is_named_at_once(environment: IsolatedEnvironment) -> None:
    environment.set("NETRA_EMPTY", "")
    environment.require("NETRA_COLOUR")
    with pytest.raises(EnvironmentProblem, match="NETRA_EMPTY, NETRA_NOWHERE"):
        environment.require("NETRA_EMPTY", "NETRA_COLOUR", "NETRA_NOWHERE")


@pytest.mark.parametrize("password", ["plain", "p@ss", "a:b", "a/b", "50%", "50%25", "a b?", "ü#[", "%40"])
def test_any_password_survives_a_database_url(password: str) -> None:
    url = DatabaseUrl(user="ann", password=password, host="::1", port=6432, database="netra", options="a=b")
    assert DatabaseUrl.parse(url.text()) == url
    assert password not in str(url) and password not in repr(url)


@pytest.mark.parametrize("password", ["p@ss", "a:b", "a/b", "50%", "a?b"])
def test_a_password_that_nobody_quoted_is_understood(environment: IsolatedEnvironment, password: str) -> None:
    environment.set("DATABASE_URL", f"postgresql://ann:{password}@db/netra?sslmode=require")
    url = environment.database_url()
    assert (url.password, url.host, url.database, url.options) == (password, "db", "netra", "sslmode=require")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://ann:hunter2@db/netra", "must begin with postgresql://"),
        ("postgresql://db/netra", "must have a user and a password"),
        ("postgresql://ann:hunter2@/netra", "has no host"),
        ("postgresql://ann:hunter2@db", "has no name of a database"),
        ("postgresql://ann:hunter2@db:70000/netra", "must have a port from 1 to 65535"),
        ("postgresql://ann:hunter2@db:x/netra", "a port that is a number"),
        ("postgresql://ann:hunter2@one:1,two:2/netra", "must have one host"),
        ("", "not set: DATABASE_URL"),
    ],
)
def test_what_is_wrong_with_a_database_url_is_said_without_it(
    environment: IsolatedEnvironment, url: str, problem: str
) -> None:
    environment.set("DATABASE_URL", url)
    with pytest.raises(EnvironmentProblem, match=problem) as caught:
        environment.database_url()
    assert "hunter2" not in str(caught.value) and "DATABASE_URL" in str(caught.value)
