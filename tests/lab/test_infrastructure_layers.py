"""Configuration in layers of files: which wins, what is taken back, what is still accepted, and what was last good."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_probe.lab.shared.clock import clock
from netra_probe.lab.shared.configuration import (
    ConfigurationBackup,
    ConfigurationProblem,
    FormerValues,
    Setting,
    UnifiedConfigurationManager,
)
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment
from netra_probe.lab.shared.live_configuration import COMMON, SECRET_OVERLAP, LiveConfiguration

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
    (kept,) = (files / "backups").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "first-key" not in kept.read_text()
    kept.write_text("not json")
    assert ConfigurationBackup(kept).read() == {}


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
