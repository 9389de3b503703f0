"""Settings: what a service declares of its configuration, and what a text means for one of them.

Setting(name="DATABASE_URL", kind="url", secret=True, required=True)
Setting(name="ACCESS_TOKEN_SECONDS", kind="int", minimum=1, default={"production": 900, "*": 300})
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Value = str | int | float | bool | tuple[str, ...]
Kind = Literal["text", "int", "float", "flag", "url", "list"]

_WHOLE, _NUMBER = re.compile(r"[+-]?[0-9]+"), re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Stricter than Python, which takes ``1_0``, ``inf`` and digits of every script for numbers."""
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
    shared: bool = False
    """All services of an environment have to agree on it."""

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
            whole = setting.kind == "int"
            if not (_WHOLE if whole else _NUMBER).fullmatch(text.strip()):
                raise wrong("a whole number" if whole else "a number")
            value = int(text) if whole else float(text)
            if setting.minimum is not None and value < setting.minimum:
                raise wrong(f"at least {setting.minimum:g}")
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
