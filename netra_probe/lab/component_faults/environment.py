"""Faults of IsolatedEnvironment (E1)."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from netra_probe.lab.shared.database_url import DatabaseUrl
from netra_probe.lab.shared.env_file import NAME
from netra_probe.lab.shared.faults import Fault, Kind, PartFault, Parts, register

COMPONENT = "IsolatedEnvironment"


class EnvironmentFault(PartFault):
    """A fault of IsolatedEnvironment: a subclass of the healthy one takes its place."""

    service = "shared"
    layer = "environment"
    part = COMPONENT


# Area a: services apart


class OfServices(Fault):
    """A fault in the environment of a running backend."""

    kind: ClassVar[Kind] = "component"
    layer = "environment"
    checkers = ("C14",)


@register
class KeyInBackend(OfServices):
    """Every service reads the whole secret store, so that a backend holds the signing key of the auth service."""

    id = "environment-key-in-backend"
    title = "a backend reads the auth service's signing key"
    breaks = "each service reads its own secrets only"

    def install(self, parts: Parts) -> None:
        """Load the files as if all secrets were this service's."""
        from netra_probe.lab.shared.isolated_environment import get_env
        from netra_probe.lab.shared.live_configuration import ConfigurationLayers

        self.reached()
        if self.fires():
            ConfigurationLayers(get_env()).load()
            self.triggered()


@register
class LiveChildren(EnvironmentFault):
    """Child processes get the process environment as it is, whatever was written into it since."""

    id = "environment-live-children"
    title = "a child process gets what a library wrote into the process environment"
    breaks = "while isolated, nothing that is written into the process environment is handed on"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Live(healthy):  # type: ignore[misc]
            def get_subprocess_env(self, additional: Mapping[str, str] | None = None) -> dict[str, str]:
                child: dict[str, str] = super().get_subprocess_env(additional)
                return {**child, **os.environ} if self.is_isolated() and fault.does_wrong() else child

        return Live


# Area b: sources


@register
class FileWins(EnvironmentFault):
    """What stands in a file beats what was set while the service ran."""

    id = "environment-file-wins"
    title = "a file beats an explicit set"
    breaks = "the strongest source that holds a name wins"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Reversed(healthy):  # type: ignore[misc]
            def _winner(self, key: str) -> tuple[str, str] | None:
                stored = self._visible().get("file", {}).get(key)
                found: tuple[str, str] | None = super()._winner(key)
                wrong = stored is not None and found is not None and found[0] in ("process", "runtime", "override")
                return ("file", stored) if wrong and stored is not None and fault.does_wrong() else found

        return Reversed


@register
class WrongSource(EnvironmentFault):
    """The source that is named is the one that was written last, not the one whose value counts."""

    id = "environment-wrong-source"
    title = "the source named is the one written last"
    breaks = "the source that is named is the one that wins"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, last = self, dict[str, str]()

        class LastNamed(healthy):  # type: ignore[misc]
            def set(self, key: str, value: str, source: str = "runtime") -> bool:
                last[key] = source
                return bool(super().set(key, value, source))

            def get_variable_source(self, key: str) -> str | None:
                found: str | None = super().get_variable_source(key)
                is_other = found is not None and last.get(key, found) != found
                return last[key] if is_other and fault.does_wrong() else found

        return LastNamed


@register
class HalfFile(EnvironmentFault):
    """Lines are taken one by one, so that those before a bad one count."""

    id = "environment-half-file"
    title = "half of a bad file is taken"
    breaks = "a file is taken completely or not at all"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class LineByLine(healthy):  # type: ignore[misc]
            def load_from_file(self, path: str | Path, source: str = "file") -> int:
                try:
                    return int(super().load_from_file(path, source))
                except ValueError:
                    if fault.does_wrong():
                        for line in Path(path).read_text(encoding="utf-8").splitlines():
                            name, separator, value = line.partition("=")
                            if not separator or not NAME.fullmatch(name):
                                break
                            self.set(name, value, source)
                    raise

        return LineByLine


# Area c: values are text


@register
class ShellExecuted(EnvironmentFault):
    """Shell substitutions in values are executed when they are read."""

    id = "environment-shell-executed"
    title = "$(…) in a value is executed"
    breaks = "values are text: no shell runs when they are read"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Executing(healthy):  # type: ignore[misc]
            def get(self, key: str, default: str | None = None) -> str | None:
                value: str | None = super().get(key, default)
                if value and "$(" in value and fault.does_wrong():
                    return subprocess.run(["sh", "-c", f"echo {value}"], capture_output=True, text=True).stdout.strip()
                return value

        return Executing


@register
class CircleEmpty(EnvironmentFault):
    """A circle of references reads as nothing, and nobody is told."""

    id = "environment-circle-empty"
    title = "a circle of references reads as empty text"
    breaks = "a circle is an error that names it"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Silent(healthy):  # type: ignore[misc]
            def _expand(self, key: str, value: str, trail: tuple[str, ...]) -> str:
                try:
                    return str(super()._expand(key, value, trail))
                except ValueError:
                    if fault.does_wrong():
                        return ""
                    raise

        return Silent


# Area d: test credentials


