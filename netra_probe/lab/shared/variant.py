"""Variant: how a lab differs from the contract, chosen at its start. Values only; `installing` carries them out."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


class VariantProblem(ValueError):
    """A variant names something that does not exist; one sentence with what there is."""


def _choices(default: str, *others: str) -> str:
    """A field with a closed list of values, the contract's first."""
    chosen: str = field(default=default, metadata={"choices": (default, *others)})
    return chosen


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a deployment that is in good order, and not written by us, may do differently (netra-wire §4 to §6).

        start_lab(variant=Variant(dialect="manager", handshake="http-403"))

    Arguments:
        dialect: the envelope of events on sockets; `netra_probe.lab.backend.dialects.envelopes` shows each.
        handshake: how a socket is refused: an error frame and close 1008, HTTP 403, or close 1011 without a word.
        welcome: the first frame: the contract's ``system_message``; a flat ``connection_established`` or a
            ``connect``, both with only the first 8 characters of the user id; a ping before it; or none at all.
        zombie: ``silent``: after the welcome one ping, then nothing for ever, and no close; ``lingering``: the same
            after a first second of life, in which pings are answered.
        identity: ``demo-user``: all sockets belong to one ``demo-user-001``, so everybody sees everything;
            ``demo-users``: each socket to a ``demo-user-<hex>`` of its own.
        breaker: five refused handshakes in a row, of whomever, shut out everybody for 30 s.
        only_agent_request: ``start_agent``, ``user_message`` and ``chat`` are acknowledged and start nothing.
        database, cache: false leaves the URL out of the lab's parameters; the store itself is there.
    """

    dialect: str = _choices(
        "contract", "bridge", "emitter", "manager", "manager-context", "factory", "server", "agent-request", "flat",
        "fallback", "mixed",
    )  # fmt: skip
    handshake: str = _choices("frame-then-1008", "http-403", "1011")
    welcome: str = _choices("contract", "plain", "connect", "after-ping", "none")
    zombie: str = _choices("no", "silent", "lingering")
    identity: str = _choices("token", "demo-user", "demo-users")
    breaker: bool = False
    only_agent_request: bool = False
    database: bool = True
    cache: bool = True

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, choices = getattr(self, entry.name), entry.metadata.get("choices")
            if choices is None:
                if not isinstance(value, bool):
                    raise VariantProblem(f"{entry.name} must be true or false")
            elif value not in choices:
                close = difflib.get_close_matches(str(value), choices, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(choices)}"
                raise VariantProblem(f"there is no {entry.name} {value!r}{hint}")

    @classmethod
    def choices(cls, name: str) -> tuple[str, ...]:
        """What a field can be, the contract's value first."""
        found: tuple[str, ...] = next(entry for entry in fields(cls) if entry.name == name).metadata["choices"]
        return found

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Variant:
        """A variant from plain values; what is left out is as in the contract."""
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            close = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(known))}"
            raise VariantProblem(f"a variant has no {unknown[0]!r}{hint}")
        return cls(**values)

    @classmethod
    def from_text(cls, text: str) -> Variant:
        """The variant that `to_text` wrote; empty text is the contract."""
        return cls.from_mapping(json.loads(text)) if text else cls()

    def to_text(self) -> str:
        """Only what differs from the contract, as JSON; empty for the contract."""
        return json.dumps(self.differences()) if self.differences() else ""

    def differences(self) -> dict[str, Any]:
        """Only what differs from the contract."""
        healthy = asdict(Variant())
        return {name: value for name, value in asdict(self).items() if value != healthy[name]}

    def __str__(self) -> str:
        told = [
            f"{name} {value}" if isinstance(value, str) else f"{'' if value else 'no '}{name.replace('_', ' ')}"
            for name, value in self.differences().items()
        ]
        return ", ".join(told) or "contract"
