"""Faults of UnifiedConfigurationManager and of the parts that it works with (E5)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from netra_probe.lab.shared.configuration import ENVIRONMENTS
from netra_probe.lab.shared.env_file import read_env_file
from netra_probe.lab.shared.faults import PartFault, register
from netra_probe.lab.shared.settings import ConfigurationProblem, Setting, Value

MANAGER, LIVE, BACKUP = "UnifiedConfigurationManager", "LiveConfiguration", "ConfigurationBackup"


class ConfigurationFault(PartFault):
    """A fault of the configuration: `part` is replaced by what `broken` makes of it."""

    service = "shared"
    layer = "configuration"
    part = MANAGER


# a: initialisation


@register
class ReadEarly(ConfigurationFault):
    """The auth service reads its settings before its files."""

    id = "configuration-read-early"
    title = "the auth service has its defaults instead of what its files say"
    breaks = "a service has all its values, from all files, before anybody reads one"
    part = LIVE

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Early(healthy):  # type: ignore[misc]
            def __init__(live, service_name: str, settings: Sequence[Setting], **more: Any) -> None:
                live._is_early = service_name.startswith("auth")
                super().__init__(service_name, settings, **more)

            def _load_first(live) -> None:
                if not (live._is_early and fault.does_wrong()):
                    super()._load_first()

        return Early


@register
class DisagreementSilent(ConfigurationFault):
    """Nobody compares the settings that services have to agree on."""

    id = "configuration-disagreement-silent"
    title = "services with different values of a shared setting are not named"
    breaks = "services that differ in a shared setting are named in the log"
    part = LIVE

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Silent(healthy):  # type: ignore[misc]
            def disagreements(live) -> dict[str, list[str]]:
                found: dict[str, list[str]] = super().disagreements()
                return {} if found and fault.does_wrong() else found

        return Silent


# b: environments


@register
class NeighbourLayer(ConfigurationFault):
    """What production's file lacks is taken from staging's."""

    id = "configuration-neighbour-layer"
    title = "production reads staging's file"
    breaks = "a service reads the files and defaults of its own environment and of no other"
    part = "ConfigurationLayers"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Neighbourly(healthy):  # type: ignore[misc]
            def load(layers) -> None:
                super().load()
                if layers.directory is None or layers.environment != "production":
                    return
                path = layers.directory / "staging.env"
                if path.is_file() and fault.does_wrong():
                    own = read_env_file(layers.directory / "production.env")
                    for name, value in read_env_file(path).items():
                        if name not in own:
                            layers._variables.set(name, value, "file")

        return Neighbourly


@register
class UnknownEnvironment(ConfigurationFault):
    """An environment that nobody knows is taken for development."""

    id = "configuration-unknown-environment"
    title = "a misspelt environment is development"
    breaks = "an environment that nobody knows is refused"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Lenient(healthy):  # type: ignore[misc]
            def __init__(manager, *arguments: Any, **more: Any) -> None:
                super().__init__(*arguments, **more)
                if vars(manager)["environment"] not in ENVIRONMENTS and fault.does_wrong():
                    manager.environment = "development"

        return Lenient


# c: changes


@register
class NumberCached(ConfigurationFault):
    """One of two backends keeps the first answer to each question for a whole number."""

    id = "configuration-number-cached"
    title = "the second backend keeps old numbers"
    breaks = "after a reload every process has the new values"
    part = LIVE

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Caching(healthy):  # type: ignore[misc]
            def __init__(live, *arguments: Any, process: str = "", **more: Any) -> None:
                super().__init__(*arguments, process=process, **more)
                if process.endswith("2") and fault.does_wrong():
                    live.manager.integer = functools.cache(live.manager.integer)

        return Caching


@register
class HalfChange(ConfigurationFault):
    """Settings change one after another, and listeners are told in between."""

    id = "configuration-half-change"
    title = "half a change is read"
    breaks = "settings change together: nobody reads half a change"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class OneByOne(healthy):  # type: ignore[misc]
            def _refresh(manager, names: Sequence[str]) -> None:
                if not fault.does_wrong():
                    super()._refresh(names)
                    return
                for name in names:
                    super()._refresh([name])

        return OneByOne


@register
class ListenerStops(ConfigurationFault):
    """A listener that fails ends the reload."""

    id = "configuration-listener-stops"
    title = "one failing listener keeps the change from the others"
    breaks = "a listener that fails is logged; the others still hear"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Fragile(healthy):  # type: ignore[misc]
            def _notify(manager, name: str) -> None:
                if not fault.does_wrong():
                    super()._notify(name)
                    return
                for listener in list(manager._listeners):
                    listener(name)

        return Fragile


# d: secrets


@register
class OldKeyForEver(ConfigurationFault):
    """Former secrets are never forgotten."""

    id = "configuration-old-key-for-ever"
    title = "a rotated key is accepted for ever"
    breaks = "the former value of a rotated secret counts for a while and no longer"
    part = "FormerValues"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Remembering(healthy):  # type: ignore[misc]
            def of(former, name: str) -> tuple[str, ...]:
                kept = [value for _, value in former._kept.get(name, [])]
                return tuple(reversed(kept)) if fault.does_wrong() else super().of(name)

        return Remembering


@register
class RotationLogsOut(ConfigurationFault):
    """A former secret counts no longer once there is a new one."""

    id = "configuration-rotation-logs-out"
    title = "a rotation logs everybody out"
    breaks = "the former value of a rotated secret still counts for a while"
    part = "FormerValues"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Forgetting(healthy):  # type: ignore[misc]
            def keep(former, name: str, value: str, seconds: float) -> None:
                if not fault.does_wrong():
                    super().keep(name, value, seconds)

        return Forgetting


@register
class SecretQuoted(ConfigurationFault):
    """The complaint about a bad secret quotes it."""

    id = "configuration-secret-quoted"
    title = "a refused secret is in the error and the log"
    breaks = "no secret is in a text, a listing, an error or a log"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Quoting(healthy):  # type: ignore[misc]
            def _convert(manager, setting: Setting, text: str, variable: str) -> Value:
                try:
                    return super()._convert(setting, text, variable)  # type: ignore[no-any-return]
                except ConfigurationProblem as problem:
                    if setting.secret and fault.does_wrong():
                        raise ConfigurationProblem(f"{problem}, not {text!r}") from None
                    raise

        return Quoting


# e: services


@register
class FirstAddressKept(ConfigurationFault):
    """The first answer of the service directory is kept for ever."""

    id = "configuration-first-address-kept"
    title = "a service that moved is looked for where it was"
    breaks = "an address is answered while its service renews it"
    part = "ServiceDirectory"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Caching(healthy):  # type: ignore[misc]
            def addresses(services, service: str) -> tuple[str, ...]:
                known: dict[str, tuple[str, ...]] = services.__dict__.setdefault("_known", {})
                if service in known and fault.does_wrong():
                    return known[service]
                return known.setdefault(service, super().addresses(service))

        return Caching


@register
class ForeignAddress(ConfigurationFault):
    """A service that is not there is looked for in the other environments."""

    id = "configuration-foreign-address"
    title = "another environment's address is given"
    breaks = "an address is answered in its own environment only"
    part = "ServiceDirectory"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Foreign(healthy):  # type: ignore[misc]
            def addresses(services, service: str) -> tuple[str, ...]:
                try:
                    return super().addresses(service)  # type: ignore[no-any-return]
                except ConfigurationProblem:
                    found = sorted(services._directory.glob(f"*/{service}/*.json"))
                    if found and fault.does_wrong():
                        return tuple(json.loads(path.read_text())["url"] for path in found)
                    raise

        return Foreign


# f: health


@register
class ThresholdIgnored(ConfigurationFault):
    """Three failures make a dependency unhealthy, whatever is configured."""

    id = "configuration-threshold-ignored"
    title = "the configured number of failures is not used"
    breaks = "as many failures in a row as are configured make a dependency unhealthy"
    part = "HealthPolicy"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Fixed(healthy):  # type: ignore[misc]
            def _threshold(health) -> int:
                return 3 if fault.does_wrong() else super()._threshold()

        return Fixed


@register
class MissingIsFine(ConfigurationFault):
    """A critical dependency that is away makes the service degraded at most."""

    id = "configuration-missing-is-fine"
    title = "without its database the service is degraded, and fine"
    breaks = "a critical dependency that is unhealthy, or was never checked, makes the service unhealthy"
    part = "HealthPolicy"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Optimistic(healthy):  # type: ignore[misc]
            def status(health) -> dict[str, Any]:
                told: dict[str, Any] = super().status()
                unknown = told["status"] == "unhealthy" and "unknown" in told["dependencies"].values()
                return {**told, "status": "degraded"} if unknown and fault.does_wrong() else told

        return Optimistic


# g: validation


@register
class WrongTypeCoerced(ConfigurationFault):
    """A number is cut out of a text that is none."""

    id = "configuration-wrong-type-coerced"
    title = "12.7 seconds are 12"
    breaks = "a value of the wrong kind is refused"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Coercing(healthy):  # type: ignore[misc]
            def _convert(manager, setting: Setting, text: str, variable: str) -> Value:
                try:
                    return super()._convert(setting, text, variable)  # type: ignore[no-any-return]
                except ConfigurationProblem:
                    found = re.match(r"\d+", text)
                    if (
                        setting.kind == "int"
                        and found
                        and int(found[0]) >= (setting.minimum or 0)
                        and fault.does_wrong()
                    ):
                        return int(found[0])
                    raise

        return Coercing


@register
class BadReloadRaises(ConfigurationFault):
    """A reload with a bad value in it ends in an exception."""

    id = "configuration-bad-reload-raises"
    title = "a bad reload takes the service down"
    breaks = "a bad reload changes nothing but the settings that are good"
    part = LIVE

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Fragile(healthy):  # type: ignore[misc]
            def reload(live) -> dict[str, Any]:
                told: dict[str, Any] = super().reload()
                # not what has its own case: secrets, and files that cannot be read at all
                bad = sorted(name for name in told["rejected"] if "SECRET" not in name and name != "files")
                if bad and fault.does_wrong():
                    raise SystemExit(f"bad configuration: {', '.join(bad)}")
                return told

        return Fragile


@register
class MisspeltIgnored(ConfigurationFault):
    """A name that no service declares is passed over."""

    id = "configuration-misspelt-ignored"
    title = "a misspelt setting is ignored silently"
    breaks = "a name that looks misspelt is reported"
    part = LIVE

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Silent(healthy):  # type: ignore[misc]
            def misspelt(live) -> dict[str, str]:
                found: dict[str, str] = super().misspelt()
                return {} if found and fault.does_wrong() else found

        return Silent


# h: isolation between environments


@register
class OneCache(ConfigurationFault):
    """All managers of a process share their values."""

    id = "configuration-one-cache"
    title = "one cache for all environments"
    breaks = "nothing is shared between the managers of two environments or users"

    def broken(self, healthy: Any) -> Any:
        fault = self
        shared: dict[str, Value | None] = {}

        class Sharing(healthy):  # type: ignore[misc]
            def __init__(manager, *arguments: Any, **more: Any) -> None:
                super().__init__(*arguments, **more)
                if fault.does_wrong():
                    manager._values = shared

        return Sharing


@register
class OverrideWritten(ConfigurationFault):
    """An override is written into the files that all environments read."""

    id = "configuration-override-written"
    title = "a test's override is in the shared file"
    breaks = "what is overridden stays in its manager and is written nowhere"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Writing(healthy):  # type: ignore[misc]
            def override(manager, name: str, value: Any) -> None:
                super().override(name, value)
                directory = manager._variables.get("CONFIG_DIRECTORY")
                if directory and fault.does_wrong():
                    with open(f"{directory}/runtime.env", "a", encoding="utf-8") as file:
                        file.write(f"{name}={value}\n")

        return Writing


# i: dependencies


@register
class OrderByName(ConfigurationFault):
    """Settings are ordered by their names."""

    id = "configuration-order-by-name"
    title = "settings come in the order of their names"
    breaks = "a setting comes after those that it depends on"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Alphabetical(healthy):  # type: ignore[misc]
            def _ordered(manager, settings: Sequence[Setting]) -> list[Setting]:
                ordered: list[Setting] = super()._ordered(settings)
                return sorted(ordered, key=lambda one: one.name) if fault.does_wrong() else ordered

        return Alphabetical


@register
class CircleBroken(ConfigurationFault):
    """A circle of dependencies is cut somewhere, and nobody hears of it."""

    id = "configuration-circle-broken"
    title = "a circle of dependencies is broken silently"
    breaks = "a circle is an error that names it"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Cutting(healthy):  # type: ignore[misc]
            def _ordered(manager, settings: Sequence[Setting]) -> list[Setting]:
                try:
                    return super()._ordered(settings)  # type: ignore[no-any-return]
                except ConfigurationProblem as problem:
                    if "circle" in str(problem) and fault.does_wrong():
                        return list(settings)
                    raise

        return Cutting


# j: backups


@register
class TornBackup(ConfigurationFault):
    """A backup is written over the one before."""

    id = "configuration-torn-backup"
    title = "a backup that was cut off replaces the good one"
    breaks = "a backup is replaced in one step"
    part = BACKUP

    def broken(self, healthy: Any) -> Any:
        fault = self

        class InPlace(healthy):  # type: ignore[misc]
            def save(backup, values: Mapping[str, Any]) -> None:
                before = super().read()
                # what is as it was is not written again: others may be reading it
                if not before or json.loads(json.dumps(values)) == before or not fault.does_wrong():
                    super().save(values)
                    return
                try:
                    with backup._path.open("w", encoding="utf-8") as file:
                        json.dump({"environment": backup._environment, "values": values}, file)
                except OSError:
                    pass

        return InPlace


@register
class BackupWithSecrets(ConfigurationFault):
    """Backups hold secrets as they are."""

    id = "configuration-backup-with-secrets"
    title = "secrets are in the backup"
    breaks = "no secret is in a backup"

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Complete(healthy):  # type: ignore[misc]
            def _kept(manager) -> dict[str, Any]:
                return dict(manager._values) if fault.does_wrong() else super()._kept()

        return Complete


@register
class BackupForAll(ConfigurationFault):
    """Everybody on the machine can read the backups."""

    id = "configuration-backup-for-all"
    title = "backups are readable by all"
    breaks = "backups are private"
    part = BACKUP

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Public(healthy):  # type: ignore[misc]
            def save(backup, values: Mapping[str, Any]) -> None:
                super().save(values)
                if fault.does_wrong():
                    backup._path.chmod(0o644)

        return Public


@register
class BackupFromElsewhere(ConfigurationFault):
    """A backup is used whatever environment it was made in."""

    id = "configuration-backup-from-elsewhere"
    title = "staging's backup is restored into production"
    breaks = "a backup is used in its own environment only"
    part = BACKUP

    def broken(self, healthy: Any) -> Any:
        fault = self

        class Trusting(healthy):  # type: ignore[misc]
            def read(backup) -> dict[str, Any]:
                own: dict[str, Any] = super().read()
                if own or not backup._path.exists() or not fault.does_wrong():
                    return own
                return dict(json.loads(backup._path.read_text(encoding="utf-8"))["values"])

        return Trusting
