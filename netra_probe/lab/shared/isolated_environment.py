"""IsolatedEnvironment: the one place a service reads its environment variables from.

Values come from *sources*, and each source has a priority; the highest source that holds a name wins, and taking it
away uncovers the one below. In isolation mode the process environment is a snapshot: neither a change made behind our
back nor a value set here crosses the border.

    environment = IsolatedEnvironment()
    environment.enable_isolation()
    environment.set("DATABASE_URL", "postgresql://${PGHOST}/netra", source="file")
    environment.get("DATABASE_URL")
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from netra_probe.lab.shared.database_url import DatabaseUrl, DatabaseUrlProblem
from netra_probe.lab.shared.env_file import NAME, EnvFileProblem, read_env_file

log = logging.getLogger(__name__)

ChangeCallback = Callable[[str, str | None, str | None], None]

PRIORITIES: dict[str, int] = {
    "test": -10,
    "default": 0,
    "file": 10,
    "process": 20,
    "runtime": 30,
    "secret": 40,
    "override": 50,
}
"""Known sources, weakest first. An unknown source ranks as ``runtime``."""

TEST_DEFAULTS: Mapping[str, str] = {
    "OAUTH_CLIENT_ID": "test-client",
    "OAUTH_CLIENT_SECRET": "for-tests-only",
}
"""What the source ``test`` holds: credentials of a provider that nobody runs, so that tests need none."""
WITH_TEST_DEFAULTS, WITHOUT_REAL_USERS = "test", frozenset({"test", "development"})

_REFERENCE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class EnvironmentProblem(ValueError):
    """A variable cannot be stored or expanded; names the variable and the remedy, never its value."""


class IsolatedEnvironment:
    """Process-wide singleton over layered environment variables; every call is safe from any thread.

    What it promises:

    * **Services apart.** While isolated, a process sees the process environment as it was, whatever is written into it;
      ``changed_outside`` names what differs. Child processes get no value of the source ``secret``.
    * **Sources.** The strongest source that holds a name wins, and is the one that ``get_variable_source`` names. A
      file is taken completely or, when a line is bad, not at all.
    * **Values are text.** ``${NAME}`` is expanded, from this process's variables only; no shell runs. A circle is an
      error that names it; other variables, and child processes, are not affected.
    * **Test credentials.** ``TEST_DEFAULTS`` are there in the environment ``test`` only. Outside of tests and
      development they are refused, wherever they come from, with a warning.
    * **One instance.** All threads share it; no update is lost, and a call that fails leaves no lock behind.
    * **Database URLs.** ``database_url`` finds every part whatever the password holds, or names the variable and the
      mistake, never the password.
    * **Secrets first.** A value of the secret store beats files, the process and what was set; an empty one counts as
      not given. Where another source holds something else a warning names both.
    * **Namespaces.** ``namespaced`` prefers the service's own name, then the environment's; it never answers with
      those of another. That only others have a value is logged.
    * **Dependencies.** ``require`` names all that is missing, at once.
    * **Callbacks.** Each hears of every change of a winning value, with the old and the new one, outside of any lock.
      One that fails is logged and counted; the others still run.
    """

    _instance: ClassVar[IsolatedEnvironment | None] = None
    _creation: ClassVar[threading.Lock] = threading.Lock()

    _lock: threading.RLock
    _layers: dict[str, dict[str, str]]
    _callbacks: list[ChangeCallback]
    _snapshot: dict[str, str] | None
    _shadowed: dict[str, str | None]
    _failures: list[tuple[str, str]]
    _told: set[str]

    def __new__(cls) -> IsolatedEnvironment:
        with cls._creation:
            if cls._instance is None:
                instance = super().__new__(cls)
                instance._lock = threading.RLock()
                instance._layers = {}
                instance._callbacks = []
                instance._snapshot = None
                instance._shadowed = {}
                instance._failures = []
                instance._told = set()
                cls._instance = instance
            return cls._instance

    def __repr__(self) -> str:
        return f"IsolatedEnvironment(isolated={self.is_isolated()}, variables={len(self.get_all())})"

    # Isolation

    def enable_isolation(self) -> None:
        """Stop reading and writing the process environment: it counts as it is at this moment."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = self._process()

    def disable_isolation(self) -> None:
        """Read the live process environment again; values set meanwhile stay in their sources only."""
        with self._lock:
            self._snapshot = None

    def is_isolated(self) -> bool:
        """True while the process environment is a snapshot."""
        return self._snapshot is not None

    def changed_outside(self) -> list[str]:
        """Names that somebody has changed in the process environment since isolation began."""
        with self._lock:
            before, now = self._snapshot, dict(os.environ)
            if before is None:
                return []
            return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))

    # Reading

    def get(self, key: str, default: str | None = None) -> str | None:
        """The winning value with every ``${NAME}`` expanded, or `default`.

        ``${NAME:-fallback}`` gives a fallback and ``$${NAME}`` stays literal. A reference nobody defines stays as it is
        written, so that it is seen. No shell runs: ``$(…)`` and back-quotes are ordinary text.
        """
        with self._lock:
            found = self._winner(key)
            return default if found is None else self._expand(key, found[1], (key,))

    def get_all(self) -> dict[str, str]:
        """Every variable with its winning, unexpanded value."""
        with self._lock:
            visible = self._visible()
            merged: dict[str, str] = {}
            for _, values in sorted(visible.items(), key=lambda item: _priority(item[0])):
                merged.update(values)
            return {key: value for key, value in merged.items() if not self._is_refused(visible, key, value)}

    def get_variable_source(self, key: str) -> str | None:
        """The name of the source whose value of `key` wins, or None when no source has it."""
        with self._lock:
            found = self._winner(key)
            return None if found is None else found[0]

    def get_subprocess_env(self, additional: Mapping[str, str] | None = None) -> dict[str, str]:
        """An expanded environment for a child process, with `additional` on top; circles stay as written.

        Secrets are left out: a child gets those that it needs by name, in `additional`.
        """
        merged: dict[str, str] = {}
        with self._lock:
            for key, value in self.get_all().items():
                if self.get_variable_source(key) == "secret":
                    continue
                try:
                    merged[key] = self._expand(key, value, (key,))
                except EnvironmentProblem:
                    merged[key] = value
        return {**merged, **(additional or {})}

    def namespaced(
        self, namespace: str, key: str, default: str | None = None, *, environment: str | None = None
    ) -> str | None:
        """`NAMESPACE_KEY` if a source has it, else `KEY`: a service's own value before the shared one.

        With an `environment`, `NAMESPACE_KEY_ENVIRONMENT` and `KEY_ENVIRONMENT` come before the same without it.
        """
        suffixes = [f"_{environment.upper()}", ""] if environment else [""]
        for prefix in (f"{namespace.upper()}_", ""):
            for suffix in suffixes:
                value = self.get(f"{prefix}{key}{suffix}")
                if value is not None:
                    return value
        if environment:
            others = sorted(name for name in self.get_all() if re.search(rf"(^|_){re.escape(key)}(_|$)", name))
            if others:
                self._warn(f"{key} is not set for {namespace} in {environment}; there is only {', '.join(others)}")
        return default

    def require(self, *keys: str) -> None:
        """Raise one EnvironmentProblem that names all of these that are missing or empty."""
        missing = [key for key in keys if not self.get(key)]
        if missing:
            raise EnvironmentProblem(f"not set: {', '.join(missing)}; the service cannot start without")

    def database_url(self, key: str = "DATABASE_URL") -> DatabaseUrl:
        """The parts of a database URL, or an EnvironmentProblem that says what is wrong with it."""
        self.require(key)
        try:
            return DatabaseUrl.parse(self.get(key) or "")
        except DatabaseUrlProblem as problem:
            raise EnvironmentProblem(f"{key} {problem}") from None

    def conflicts(self) -> dict[str, list[str]]:
        """Names of secrets for which other sources hold something else, with all their sources, the strongest first."""
        with self._lock:
            visible = self._visible()
            found = {}
            for key, secret in visible.get("secret", {}).items():
                others = [source for source, values in visible.items() if values.get(key, secret) != secret]
                if others:
                    found[key] = sorted(["secret", *others], key=_priority, reverse=True)
            return found

    # Writing

    def set(self, key: str, value: str, source: str = "runtime") -> bool:
        """Store a value under a source; True when it now wins, False when a stronger source covers it."""
        _check(key, value)
        with self._lock:
            before = self._plain(key)
            self._layers.setdefault(source, {})[key] = value
            self._write_through(key)
            won = self.get_variable_source(key) == source
            after = self._plain(key)
        self._tell_conflicts(key)
        self._announce(key, before, after)
        return won

    def delete(self, key: str, source: str | None = None) -> bool:
        """Take a name out of one source, or out of all (the process environment included); True if it was there."""
        with self._lock:
            before = self._plain(key)
            removed = False
            for name in [source] if source else list(self._layers):
                removed |= self._layers.get(name, {}).pop(key, None) is not None
            if source in (None, "process") and key in self._process():
                removed = True
                self._forget_process_value(key)
            self._write_through(key)
            after = self._plain(key)
        self._announce(key, before, after)
        return removed

    def load_from_file(self, path: str | Path, source: str = "file") -> int:
        """Read ``NAME=value`` lines (comments, ``export`` and quotes allowed) into a source; how many were read."""
        try:
            values = read_env_file(Path(path))
        except EnvFileProblem as problem:
            raise EnvironmentProblem(str(problem)) from None
        for name, value in values.items():
            _check(name, value)
        for name, value in values.items():
            self.set(name, value, source)
        return len(values)

    def replace(self, source: str, values: Mapping[str, str]) -> None:
        """Make a source hold exactly `values`; changes are announced once all of them are in place."""
        for key, value in values.items():
            _check(key, value)
        with self._lock:
            keys = sorted({*values, *self._layers.get(source, {})})
            before = {key: self._plain(key) for key in keys}
            self._layers[source] = dict(values)
            for key in keys:
                self._write_through(key)
            after = {key: self._plain(key) for key in keys}
        self._tell_conflicts(*keys)
        for key in keys:
            self._announce(key, before[key], after[key])

    # Changes

    def add_change_callback(self, callback: ChangeCallback) -> None:
        """Call ``callback(name, old, new)`` after each change of a winning value, outside of any lock."""
        with self._lock:
            self._callbacks.append(callback)

    def remove_change_callback(self, callback: ChangeCallback) -> None:
        """Stop calling `callback`; unknown callbacks are ignored."""
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def callback_failures(self) -> list[tuple[str, str]]:
        """``(variable, exception type)`` for each callback that failed; the other callbacks still ran."""
        with self._lock:
            return list(self._failures)

    # Inside

    def _process(self) -> dict[str, str]:
        """The process environment as it would be without the values that we wrote into it."""
        if self._snapshot is not None:
            return self._snapshot
        live = dict(os.environ)
        for key, previous in self._shadowed.items():
            live.pop(key, None)
            if previous is not None:
                live[key] = previous
        return live

    def _write_through(self, key: str) -> None:
        """Outside of isolation, libraries that read the process environment see what wins over it; undone on delete.

        Secrets stay here: what is in the process environment goes to every child process and every crash report.
        """
        if self.is_isolated():
            return
        winner = self._winner(key)
        if winner is not None and winner[0] != "secret" and _priority(winner[0]) > _priority("process"):
            self._shadowed.setdefault(key, os.environ.get(key))
            os.environ[key] = winner[1]
        elif key in self._shadowed:
            previous = self._shadowed.pop(key)
            os.environ.pop(key, None)
            if previous is not None:
                os.environ[key] = previous

    def _forget_process_value(self, key: str) -> None:
        if self._snapshot is not None:
            self._snapshot.pop(key, None)
        elif key in self._shadowed:
            self._shadowed[key] = None
        else:
            os.environ.pop(key, None)

    def _visible(self) -> dict[str, dict[str, str]]:
        visible = {**self._layers, "process": {**self._process(), **self._layers.get("process", {})}}
        visible["secret"] = {key: value for key, value in visible.get("secret", {}).items() if value}
        if self._has_test_defaults(visible):
            visible["test"] = {**TEST_DEFAULTS, **visible.get("test", {})}
        return visible

    def _winner(self, key: str) -> tuple[str, str] | None:
        visible = self._visible()
        found = _strongest(visible, key)
        if found is None or not self._is_refused(visible, key, found[1]):
            return found
        self._warn(f"{key} holds a test credential in {_environment(visible)}; it is refused")
        return None

    def _has_test_defaults(self, visible: Mapping[str, Mapping[str, str]]) -> bool:
        return _environment(visible) == WITH_TEST_DEFAULTS

    def _is_refused(self, visible: Mapping[str, Mapping[str, str]], key: str, value: str) -> bool:
        return TEST_DEFAULTS.get(key) == value and _environment(visible) not in WITHOUT_REAL_USERS

    def _plain(self, key: str) -> str | None:
        found = self._winner(key)
        return None if found is None else found[1]

    def _expand(self, key: str, value: str, trail: tuple[str, ...]) -> str:
        def replace(match: re.Match[str]) -> str:
            escaped, name, fallback = match.groups()
            if escaped:
                return match.group(0)[1:]
            if name in trail:
                raise EnvironmentProblem(
                    f"{key} refers to itself through {' -> '.join((*trail, name))}; break the circle"
                )
            found = self._winner(name)
            if found is None:
                return match.group(0) if fallback is None else str(fallback)
            return self._expand(key, found[1], (*trail, name))

        return _REFERENCE.sub(replace, value)

    def _announce(self, key: str, before: str | None, after: str | None) -> None:
        if before == after:
            return
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            try:
                callback(key, before, after)
            except Exception as error:  # a listener must not undo a change, nor hide it from the others
                log.warning("a callback failed on the change of %s: %s", key, type(error).__name__)
                with self._lock:
                    self._failures.append((key, type(error).__name__))

    def _tell_conflicts(self, *keys: str) -> None:
        found = self.conflicts()
        for key in keys:
            if key in found:
                self._warn(f"{key} differs between {' and '.join(found[key])}; that of the secret store counts")

    def _warn(self, text: str) -> None:
        """Log something once."""
        with self._lock:
            is_new = text not in self._told
            self._told.add(text)
        if is_new:
            log.warning(text)


