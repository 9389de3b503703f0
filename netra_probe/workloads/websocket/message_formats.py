"""How messages are written: the envelopes of events, and what a program has left in their texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from netra_probe.checkers.json_bodies import leaves
from netra_probe.history.frames import RUN_EVENTS, Frame
from netra_probe.history.untrusted import decoded

#: The events for which the contract has one envelope (netra-wire §6).
EVENTS = frozenset(
    (*RUN_EVENTS, "agent_error", "thread_created", "thread_switched", "thread_renamed", "thread_history")
)
#: Where names and bodies are found, the contract's place first.
_NAMES, _BODIES = ("type", "event", "event_type"), ("payload", "data")
CONTRACT = "type, payload"

_LEFTOVERS = {
    "a coroutine": re.compile(r"<coroutine |\bcoroutine object\b|\bwas never awaited\b"),
    "an object": re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>|\[object \w+\]"),
    "undefined": re.compile(r"\bundefined\b"),
    "NaN": re.compile(r"\bNaN\b"),
    "None": re.compile(r"^\s*None\s*$"),
}


def envelopes(frames: Iterable[Frame]) -> dict[str, list[str]]:
    """Event → the envelopes that it came in, such as ``type, payload`` or ``event, data``.

    >>> from netra_probe.history.frames import read_frame
    >>> envelopes([read_frame('{"event":"agent_started","data":{"status":"ok"}}')])
    {'agent_started': ['event, data']}
    """
    seen: dict[str, set[str]] = {}
    for frame in frames:
        root = decoded(frame.text)
        if frame.name in EVENTS and isinstance(root, dict):
            seen.setdefault(frame.name, set()).add(_envelope(root))
    return {name: sorted(seen[name]) for name in sorted(seen)}


def _envelope(root: dict[str, Any]) -> str:
    name = next((place for place in _NAMES if isinstance(root.get(place), str)), "nameless")
    body = next((place for place in _BODIES if isinstance(root.get(place), dict)), "flat")
    return f"{name}, {body}"


def leftovers(texts: Iterable[tuple[str, str | bytes]]) -> list[str]:
    """Fields whose text is that of an object or of a missing value, by the name of what they came in.

    >>> leftovers([("agent_completed", '{"payload":{"result":"<coroutine object ask at 0x7f>","took":3}}')])
    ['agent_completed.result: a coroutine']
    >>> leftovers([("pong", '{"load":NaN}')])
    ['pong: not JSON']
    """
    return sorted({one for name, text in texts for one in _leftovers(name, text)})


def _leftovers(name: str, text: str | bytes) -> Iterator[str]:
    body = decoded(text, _leftovers)
    if body is _leftovers:
        yield f"{name}: not JSON"
        return
    for field, value in leaves("", body):
        what = next((what for what, pattern in _LEFTOVERS.items() if pattern.search(value)), None)
        if what is not None:
            yield f"{name}.{field}: {what}"
