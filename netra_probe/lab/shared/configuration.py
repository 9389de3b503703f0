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

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from netra_probe.lab.shared.former_configuration import ConfigurationBackup, FormerValues
from netra_probe.lab.shared.isolated_environment import EnvironmentProblem, IsolatedEnvironment, get_env
from netra_probe.lab.shared.settings import ConfigurationProblem, Setting, Value, convert, in_dependency_order

log = logging.getLogger(__name__)

SettingCallback = Callable[[str], None]

ENVIRONMENTS = ("development", "test", "staging", "production")


class UnifiedConfigurationManager:
    """Typed settings by name. Values of a user's own overlay are visible through that user's manager only.

    What it promises, together with `LiveConfiguration`, which joins it with files, backups, services and health:

    * **Initialisation.** A service has all its values, from all files, before anybody reads one, or it does not start
      and says everything that it lacks. Services that differ in a `shared` setting are named in the log.
    * **Environments.** A service reads the files and defaults of its own environment and of no other. An environment
      that nobody knows is refused.
    * **Changes.** After a reload every process has the new values. They change together: nobody reads half a change.
      A listener that fails is logged; the others still hear.
    * **Secrets.** A rotated secret counts at once, its former value for a while and no longer, in every process. No
      secret is in a text, a listing, an error, a log or a backup.
    * **Services.** An address is answered while its service renews it, in its own environment only.
    * **Health.** As many failures in a row as are configured make a dependency unhealthy. A critical one that is
      unhealthy, or that nobody has checked, makes the service unhealthy.
    * **Validation.** A value of the wrong kind is refused, at the start with all others that are wrong. A bad reload
      changes nothing but the settings that are good. A name that looks misspelt is reported.
    * **Environments apart.** Nothing is shared between the managers of two environments or users; what is overridden
      stays in its manager and is written nowhere.
    * **Dependencies.** A setting comes after those that it depends on, however they are declared. A circle is an error
      that names it.
    * **Backups.** A service starts with its last good values where a file is broken, and says so. Backups are private,
      replaced in one step, and used in their own environment only.
    """

    former_values: ClassVar[type[FormerValues]] = FormerValues

    def __init__(
        self,
        user_id: str | None = None,
        environment: str | None = None,
        service_name: str | None = None,
        *,
        settings: Iterable[Setting] = (),
        variables: IsolatedEnvironment | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._variables = variables or get_env()
        self.user_id = user_id
        self.service_name = service_name or "netra"
        self.environment = (environment or self._variables.get("ENVIRONMENT") or "development").lower()
        self._settings = {setting.name: setting for setting in self._ordered(tuple(settings))}
        self._overlay: dict[str, Value] = {}
        self._values: dict[str, Value | None] = {}
        self._listeners: list[SettingCallback] = []
        self._rejected: dict[str, str] = {}
        self._recovered: set[str] = set()
        self._former = self.former_values(clock)
        self._held = 0
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
        kept = backup.read() if backup is not None and not problems else {}
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
                        self._recovered.add(name)
        if problems:
            raise ConfigurationProblem(f"{self.service_name} ({self.environment}): " + "; ".join(problems.values()))
        self.save(backup)

    def save(self, backup: ConfigurationBackup | None) -> None:
        """Keep the values for another start, without secrets, unless one of them was refused."""
        if backup is not None and not self.rejected_changes():
            backup.save(self._kept())

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
        with self._lock:
            return (self.text(name), *self._former.of(name))

    def together(self, *names: str) -> tuple[Any, ...]:
        """Several values of one moment, with no change between them."""
        with self._lock:
            return tuple(self.get(name) for name in names)

    def names(self) -> list[str]:
        """All declared settings, each after those it depends on."""
        return list(self._settings)

    def variables(self) -> set[str]:
        """All names under which a value can be given."""
        found = {name for setting in self._settings.values() for name in setting.variables(self.environment)}
        return found | {f"{self.service_name.upper()}_{name}" for name in found}

    def as_mapping(self) -> dict[str, Any]:
        """All values for display; secrets are masked."""
        return {
            name: "***" if setting.secret and self.get(name) is not None else self.get(name)
            for name, setting in self._settings.items()
        }

    def sources(self) -> dict[str, str]:
        """Where each value is from: ``override``, ``backup``, ``default``, or a source of the environment."""
        with self._lock:
            return {name: self._source(setting) for name, setting in self._settings.items()}

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
        self._refresh(list(self._settings))

    @contextmanager
    def all_at_once(self) -> Iterator[None]:
        """Take what changes in the environment during a block together, at its end."""
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
        self.reload()

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

    def _ordered(self, settings: Sequence[Setting]) -> list[Setting]:
        return in_dependency_order(settings)

    def _convert(self, setting: Setting, text: str, variable: str) -> Value:
        return convert(setting, text, variable=variable)

    def _kept(self) -> dict[str, Any]:
        """What a backup may hold."""
        with self._lock:
            return {name: self._values.get(name) for name, setting in self._settings.items() if not setting.secret}

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
        try:
            variable, text = self._found(setting)
        except EnvironmentProblem as problem:
            raise ConfigurationProblem(str(problem)) from None
        value = setting.default_for(self.environment) if text is None else self._convert(setting, text, variable)
        if value is None and setting.required:
            raise ConfigurationProblem(f"{setting.name} is not set; {setting.remedy(self.environment)}")
        self._check_relations(setting, value)
        return value

    def _found(self, setting: Setting) -> tuple[str, str | None]:
        """The variable that holds the value, and its text; None where no variable has any."""
        for variable in setting.variables(self.environment):
            text = self._variables.namespaced(self.service_name, variable)
            if text is not None and text != "":
                return variable, text
        return setting.name, None

    def _source(self, setting: Setting) -> str:
        if setting.name in self._overlay:
            return "override"
        if setting.name in self._recovered:
            return "backup"
        variable, text = self._found(setting)
        if text is None:
            return "default"
        own = self._variables.get_variable_source(f"{self.service_name.upper()}_{variable}")
        return own or self._variables.get_variable_source(variable) or "default"

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
        if self._held:
            return
        prefix = f"{self.service_name.upper()}_"
        wanted = {variable, variable.removeprefix(prefix)}
        names = [name for name, setting in self._settings.items() if wanted & set(setting.variables(self.environment))]
        self._refresh(names)

    def _refresh(self, names: Sequence[str]) -> None:
        """Read settings again: all of them in one step, then tell the listeners."""
        with self._lock:
            before = dict(self._values)
            # one that was refused because of another can be right once that other one has changed
            for _ in names:
                last = dict(self._values)
                for name in names:
                    self._take(name)
                if self._values == last:
                    break
            changed = [name for name in names if self._values.get(name) != before.get(name)]
            for name in changed:
                overlap, former = self._settings[name].overlap, before.get(name)
                if overlap is not None and isinstance(former, str):
                    self._former.keep(name, former, self.number(overlap))
        for name in changed:
            self._notify(name)

    def _take(self, name: str) -> None:
        try:
            self._values[name] = self._load(self._settings[name])
        except ConfigurationProblem as problem:
            self._rejected[name] = str(problem)
        else:
            self._rejected.pop(name, None)
            self._recovered.discard(name)

    def _notify(self, name: str) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(name)
            except Exception as error:  # a listener must not undo a change, nor hide it from the others
                log.warning("a listener to %s of %s failed: %s", name, self.service_name, type(error).__name__)