@register
class TestDefaultsElsewhere(EnvironmentFault):
    """Whatever is not production gets the credentials of tests."""

    id = "environment-test-defaults-elsewhere"
    title = "test credentials are handed out in development"
    breaks = "test credentials are there in the environment test only"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Generous(healthy):  # type: ignore[misc]
            def _has_test_defaults(self, visible: Mapping[str, Mapping[str, str]]) -> bool:
                named = visible.get("process", {}).get("ENVIRONMENT")
                return bool(super()._has_test_defaults(visible) or (named == "development" and fault.does_wrong()))

        return Generous


@register
class TestCredentialAccepted(EnvironmentFault):
    """A test credential that was copied into a real environment is taken, silently."""

    id = "environment-test-credential-accepted"
    title = "a copied test credential is taken in production"
    breaks = "test credentials are refused where there are real users"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Credulous(healthy):  # type: ignore[misc]
            def _is_refused(self, visible: Mapping[str, Mapping[str, str]], key: str, value: str) -> bool:
                return bool(super()._is_refused(visible, key, value)) and not fault.does_wrong()

        return Credulous


# Area e: one instance


@register
class InstancePerThread(EnvironmentFault):
    """Each thread has an instance of its own, and sees its own changes only."""

    id = "environment-instance-per-thread"
    title = "each thread has its own instance"
    breaks = "all threads share one instance"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, kept = self, threading.local()

        class Local(healthy):  # type: ignore[misc]
            def __new__(cls) -> Any:
                if threading.current_thread() is threading.main_thread() or not fault.does_wrong():
                    return super().__new__(cls)
                if not hasattr(kept, "instance"):
                    kept.instance = type("Own", (healthy,), {"_instance": None})()
                return kept.instance

        return Local


@register
class LockKept(EnvironmentFault):
    """A call that fails keeps the lock: every other thread waits for ever."""

    id = "environment-lock-kept"
    title = "a failed set keeps the lock"
    breaks = "a call that fails leaves no lock behind"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Keeping(healthy):  # type: ignore[misc]
            def set(self, key: str, value: str, source: str = "runtime") -> bool:
                self._lock.acquire()
                try:
                    done = bool(super().set(key, value, source))
                except ValueError:
                    if not fault.does_wrong():
                        self._lock.release()
                    raise
                self._lock.release()
                return done

        return Keeping


# Area f: database URLs


@register
class PasswordCut(EnvironmentFault):
    """The password ends at its first @."""

    id = "environment-password-cut"
    title = "a database password is cut at its first @"
    breaks = "every part of a database URL is found, whatever the password holds"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Cutting(healthy):  # type: ignore[misc]
            def database_url(self, key: str = "DATABASE_URL") -> Any:
                url = super().database_url(key)
                if "@" in url.password and fault.does_wrong():
                    return dataclasses.replace(url, password=url.password.partition("@")[0])
                return url

        return Cutting


@register
class HostNotNeeded(EnvironmentFault):
    """A database URL without a host is taken: the database is then the one of this machine."""

    id = "environment-host-not-needed"
    title = "a database URL without a host is accepted"
    breaks = "a database URL without a host is refused"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Local(healthy):  # type: ignore[misc]
            def database_url(self, key: str = "DATABASE_URL") -> Any:
                text = self.get(key) or ""
                if "@/" in text and fault.does_wrong():
                    return DatabaseUrl.parse(text.replace("@/", "@localhost/"))
                return super().database_url(key)

        return Local


@register
class PasswordTold(EnvironmentFault):
    """The error about a database URL quotes it, password and all."""

    id = "environment-password-told"
    title = "the error about a database URL holds its password"
    breaks = "the error names the variable and the mistake, never the password"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Quoting(healthy):  # type: ignore[misc]
            def database_url(self, key: str = "DATABASE_URL") -> Any:
                try:
                    return super().database_url(key)
                except ValueError as problem:
                    if fault.does_wrong():
                        raise type(problem)(f"{problem}: {self.get(key)}") from None
                    raise

        return Quoting


# Area g: secrets first


@register
class OldVariableWins(EnvironmentFault):
    """A variable that was left in the process environment beats the secret store."""

    id = "environment-old-variable-wins"
    title = "a left-over variable beats the secret store"
    breaks = "a value of the secret store beats every weaker source"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Leftover(healthy):  # type: ignore[misc]
            def _winner(self, key: str) -> tuple[str, str] | None:
                found: tuple[str, str] | None = super()._winner(key)
                left = self._visible()["process"].get(key)
                if found is not None and found[0] == "secret" and left is not None and fault.does_wrong():
                    return "process", left
                return found

        return Leftover


@register
class EmptySecret(EnvironmentFault):
    """An empty file in the secret store counts as a secret."""

    id = "environment-empty-secret"
    title = "an empty secret counts as given"
    breaks = "an empty secret counts as not given"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Emptied(healthy):  # type: ignore[misc]
            def _visible(self) -> dict[str, dict[str, str]]:
                visible: dict[str, dict[str, str]] = super()._visible()
                empty = {key: value for key, value in self._layers.get("secret", {}).items() if not value}
                if empty and fault.does_wrong():
                    visible["secret"] = {**visible["secret"], **empty}
                return visible

        return Emptied


