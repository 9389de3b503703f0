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

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netra_probe.lab.shared.backups import ConfigurationBackup
from netra_probe.lab.shared.former_values import FormerValues
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment, get_env
from netra_probe.lab.shared.settings import ConfigurationProblem, Setting, Value, convert, in_dependency_order

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
