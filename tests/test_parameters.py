"""Parameter files are read strictly: one error, naming file, line, key and the nearest right one."""

from pathlib import Path

import pytest

from netra_probe.errors import ParameterError
from netra_probe.history.secret import Secret
from netra_probe.parameters import ENVIRONMENTS, environment_file, read_parameters
from netra_probe.target import Target, read_target, resolve_secret

STAGING = """\
environment: staging
target:
  auth_url: https://auth.example.org
  backend_urls: [https://api.example.org]
  database_url: env:STAGING_DATABASE_URL
users: 10
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "staging.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_committed_file_is_valid(environment: str) -> None:
    assert read_parameters(environment_file(environment)).environment == environment


def test_production_is_only_looked_at() -> None:
    target = read_target(read_parameters(environment_file("production")).target, where="production")
    assert target.mode == "observe"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("users: 10", "user: 10"), r'staging\.yaml, line 6: unknown key "user"; did you mean "users"\?'),
        (
            ("  auth_url", "  auth_ur"),
            r'line 3: unknown key "target\.auth_ur"; did you mean "auth_url"\?|"target\.auth_url" is missing',
        ),
        (("users: 10", "users: many"), r'line 6: "users" input should be a valid integer'),
        (("users: 10", "users: 1"), r'line 6: "users" input should be greater than or equal to 2'),
        (("https://auth", "ftp://auth"), r'line 3: "target\.auth_url" is not an http:// or https:// URL'),
        (("https://auth", "https://u:hunter2@auth"), r'line 3: "target\.auth_url" holds credentials'),
        (("env:STAGING", "postgresql://u:hunter2@db/STAGING"), r'line 5: "target\.database_url" must be a reference'),
        (("  backend_urls: [https://api.example.org]\n", ""), r'"target\.backend_urls" is missing'),
        (("[https://api.example.org]", "[]"), r'line 4: "target\.backend_urls" list should have at least 1 item'),
        (("environment: staging\n", ""), r'"environment" is missing'),
        (("users: 10", "users: [10"), r"staging\.yaml, line \d+: not YAML"),
    ],
)
def test_each_mistake_has_one_clear_error(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = written(tmp_path, STAGING.replace(*change))
    with pytest.raises(ParameterError, match=message) as caught:
        read_parameters(path)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_deployment_other_than_the_lab_needs_a_target(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match='"target" is missing'):
        read_parameters(written(tmp_path, "environment: staging\n"))


def test_an_unknown_environment_names_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r'unknown environment "stagin".*did you mean "staging"'):
        environment_file("stagin")


def test_overrides_win_and_are_checked(tmp_path: Path) -> None:
    path = written(tmp_path, STAGING)
    assert read_parameters(path, {"users": 4}).users == 4
    with pytest.raises(ParameterError, match=r'unknown parameter "round" \(-p\); did you mean "rounds"'):
        read_parameters(path, {"round": 4})


def test_a_reference_without_anything_behind_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STAGING_DATABASE_URL", raising=False)
    with pytest.raises(
        ParameterError, match=r"target\.database_url: the environment variable STAGING_DATABASE_URL is not set"
    ):
        resolve_secret("env:STAGING_DATABASE_URL", name="database_url")


def test_a_reference_is_resolved_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"auth_url": "http://a.example", "backend_urls": ["http://b.example"], "jwt_secret": "env:SIGNING_KEY"}
    target = read_target(values, where="here")
    monkeypatch.setenv("SIGNING_KEY", "hunter2hunter2")
    assert target.secret("jwt_secret") == Secret("hunter2hunter2")
    assert "hunter2" not in repr(target)
    assert target.secret("database_url") is None


def test_surfaces_follow_from_what_is_given() -> None:
    target = Target(auth_url="http://localhost:1", backend_urls=["http://localhost:2"], redis_url="env:X")
    assert target.surfaces == {"auth", "rest", "websocket", "cache"}
    assert target.is_local
    assert not Target(auth_url="http://localhost:1", backend_urls=["https://api.example.org"]).is_local


def test_a_header_that_could_switch_on_a_bypass_is_refused() -> None:
    values = {"auth_url": "http://a.example", "backend_urls": ["http://b.example"], "headers": {"X-E2E-Mode": "1"}}
    with pytest.raises(ParameterError, match="could switch on a test bypass"):
        read_target(values, where="here")