def _strongest(visible: Mapping[str, Mapping[str, str]], key: str) -> tuple[str, str] | None:
    best: tuple[str, str] | None = None
    for source, values in visible.items():
        if key in values and (best is None or _priority(source) >= _priority(best[0])):
            best = (source, values[key])
    return best


def _environment(visible: Mapping[str, Mapping[str, str]]) -> str:
    found = _strongest(visible, "ENVIRONMENT")
    return found[1].lower() if found is not None and found[1] else "development"


def _check(key: str, value: object) -> None:
    if not NAME.fullmatch(key):
        raise EnvironmentProblem(f"{key!r} is no environment variable name; use letters, digits and underscores")
    if not isinstance(value, str) or "\0" in value:
        raise EnvironmentProblem(f"the value of {key} must be text without NUL characters")


def _priority(source: str) -> int:
    return PRIORITIES.get(source, PRIORITIES["runtime"])


_class: type[IsolatedEnvironment] = IsolatedEnvironment


def get_env() -> IsolatedEnvironment:
    """The singleton, under the name that the platform uses for it."""
    return _class()


def begin_with(cls: type[IsolatedEnvironment]) -> None:
    """Make this class the process's environment from now on; what was set in the one before is forgotten."""
    global _class
    _class = cls
    IsolatedEnvironment._instance = None
