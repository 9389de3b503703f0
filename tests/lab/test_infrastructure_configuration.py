"""UnifiedConfigurationManager: settings are declared, validated together, changed safely, and secrets stay secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment
from netra_probe.lab.shared.settings import ConfigurationProblem, Setting, convert

SETTINGS = (
    Setting(name="DATABASE_URL", kind="url", schemes=("postgresql",), secret=True, required=True),
    Setting(name="JWT_SECRET_KEY", aliases=("JWT_SECRET_{ENV}",), secret=True, required=True, minimum=8),
    Setting(name="POOL_SIZE", kind="int", minimum=1, maximum=50, default={"production": 20, "*": 5}),
    Setting(name="RATE", kind="float", minimum=0, default=1.0),
    Setting(name="DEBUG", kind="flag", default=False),
    Setting(name="ORIGINS", kind="list", default=()),
    Setting(name="LEVEL", choices=("info", "debug"), default="info"),
)
GOOD = {"DATABASE_URL": "postgresql://user:password@host:5432/db", "JWT_SECRET_KEY": "shared-secret"}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatedEnvironment]:
    """An environment of our own with all that is required."""
    monkeypatch.setattr(IsolatedEnvironment, "_instance", None)
    for name in (*(setting.name for setting in SETTINGS), "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    environment = IsolatedEnvironment()
    environment.enable_isolation()
    for name, value in GOOD.items():
        environment.set(name, value)
    yield environment


def manager(variables: IsolatedEnvironment, environment: str = "test", **options: str) -> UnifiedConfigurationManager:
    """A manager for the settings above."""
    return UnifiedConfigurationManager(
        environment=environment, service_name="auth", settings=SETTINGS, variables=variables, **options
    )


def test_values_have_their_kinds(variables: IsolatedEnvironment) -> None:
    for name, value in {"POOL_SIZE": "7", "RATE": "0.5", "DEBUG": "yes", "ORIGINS": "a, b,"}.items():
        variables.set(name, value)
    configuration = manager(variables)
    configuration.validate()
    assert configuration.integer("POOL_SIZE") == 7
    assert configuration.number("RATE") == 0.5
    assert configuration.flag("DEBUG") is True
    assert configuration.get("ORIGINS") == ("a", "b")


def test_defaults_and_secrets_follow_the_environment(variables: IsolatedEnvironment) -> None:
    variables.set("JWT_SECRET_PRODUCTION", "production-secret")
    assert manager(variables, "production").integer("POOL_SIZE") == 20
    assert manager(variables, "staging").integer("POOL_SIZE") == 5
    assert manager(variables, "production").text("JWT_SECRET_KEY") == "production-secret"
    assert manager(variables, "staging").text("JWT_SECRET_KEY") == "shared-secret"


def test_a_service_reads_its_own_name_first(variables: IsolatedEnvironment) -> None:
    variables.set("POOL_SIZE", "3")
    variables.set("AUTH_POOL_SIZE", "4")
    assert manager(variables).integer("POOL_SIZE") == 4


def test_everything_that_is_wrong_is_said_at_once_and_no_secret(variables: IsolatedEnvironment) -> None:
    bad = {"DATABASE_URL": "mysql://u:hunter2@h/db", "JWT_SECRET_KEY": "hunter2", "POOL_SIZE": "0", "DEBUG": "maybe"}
    for name, value in {**bad, "LEVEL": "loud", "RATE": "nan"}.items():
        variables.set(name, value)
    with pytest.raises(ConfigurationProblem) as found:
        manager(variables, "moon").validate()
    text = str(found.value)
    for name in (*bad, "LEVEL", "RATE", "ENVIRONMENT"):
        assert name in text
    assert "hunter2" not in text


def test_what_is_missing_is_named_with_its_remedy(variables: IsolatedEnvironment) -> None:
    variables.delete("JWT_SECRET_KEY")
    with pytest.raises(ConfigurationProblem, match="set JWT_SECRET_TEST or JWT_SECRET_KEY"):
        manager(variables).validate()


def test_a_rotated_secret_counts_and_is_announced(variables: IsolatedEnvironment) -> None:
    configuration, heard = manager(variables), list[str]()
    configuration.validate()
    configuration.on_change(heard.append)
    variables.set("JWT_SECRET_TEST", "rotated-secret")
    assert configuration.text("JWT_SECRET_KEY") == "rotated-secret"
    assert heard == ["JWT_SECRET_KEY"]


def test_a_bad_change_leaves_the_good_value_and_is_reported(variables: IsolatedEnvironment) -> None:
    configuration = manager(variables)
    configuration.validate()
    variables.set("POOL_SIZE", "9")
    variables.set("POOL_SIZE", "nine")
    assert configuration.integer("POOL_SIZE") == 9
    assert "POOL_SIZE" in configuration.rejected_changes()
    variables.set("POOL_SIZE", "10")
    assert configuration.rejected_changes() == {}


def test_an_override_is_seen_by_its_own_manager_only(variables: IsolatedEnvironment) -> None:
    alice, bob = manager(variables, user_id="alice"), manager(variables, user_id="bob")
    alice.override("LEVEL", "debug")
    assert (alice.text("LEVEL"), bob.text("LEVEL")) == ("debug", "info")
    with pytest.raises(ConfigurationProblem, match="secret"):
        alice.override("JWT_SECRET_KEY", "anything-else")


def test_a_backup_can_be_restored(variables: IsolatedEnvironment) -> None:
    configuration = manager(variables)
    configuration.validate()
    backup = configuration.backup()
    variables.set("POOL_SIZE", "11")
    configuration.override("LEVEL", "debug")
    configuration.restore(backup)
    assert (configuration.integer("POOL_SIZE"), configuration.text("LEVEL")) == (5, "info")


def test_a_closed_manager_hears_nothing_more(variables: IsolatedEnvironment) -> None:
    configuration = manager(variables)
    configuration.validate()
    configuration.close()
    variables.set("POOL_SIZE", "12")
    assert configuration.integer("POOL_SIZE") == 5


def test_display_masks_secrets(variables: IsolatedEnvironment) -> None:
    shown = manager(variables).as_mapping()
    assert shown["DATABASE_URL"] == shown["JWT_SECRET_KEY"] == "***"
    assert shown["POOL_SIZE"] == 5


def test_dependencies_are_ordered_and_circles_named(variables: IsolatedEnvironment) -> None:
    a, b = Setting(name="A", depends_on=("B",)), Setting(name="B", depends_on=("A",))
    with pytest.raises(ConfigurationProblem, match="A -> B -> A"):
        UnifiedConfigurationManager(settings=(a, b), variables=variables)
    with pytest.raises(ConfigurationProblem, match="depends on B, which is not declared"):
        UnifiedConfigurationManager(settings=(a,), variables=variables)


@pytest.mark.parametrize("text", ["1_0", "\u0661", "0x10", "1.0", "1e2", ""])
def test_a_whole_number_is_not_what_python_takes_for_one(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="POOL_SIZE must be a whole number"):
        convert(SETTINGS[2], text)


@pytest.mark.parametrize("text", ["inf", "nan", "1_0.5", "1.2.3", "-"])
def test_a_number_is_not_what_python_takes_for_one(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="RATE must be a number"):
        convert(SETTINGS[3], text)
    assert [convert(SETTINGS[3], good) for good in ("1", "0.5", ".5", "2e-1")] == [1.0, 0.5, 0.5, 0.2]