@register
class ConflictSilent(EnvironmentFault):
    """That two sources disagree about a secret is told nobody."""

    id = "environment-conflict-silent"
    title = "a conflict about a secret is not reported"
    breaks = "where another source holds something else a warning names both"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Silent(healthy):  # type: ignore[misc]
            def conflicts(self) -> dict[str, list[str]]:
                found: dict[str, list[str]] = super().conflicts()
                return {} if found and fault.does_wrong() else found

        return Silent


# Area h: namespaces


@register
class PrefixIgnored(EnvironmentFault):
    """A service's own value is passed over: all get the shared one."""

    id = "environment-prefix-ignored"
    title = "a service's own value is ignored"
    breaks = "a service's own value comes before the shared one"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Shared(healthy):  # type: ignore[misc]
            def namespaced(self, namespace: str, key: str, default: str | None = None, **more: Any) -> str | None:
                value: str | None = super().namespaced(namespace, key, default, **more)
                shared: str | None = self.get(key)
                return shared if shared is not None and shared != value and fault.does_wrong() else value

        return Shared


@register
class OthersName(EnvironmentFault):
    """Where a service has no value, that of another environment is taken."""

    id = "environment-others-name"
    title = "another environment's value is taken"
    breaks = "nobody is answered with the value of another service or environment"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Borrowing(healthy):  # type: ignore[misc]
            def namespaced(self, namespace: str, key: str, default: str | None = None, **more: Any) -> str | None:
                found: str | None = super().namespaced(namespace, key, None, **more)
                others = sorted(name for name in self.get_all() if re.match(rf"{key}_", name))
                if found is None and others and fault.does_wrong():
                    return self.get(others[0])  # type: ignore[no-any-return]
                return default if found is None else found

        return Borrowing


# Area i: dependencies


@register
class ServicesDisagree(OfServices):
    """One of two backends believes the auth service to be elsewhere."""

    id = "environment-services-disagree"
    title = "one backend has another address of the auth service"
    breaks = "all services agree about the addresses and credentials that they share"

    def install(self, parts: Parts) -> None:
        """Set another address, after the service has read the right one."""
        from netra_probe.lab.shared.isolated_environment import get_env

        self.reached()
        if get_env().get("BACKEND_NAME") == "backend-2" and self.fires():
            get_env().set("AUTH_SERVICE_URL", "http://127.0.0.1:9", source="override")
            self.triggered()


@register
class MissingAccepted(EnvironmentFault):
    """A required variable may be empty, or missing."""

    id = "environment-missing-accepted"
    title = "a missing dependency is accepted"
    breaks = "all that is missing is named, at once"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Patient(healthy):  # type: ignore[misc]
            def require(self, *keys: str) -> None:
                try:
                    super().require(*keys)
                except ValueError:
                    if not fault.does_wrong():
                        raise

        return Patient


# Area j: callbacks


@register
class OldValueTold(EnvironmentFault):
    """Callbacks get the old value for the new one."""

    id = "environment-old-value-told"
    title = "callbacks are called with the old value"
    breaks = "a callback gets the old value and the new one"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Stale(healthy):  # type: ignore[misc]
            def _announce(self, key: str, before: str | None, after: str | None) -> None:
                if before != after and before is not None and fault.does_wrong():
                    with self._lock:
                        callbacks = list(self._callbacks)
                    for callback in callbacks:
                        callback(key, before, before)
                else:
                    super()._announce(key, before, after)

        return Stale


@register
class DeleteUnheard(EnvironmentFault):
    """Nobody is called when a variable is deleted."""

    id = "environment-delete-unheard"
    title = "callbacks are not called on delete"
    breaks = "a callback hears of every change of a winning value"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Unheard(healthy):  # type: ignore[misc]
            def _announce(self, key: str, before: str | None, after: str | None) -> None:
                if before is not None and after is None and fault.does_wrong():
                    return
                super()._announce(key, before, after)

        return Unheard


@register
class FirstFailureStops(EnvironmentFault):
    """The first callback that fails is the last one that is called."""

    id = "environment-first-failure-stops"
    title = "a failing callback stops the others"
    breaks = "when a callback fails the others still run"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Stopping(healthy):  # type: ignore[misc]
            def _announce(self, key: str, before: str | None, after: str | None) -> None:
                if before == after:
                    return
                for callback in list(self._callbacks):
                    try:
                        callback(key, before, after)
                    except Exception:
                        if fault.does_wrong():
                            return

        return Stopping


@register
class CalledUnderLock(EnvironmentFault):
    """Callbacks are called while the lock is held: one that waits for another thread waits for ever."""

    id = "environment-called-under-lock"
    title = "callbacks are called under the lock"
    breaks = "callbacks are called outside of any lock"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Locked(healthy):  # type: ignore[misc]
            def _announce(self, key: str, before: str | None, after: str | None) -> None:
                if self._callbacks and before != after and fault.does_wrong():
                    with self._lock:
                        super()._announce(key, before, after)
                else:
                    super()._announce(key, before, after)

        return Locked
