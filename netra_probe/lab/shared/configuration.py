"""UnifiedConfigurationManager: the validated settings of one service in one environment.

A service declares its settings once; the manager finds their values through `IsolatedEnvironment`, converts and checks
them all at once, and keeps the last good value when a later change is bad.

    configuration = UnifiedConfigurationManager(
        service_name="auth_service",
        settings=(
            Setting(name="DATABASE_URL", kind="url", secret=True, required=True),
            Setting(name="ACCESS_TOKEN_SECONDS", kind="int", minimum=1, default={"production": 900, "*": 300}),
        ),
    )
    configuration.validate()
    configuration.integer("ACCESS_TOKEN_SECONDS")
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment, get_env

Value = str | int | float | bool | tuple[str, ...]
Kind = Literal["text", "int", "float", "flag", "url", "list"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class ConfigurationProblem(ValueError):
    """A setting is missing or wrong; names it and the remedy, never its value when it is a secret."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One declared setting.

    `aliases` are tried before `name`; ``{ENV}`` in them stands for the environment, so ``JWT_SECRET_{ENV}`` reads
    ``JWT_SECRET_TEST``. `default` is one value or one per environment, ``"*"`` for all others.
    """

    name: str
    kind: Kind = "text"
    aliases: tuple[str, ...] = ()
    default: Value | Mapping[str, Value] | None = None
    required: bool = False
    secret: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = field(default=())
    at_least: str | None = None
    """Another setting that this one must not fall below."""
    overlap: str | None = None
    """For a secret: the setting that says for how many seconds its former value is still accepted."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The settings that must be there before this one."""
        return (*self.depends_on, *filter(None, (self.at_least, self.overlap)))

    def variables(self, environment: str) -> tuple[str, ...]:
        """The environment variables that can hold the value, first hit wins."""
        return (*(alias.replace("{ENV}", environment.upper()) for alias in self.aliases), self.name)

    def default_for(self, environment: str) -> Value | None:
        """The default value in an environment."""
        if isinstance(self.default, Mapping):
            return self.default.get(environment, self.default.get("*"))
        return self.default

    def remedy(self, environment: str) -> str:
        """What to do when it is missing."""
        return f"set {' or '.join(self.variables(environment))}"


def convert(setting: Setting, text: str, *, variable: str | None = None) -> Value:
    """The value that `text` means for `setting`, or a ConfigurationProblem."""
    shown = variable or setting.name

    def wrong(expected: str) -> ConfigurationProblem:
        value = "" if setting.secret else f", not {text!r}"
        return ConfigurationProblem(f"{shown} must be {expected}{value}")

    value: Value
    match setting.kind:
        case "int" | "float":
            try:
                value = int(text) if setting.kind == "int" else float(text)
            except ValueError:
                raise wrong("a whole number" if setting.kind == "int" else "a number") from None
            if value != value or (setting.minimum is not None and value < setting.minimum):
                raise wrong(f"at least {setting.minimum:g}" if setting.minimum is not None else "a number")
            if setting.maximum is not None and value > setting.maximum:
                raise wrong(f"at most {setting.maximum:g}")
        case "flag":
            if text.lower() not in _TRUE | _FALSE:
                raise wrong("true or false")
            value = text.lower() in _TRUE
        case "list":
            value = tuple(piece.strip() for piece in text.split(",") if piece.strip())
        case "url":
            value = text
            _check_url(
                setting, text, wrong("a URL" + (f" ({' or '.join(setting.schemes)})" if setting.schemes else ""))
            )
        case _:
            value = text
            if setting.minimum is not None and len(text.encode()) < setting.minimum:
                raise ConfigurationProblem(f"{shown} must have at least {setting.minimum:g} bytes")
    if setting.choices and str(value) not in setting.choices:
        raise wrong(f"one of {', '.join(setting.choices)}")
    return value


def in_dependency_order(settings: Sequence[Setting]) -> list[Setting]:
    """Settings such that each comes after those it depends on; a circle or an unknown name is a problem."""
    by_name = {setting.name: setting for setting in settings}
    ordered: list[Setting] = []
    done: set[str] = set()

    def visit(setting: Setting, trail: tuple[str, ...]) -> None:
        if setting.name in trail:
            raise ConfigurationProblem(
                f"settings depend on each other in a circle: {' -> '.join((*trail, setting.name))}"
            )
        if setting.name in done:
            return
        for name in setting.needs:
            if name not in by_name:
                raise ConfigurationProblem(f"{setting.name} depends on {name}, which is not declared")
            visit(by_name[name], (*trail, setting.name))
        done.add(setting.name)
        ordered.append(setting)

    for setting in settings:
        visit(setting, ())
    return ordered


