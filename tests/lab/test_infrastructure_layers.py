"""Configuration in layers of files: which wins, what is taken back, what is still accepted, and what was last good."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_probe.lab.shared.clock import clock
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.former_configuration import ConfigurationBackup, FormerValues
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment
from netra_probe.lab.shared.live_configuration import COMMON, SECRET_OVERLAP, LiveConfiguration
from netra_probe.lab.shared.service_directory import ServiceDirectory
from netra_probe.lab.shared.settings import ConfigurationProblem, Setting

SETTINGS = (
    Setting(name="KEY", secret=True, required=True, overlap=SECRET_OVERLAP),
    Setting(name="LOW", kind="int", default=2),
    Setting(name="HIGH", kind="int", default=8, at_least="LOW"),
    Setting(name="NAMES", kind="list", default=("a",)),
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for a service's files, in an environment of our own."""
    monkeypatch.setattr(IsolatedEnvironment, "_instance", None)
    environment = IsolatedEnvironment()
    monkeypatch.setenv("CONFIG_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("KEY", "first-key")
    for setting in SETTINGS[1:]:
        monkeypatch.delenv(setting.name, raising=False)
    environment.enable_isolation()
    yield tmp_path
    clock.offset = 0.0


def started() -> LiveConfiguration:
    """A service that has just started."""
    return LiveConfiguration("service", SETTINGS)


def test_each_layer_covers_the_one_below_and_uncovers_it_when_it_goes(files: Path) -> None:
    live = started()
    seen = []
    for name in ("base.env", "test.env", "runtime.env"):
        (files / name).write_text(f"LOW={len(seen) + 3}\n")
        assert live.reload()["changed"] == ["LOW"]
        seen.append(live.manager.integer("LOW"))
    (files / "production.env").write_text("LOW=7\n")
    assert live.reload()["changed"] == [], "another environment's file is none of our business"
    for name in ("runtime.env", "test.env", "base.env"):
        (files / name).unlink()
        live.reload()
        seen.append(live.manager.integer("LOW"))
    assert seen == [3, 4, 5, 4, 3, 2]


def test_the_process_environment_is_between_files_and_what_was_changed_at_runtime(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    IsolatedEnvironment().disable_isolation()
    monkeypatch.setenv("LOW", "5")
    (files / "test.env").write_text("LOW=4\n")
    assert started().manager.integer("LOW") == 5
    (files / "runtime.env").write_text("LOW=6\n")
    assert started().manager.integer("LOW") == 6


def test_a_secret_has_a_file_of_its_own_and_its_former_value_counts_a_while(files: Path) -> None:
    live = started()
    (files / "secrets").mkdir()
    for key in ("second-key", "third-key"):
        (files / "secrets" / "KEY").write_text(f"{key}\n")
        assert live.reload()["changed"] == ["KEY"]
    assert live.manager.accepted("KEY") == ("third-key", "second-key", "first-key")
    (files / "runtime.env").write_text("SECRET_OVERLAP_SECONDS=0\n")
    (files / "secrets" / "KEY").write_text("fourth-key")
    live.reload()
    assert live.manager.accepted("KEY") == ("fourth-key", "second-key", "first-key"), "no overlap, no third key"


def test_former_values_are_forgotten_in_time() -> None:
    now = [0.0]
    former = FormerValues(clock=lambda: now[0])
    former.keep("KEY", "old", 10)
    now[0] = 5.0
    former.keep("KEY", "younger", 10)
    seen = []
    for now[0] in (9.9, 10.0, 15.0):
        seen.append(former.of("KEY"))
    assert seen == [("younger", "old"), ("younger",), ()]


def test_settings_that_belong_together_change_together_or_not_at_all(files: Path) -> None:
    live = started()
    (files / "runtime.env").write_text("LOW=9\n")
    assert "HIGH must be at least LOW" in live.reload()["rejected"]["LOW"]
    assert live.manager.integer("LOW") == 2
    (files / "runtime.env").write_text("LOW=9\nHIGH=10\n")
    assert (live.reload()["rejected"], live.manager.integer("LOW"), live.manager.integer("HIGH")) == ({}, 9, 10)
    (files / "runtime.env").write_text("")
    assert (live.reload()["rejected"], live.manager.integer("LOW"), live.manager.integer("HIGH")) == ({}, 2, 8)


def test_a_file_that_cannot_be_read_changes_nothing_and_is_named(files: Path) -> None:
    live = started()
    (files / "runtime.env").write_text("LOW=3\nno equals sign with a secret in it\n")
    rejected = live.reload()["rejected"]
    assert "runtime.env, line 2" in rejected["files"] and "secret" not in rejected["files"]
    assert live.manager.integer("LOW") == 2
    with pytest.raises(ConfigurationProblem, match=r"runtime\.env, line 2"):
        started()


def test_a_service_starts_with_what_was_last_good_and_says_so(files: Path) -> None:
    (files / "runtime.env").write_text("LOW=4\nNAMES=b,c\n")
    started()
    (files / "runtime.env").write_text("LOW=four\nNAMES=d\n")
    recovered = started().manager
    assert (recovered.integer("LOW"), recovered.get("NAMES")) == (4, ("d",))
    assert "LOW must be a whole number" in recovered.rejected_changes()["LOW"]
    assert started().manager.integer("LOW") == 4, "a start that had to be recovered is no good configuration"
    (files / "runtime.env").write_text("LOW=5\n")
    assert (started().manager.integer("LOW"), started().manager.rejected_changes()) == (5, {})


def test_a_secret_that_is_gone_is_never_recovered(files: Path) -> None:
    started()
    IsolatedEnvironment().delete("KEY")
    with pytest.raises(ConfigurationProblem, match="KEY is not set"):
        started()


def test_backups_hold_no_secret_and_are_private(files: Path) -> None:
    started()
    (kept,) = (files / "backups").rglob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "first-key" not in kept.read_text()
    kept.write_text("not json")
    assert ConfigurationBackup(kept, "test").read() == {}


def test_the_clock_follows_its_setting(files: Path) -> None:
    live = started()
    real = clock.now()
    (files / "runtime.env").write_text("CLOCK_OFFSET_SECONDS=1000\n")
    live.reload()
    assert 1000 <= clock.now() - real < 1010
    assert abs(clock.utc().timestamp() - clock.now()) < 1


def test_replacing_a_source_is_announced_once_everything_is_in_place(files: Path) -> None:
    variables = IsolatedEnvironment()
    heard: list[tuple[str, str | None, str | None]] = []
    variables.add_change_callback(lambda name, old, new: heard.append((name, variables.get("B"), new)))
    variables.replace("runtime", {"A": "1", "B": "2"})
    assert heard == [("A", "2", "1"), ("B", "2", "2")]
    variables.replace("runtime", {"B": "2"})
    assert heard[2:] == [("A", "2", None)]


def test_a_listener_that_left_hears_nothing() -> None:
    manager = UnifiedConfigurationManager(service_name="service", settings=COMMON)
    heard: list[str] = []
    manager.on_change(heard.append)
    manager.off_change(heard.append)
    manager.override("CLOCK_OFFSET_SECONDS", 1)
    assert heard == []


def test_half_a_change_is_never_read(files: Path) -> None:
    live, heard = started(), []
    live.manager.on_change(lambda name: heard.append((name, *live.manager.together("LOW", "HIGH"))))
    (files / "base.env").write_text("LOW=20\n")
    (files / "runtime.env").write_text("HIGH=80\n")
    live.reload()
    assert heard == [("LOW", 20, 80), ("HIGH", 20, 80)]


def test_a_listener_that_fails_is_logged_and_stops_nobody(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    live, heard = started(), list[str]()
    live.manager.on_change(lambda name: {}[name])
    live.manager.on_change(heard.append)
    (files / "base.env").write_text("LOW=3\n")
    assert (live.reload()["changed"], heard) == (["LOW"], ["LOW"])
    assert "a listener to LOW of service failed: KeyError" in caplog.text


def test_a_former_secret_goes_when_the_services_clock_says_so(files: Path) -> None:
    live = started()
    (files / "secrets").mkdir()
    (files / "secrets" / "KEY").write_text("second-key")
    live.reload()
    assert live.manager.accepted("KEY") == ("second-key", "first-key")
    (files / "runtime.env").write_text("CLOCK_OFFSET_SECONDS=31\n")
    live.reload()
    assert live.manager.accepted("KEY") == ("second-key",)


def test_names_that_look_misspelt_are_told(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    (files / "base.env").write_text("SERVICE_NAMES=x\nNAMES=y\nSECRET_OVERLAP_SECOND=1\nOF_ANOTHER_SERVICE=1\n")
    assert started().misspelt() == {"SECRET_OVERLAP_SECOND": "SECRET_OVERLAP_SECONDS"}
    assert "did you mean SECRET_OVERLAP_SECONDS" in caplog.text


def test_services_that_differ_in_a_shared_setting_name_each_other(files: Path) -> None:
    shared = [Setting(name="NAMES", kind="list", default=("a",), shared=True), Setting(name="LOW", kind="int")]
    first = LiveConfiguration("service", shared, process="first")
    IsolatedEnvironment().set("NAMES", "b,c", "override")
    IsolatedEnvironment().set("LOW", "9", "override")
    assert LiveConfiguration("service", shared, process="second").disagreements() == {"NAMES": ["first"]}
    assert first.reload()["disagreements"] == {}, "it has the new value, too"


def test_a_backup_of_another_environment_or_one_that_cannot_be_written_is_told(
    files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backup = ConfigurationBackup(files / "backups" / "x.json", "test")
    backup.save({"LOW": 1})
    assert backup.read() == {"LOW": 1}
    assert ConfigurationBackup(files / "backups" / "x.json", "production").read() == {}
    assert "is of test, and is not used in production" in caplog.text
    (files / "file").touch()
    ConfigurationBackup(files / "file" / "x.json", "test").save({"LOW": 1})
    assert "not backed up" in caplog.text


def test_each_value_says_where_it_is_from(files: Path) -> None:
    (files / "test.env").write_text("LOW=3\n")
    manager = started().manager
    manager.override("NAMES", "z")
    found = manager.sources()
    assert [found[name] for name in ("KEY", "LOW", "HIGH", "NAMES")] == ["process", "file", "default", "override"]


def test_an_address_is_answered_until_its_time_is_over_and_in_its_environment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    test, staging = (ServiceDirectory(tmp_path, name, lambda: now[0]) for name in ("test", "staging"))
    test.register("auth", "auth-1", "http://one.example", seconds=30)
    test.register("auth", "auth-2", "http://two.example", seconds=10)
    assert test.addresses("auth") == ("http://one.example", "http://two.example")
    now[0] = 10.0
    assert test.addresses("auth") == ("http://one.example",)
    with pytest.raises(ConfigurationProblem, match="no auth is registered in staging"):
        staging.addresses("auth")
    entry = tmp_path / "services" / "staging" / "auth" / "auth-1.json"
    entry.parent.mkdir(parents=True)
    for text, told in (
        ((tmp_path / "services" / "test" / "auth" / "auth-1.json").read_text(), "is of test"),
        ("{torn", "cannot be read"),
    ):
        entry.write_text(text)
        with pytest.raises(ConfigurationProblem):
            staging.addresses("auth")
        assert told in caplog.text
    with pytest.raises(ConfigurationProblem, match="URL"):
        test.register("auth", "auth-3", "one.example", seconds=30)
    test.withdraw("auth", "auth-1")
    with pytest.raises(ConfigurationProblem):
        test.addresses("auth")


def test_health_follows_the_configuration(files: Path) -> None:
    (files / "base.env").write_text("HEALTH_CRITICAL=database\nHEALTH_OPTIONAL=cache\nHEALTH_FAILURES=2\n")
    live = started()
    seen = []
    for dependency, is_healthy in (("database", True), ("cache", True), ("cache", False), ("cache", False)):
        seen.append(live.health.status()["status"])
        live.health.record(dependency, is_healthy)
    assert [*seen, live.health.status()["status"]] == ["unhealthy", "degraded", "healthy", "healthy", "degraded"]
    live.health.record("database", False)
    live.health.record("database", False)
    assert live.health.status() == {
        "status": "unhealthy",
        "dependencies": {"database": "unhealthy", "cache": "unhealthy"},
    }
    (files / "runtime.env").write_text("HEALTH_FAILURES=3\n")
    live.reload()
    assert live.health.status()["status"] == "healthy"
