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

import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from netra_probe.lab.shared.env_file import NAME, EnvFileProblem, read_env_file

ChangeCallback = Callable[[str, str | None, str | None], None]

PRIORITIES: dict[str, int] = {"default": 0, "file": 10, "process": 20, "runtime": 30, "secret": 40, "override": 50}
"""Known sources, weakest first. An unknown source ranks as ``runtime``."""

_REFERENCE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class EnvironmentProblem(ValueError):
    """A variable cannot be stored or expanded; names the variable and the remedy, never its value."""


class IsolatedEnvironment:
    """Process-wide singleton over layered environment variables; every call is safe from any thread."""

    _instance: ClassVar[IsolatedEnvironment | None] = None
    _creation: ClassVar[threading.Lock] = threading.Lock()

    _lock: threading.RLock
    _layers: dict[str, dict[str, str]]
    _callbacks: list[ChangeCallback]
    _snapshot: dict[str, str] | None
    _shadowed: dict[str, str | None]
    _failures: list[tuple[str, str]]

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
            merged: dict[str, str] = {}
            for _, values in sorted(self._visible().items(), key=lambda item: _priority(item[0])):
                merged.update(values)
            return merged

    def get_variable_source(self, key: str) -> str | None:
        """The name of the source whose value of `key` wins, or None when no source has it."""
        with self._lock:
            found = self._winner(key)
            return None if found is None else found[0]

    def get_subprocess_env(self, additional: Mapping[str, str] | None = None) -> dict[str, str]:
        """A complete, expanded environment for a child process, with `additional` on top; circles stay as written."""
        merged: dict[str, str] = {}
        with self._lock:
            for key, value in self.get_all().items():
                try:
                    merged[key] = self._expand(key, value, (key,))
                except EnvironmentProblem:
                    merged[key] = value
        return {**merged, **(additional or {})}

    def namespaced(self, namespace: str, key: str, default: str | None = None) -> str | None:
        """`NAMESPACE_KEY` if a source has it, else `KEY`: a service's own value before the shared one."""
        own = self.get(f"{namespace.upper()}_{key}")
        return own if own is not None else self.get(key, default)

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
        """Outside of isolation, libraries that read the process environment see what wins over it; undone on delete."""
        if self.is_isolated():
            return
        winner = self._winner(key)
        if winner is not None and _priority(winner[0]) > _priority("process"):
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
        return {**self._layers, "process": {**self._process(), **self._layers.get("process", {})}}

    def _winner(self, key: str) -> tuple[str, str] | None:
        best: tuple[str, str] | None = None
        for source, values in self._visible().items():
            if key in values and (best is None or _priority(source) >= _priority(best[0])):
                best = (source, values[key])
        return best

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
                with self._lock:
                    self._failures.append((key, type(error).__name__))


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
    """Make this class the process's environment from now on; what the one before was told is forgotten."""
    global _class
    _class = cls
    IsolatedEnvironment._instance = None