def _check_url(setting: Setting, text: str, problem: ConfigurationProblem) -> None:
    try:
        parts = urlsplit(text)
        usable = bool(parts.scheme and parts.hostname) and (parts.port is None or 0 <= parts.port < 65536)
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable or (setting.schemes and parts.scheme not in setting.schemes):
        raise problem from None


class FormerValues:
    """What settings were before, each with the moment at which it is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, list[tuple[float, str]]] = {}

    def keep(self, name: str, value: str, seconds: float) -> None:
        """Accept a former value for so many seconds."""
        self._kept.setdefault(name, []).append((self._clock() + seconds, value))

    def of(self, name: str) -> tuple[str, ...]:
        """The former values that are still accepted, the youngest first."""
        now = self._clock()
        fresh = [entry for entry in self._kept.get(name, []) if entry[0] > now]
        self._kept[name] = fresh
        return tuple(value for _, value in reversed(fresh))


class ConfigurationBackup:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, values: Mapping[str, Any]) -> None:
        """Replace what was kept, in one step."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file)
        draft.rename(self._path)

    def read(self) -> dict[str, Any]:
        """What was kept; nothing when there is nothing, or nothing readable."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}


SettingCallback = Callable[[str], None]

ENVIRONMENTS = ("development", "test", "staging", "production")


class UnifiedConfigurationManager:
    """Typed settings by name. Values of a user's own overlay are visible through that user's manager only."""

    def __init__(
        self,
        user_id: str | None = None,
        environment: str | None = None,
        service_name: str | None = None,
        *,
        settings: Iterable[Setting] = (),
        variables: IsolatedEnvironment | None = None,
    ) -> None:
        self._variables = variables or get_env()
        self.user_id = user_id
        self.service_name = service_name or "netra"
        self.environment = (environment or self._variables.get("ENVIRONMENT") or "development").lower()
        self._settings = {setting.name: setting for setting in in_dependency_order(tuple(settings))}
        self._overlay: dict[str, Value] = {}
        self._values: dict[str, Value | None] = {}
        self._listeners: list[SettingCallback] = []
        self._rejected: dict[str, str] = {}
        self._former = FormerValues()
        self._lock = threading.RLock()
        self._variables.add_change_callback(self._on_variable)

    def __repr__(self) -> str:
        return f"UnifiedConfigurationManager(service={self.service_name!r}, environment={self.environment!r})"

    def validate(self, backup: ConfigurationBackup | None = None) -> None:
        """Load every setting, or raise one ConfigurationProblem that lists all that is wrong.

        With a `backup`, settings that cannot be used are taken from the last good configuration, and are among the
        `rejected_changes`; secrets never are, since no backup has them.
        """
        problems: dict[str, str] = {}
        if self.environment not in ENVIRONMENTS:
            problems["ENVIRONMENT"] = f"ENVIRONMENT must be one of {', '.join(ENVIRONMENTS)}"
        kept = backup.read() if backup is not None else {}
        with self._lock:
            for name, setting in self._settings.items():
                try:
                    self._values[name] = self._load(setting)
                except ConfigurationProblem as problem:
                    problems[name] = str(problem)
                    if name in kept and not setting.secret:
                        value = kept[name]
                        self._values[name] = tuple(value) if isinstance(value, list) else value
                        self._rejected[name] = problems.pop(name)
        if problems:
            raise ConfigurationProblem(f"{self.service_name} ({self.environment}): " + "; ".join(problems.values()))
        if backup is not None and not self._rejected:
            backup.save({name: self.get(name) for name, setting in self._settings.items() if not setting.secret})

    # Reading

    def get(self, name: str, default: Any = None) -> Any:
        """The converted value of a setting, or `default` where it has none."""
        setting = self._declared(name)
        with self._lock:
            if name in self._overlay:
                return self._overlay[name]
            if name not in self._values:
                self._values[name] = self._load(setting)
            value = self._values[name]
        return default if value is None else value

    def text(self, name: str) -> str:
        """A setting that must be there, as text."""
        return str(self._required(name))

    def integer(self, name: str) -> int:
        """A setting that must be there, as a whole number."""
        return int(self._required(name))

    def number(self, name: str) -> float:
        """A setting that must be there, as a number."""
        return float(self._required(name))

    def flag(self, name: str) -> bool:
        """A yes-or-no setting; absent means no."""
        return bool(self.get(name, False))

    def accepted(self, name: str) -> tuple[str, ...]:
        """The value of a secret, then its former values that are still accepted since it was rotated."""
        return (self.text(name), *self._former.of(name))

    def names(self) -> list[str]:
        """All declared settings, each after those it depends on."""
        return list(self._settings)

    def as_mapping(self) -> dict[str, Any]:
        """All values for display; secrets are masked."""
        return {
            name: "***" if setting.secret and self.get(name) is not None else self.get(name)
            for name, setting in self._settings.items()
        }

    # Changing

    def override(self, name: str, value: Any) -> None:
        """Set a value in this manager only (a user's own preference, a test); secrets cannot be overridden."""
        setting = self._declared(name)
        if setting.secret:
            raise ConfigurationProblem(f"{name} is a secret and comes from the environment only")
        with self._lock:
            self._overlay[name] = convert(setting, str(value))
        self._notify(name)

    def reload(self) -> None:
        """Read every setting again (rotated secrets, edited files); a bad value leaves the good one in place."""
        # one that was refused because of another can be right once that other one has changed
        for _ in self._settings:
            before = dict(self._values)
            for name in self._settings:
                self._refresh(name)
            if self._values == before:
                return

    def on_change(self, listener: SettingCallback) -> None:
        """Call ``listener(name)`` after a setting got another valid value; read the new one with `get`."""
        with self._lock:
            self._listeners.append(listener)

    def off_change(self, listener: SettingCallback) -> None:
        """Stop calling `listener`."""
        with self._lock:
            self._listeners.remove(listener)

    def rejected_changes(self) -> dict[str, str]:
        """Settings whose latest change was refused, and why."""
        with self._lock:
            return dict(self._rejected)

    def backup(self) -> Mapping[str, Any]:
        """An opaque copy of the current values, for `restore`."""
        with self._lock:
            return {"values": dict(self._values), "overlay": dict(self._overlay)}

    def restore(self, backup: Mapping[str, Any]) -> None:
        """Go back to the values of a backup and tell the listeners what changed."""
        with self._lock:
            before = {name: self.get(name) for name in self._settings}
            self._values, self._overlay = dict(backup["values"]), dict(backup["overlay"])
            changed = [name for name in self._settings if self.get(name) != before[name]]
        for name in changed:
            self._notify(name)

    def close(self) -> None:
        """Stop listening to the environment."""
        self._variables.remove_change_callback(self._on_variable)

    # Inside

    def _declared(self, name: str) -> Setting:
        if name not in self._settings:
            raise ConfigurationProblem(f"{self.service_name} declares no setting {name!r}")
        return self._settings[name]

    def _required(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise ConfigurationProblem(f"{name} is not set; {self._declared(name).remedy(self.environment)}")
        return value

    def _load(self, setting: Setting) -> Value | None:
        for variable in setting.variables(self.environment):
            text = self._variables.namespaced(self.service_name, variable)
            if text is not None and text != "":
                value: Value | None = convert(setting, text, variable=variable)
                break
        else:
            value = setting.default_for(self.environment)
        if value is None and setting.required:
            raise ConfigurationProblem(f"{setting.name} is not set; {setting.remedy(self.environment)}")
        self._check_relations(setting, value)
        return value

    def _check_relations(self, setting: Setting, value: Any) -> None:
        """A value must fit to those of the settings that it depends on, and to those that depend on it."""
        others = [(setting.name, value, setting.at_least, self._values.get(setting.at_least or ""))]
        others += [
            (other.name, self._values.get(other.name), setting.name, value)
            for other in self._settings.values()
            if other.at_least == setting.name
        ]
        for upper_name, upper, lower_name, lower in others:
            if upper is not None and lower is not None and upper < lower:
                raise ConfigurationProblem(f"{upper_name} must be at least {lower_name}")

    def _on_variable(self, variable: str, _old: str | None, _new: str | None) -> None:
        for name, setting in self._settings.items():
            names = setting.variables(self.environment)
            prefix = f"{self.service_name.upper()}_"
            if variable in names or variable.removeprefix(prefix) in names:
                self._refresh(name)

    def _refresh(self, name: str) -> None:
        with self._lock:
            before = self._values.get(name)
            try:
                self._values[name] = self._load(self._settings[name])
            except ConfigurationProblem as problem:
                self._rejected[name] = str(problem)
                return
            self._rejected.pop(name, None)
            changed = self._values[name] != before
            overlap = self._settings[name].overlap
            if changed and overlap is not None and isinstance(before, str):
                self._former.keep(name, before, self.number(overlap))
        if changed:
            self._notify(name)

    def _notify(self, name: str) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(name)
