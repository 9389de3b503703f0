"""Files and values that are no parameters: one sentence and status 2, whatever they are."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from netra_probe.cli.main import app
from netra_probe.errors import ParameterError
from netra_probe.target.parameters import ParameterFile
from netra_probe.target.secret_references import look_up
from netra_probe.target.tls import Tls

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
FILES: dict[str, tuple[bytes | None, str]] = {
    "nested a thousand times": (b"target: " + b"[" * 1000 + b"]" * 1000, "nested too deeply"),
    "nested a hundred thousand times": (b"target: " + b"{a: " * 100_000, "nested too deeply"),
    "nested deeper than anybody means": (b"target: " + b"[" * 150 + b"]" * 150, "nested too deeply"),
    "itself inside": (b"environment: lab\ntarget: &t {a: *t}\n", "line 2: not YAML; it refers to itself"),
    "itself as a whole": (b"&t [*t]", "refers to itself"),
    "laughs": (LAUGHS.encode(), "holds too much"),
    "bytes": (bytes(range(256)), "not text in UTF-8"),
    "zeros": (b"environment: lab\n\x00\x00", "not YAML"),
    "a list": (b"[1, 2]", "holds no parameters"),
    "nothing": (b"", "holds no parameters"),
    "numbers as keys": (b"environment: lab\n1: 2\n", "lab"),
    "keys that are lists": (b"? [a, b]\n: 1\n", "not YAML"),
    "a tag": (b"environment: !!python/object/apply:os.system [ls]\n", "not YAML"),
    "a day that is none": (b"environment: 2020-13-45\n", "not YAML"),
    "a number without end": (b"users: " + b"9" * 5000, "not YAML"),
    "a directory": (None, "Is a directory"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_parameter_file_is_one_sentence(what: str, tmp_path: Path) -> None:
    content, message = FILES[what]
    path = tmp_path / "lab.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    arguments = ["run", "C4", "--parameters", str(path), "--output", str(tmp_path / "run")]
    error = CliRunner().invoke(app, arguments, standalone_mode=False).exception
    assert isinstance(error, ParameterError), error
    assert str(path) in str(error)
    assert message in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 400 + len(str(path))
    assert not (tmp_path / "run").exists()


def test_a_file_without_an_end_is_one_sentence() -> None:
    with pytest.raises(ParameterError, match=r"^/dev/zero: holds more than parameters do"):
        ParameterFile.read(Path("/dev/zero"))


def test_aliases_that_say_something_once_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("environment: lab\ntarget: &t {a: 1}\nother: {<<: *t, b: 2}\nagain: *t\n")
    assert ParameterFile.read(path).values["other"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("value", ["[" * 3000, "&a [*a]", "2020-13-45", "{? [a] : b}", "\x00"])
def test_a_value_on_the_command_line_that_is_no_yaml_is_one_sentence(value: str) -> None:
    error = CliRunner().invoke(app, ["run", "C4", "-p", "users", value], standalone_mode=False).exception
    assert str(error) == "-p users: the value is not YAML; put strings in quotes."


@pytest.mark.parametrize("backend", ["no.such.Backend", "keyring.backends.fail.Keyring", "os.path", "json.JSONDecoder"])
def test_a_keyring_that_cannot_be_used_is_one_sentence(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring.core

    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)  # as in a process that has used none yet
    with pytest.raises(LookupError, match=r"^no keyring can be used here \(\w+\); use env:NAME\.$"):
        look_up("keyring:netra/password")


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.write_bytes(bytes(range(256))), lambda path: path.touch()]
)
def test_authorities_that_are_none_are_one_sentence(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "ca.pem")
    with pytest.raises(ParameterError, match=r"^target\.ca_bundle: .* holds no certificates in PEM format"):
        Tls(ca_bundle=str(tmp_path / "ca.pem")).context()
