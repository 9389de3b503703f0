"""Faults: small classes that replace one healthy part of a service in its composition root.

A service lists its parts once, by name, and builds itself from that list:

    parts = Parts({"WebSocketEventRouter": WebSocketEventRouter, ...})
    faults = install_faults(parts, service="backend")
    router = parts["WebSocketEventRouter"](connections)

A fault, here or in a file outside of the package named by ``LAB_FAULT_MODULES``:

    @register
    class Broadcast(Fault):
        '''W1: an event goes to every connection instead of to its user's.'''
        id, layer, service = "W1", "websocket", "backend"
        title = "broadcast instead of send-to-user"
        ...
        def install(self, parts: Parts) -> None:
            healthy = parts["WebSocketEventRouter"]
            class BroadcastingRouter(healthy):
                async def route_event(router, user_id, connection_id, event):
                    self.reached()
                    if not self.fires():
                        return await super().route_event(user_id, connection_id, event)
                    self.triggered()
                    ...
            parts["WebSocketEventRouter"] = BroadcastingRouter

``reached`` counts entries into the broken code, ``triggered`` the times it did the wrong thing, and ``fires`` draws
with the rate that ``LAB_FAULTS="W1:0.5"`` gives (reproducible under ``LAB_FAULT_SEED``).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from netra_probe.lab.shared.isolated_environment import get_env

Kind = Literal["defect", "condition", "component"]
"""A defect as it is published or written by somebody, what a healthy lab may meet, or what breaks in one component."""

PACKAGES: Mapping[Kind, str] = {
    "component": "netra_probe.lab.component_faults",
    "defect": "netra_probe.lab.faults",
    "condition": "netra_probe.lab.conditions",
}
"""The package whose import registers the faults of a kind; the quickest to import comes first."""


class FaultProblem(ValueError):
    """A fault is unknown, badly written or cannot be installed; one sentence with the remedy."""


class Parts(MutableMapping[str, Any]):
    """The named parts of one service. Replacing an unknown part is an error, so that typing mistakes show."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> Any:
        if name not in self._parts:
            raise FaultProblem(f"this service has no part {name!r}{_suggest(name, self._parts)}")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __setitem__(self, name: str, part: Any) -> None:
        if name not in self._parts:
            raise FaultProblem(f"this service has no part {name!r} to replace{_suggest(name, self._parts)}")
        self._parts[name] = part

    def __delitem__(self, name: str) -> None:
        raise FaultProblem(f"part {name!r} can be replaced but not removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"Parts({', '.join(sorted(self._parts))})"


class Fault:
    """One defect. Subclasses say what they break and replace parts in `install`; instances count."""

    id: ClassVar[str]
    layer: ClassVar[str] = ""
    title: ClassVar[str] = ""
    breaks: ClassVar[str] = ""
    trigger: ClassVar[str] = ""
    symptom: ClassVar[str] = ""
    checkers: ClassVar[tuple[str, ...]] = ()
    service: ClassVar[str] = "backend"
    """Which service it is installed in: ``backend`` (both processes), ``auth_service`` or ``llm_service``; ``shared``
    for parts that all services have in common, ``database`` for DatabaseManager and ``agents`` for AgentRegistry and
    its factory, where they are investigated in a process of their own."""
    is_of_running_services: ClassVar[bool] = False
    """Whether it is looked for over the wire only, and not where a class of its service is investigated by itself."""
    kind: ClassVar[Kind] = "defect"

    def __init__(self, *, rate: float = 1.0, seed: str = "") -> None:
        self.rate = rate
        self._random = random.Random(f"{seed}|{self.id}")
        self._lock = threading.Lock()
        self._reached = 0
        self._triggered = 0
        self.counted: Callable[[], None] = lambda: None
        """Called after each count, where somebody keeps the counts elsewhere."""

    def install(self, parts: Parts) -> None:
        """Replace one or more parts of the service; called once, before anything is built from them."""
        raise NotImplementedError(f"fault {self.id} must define install(parts)")

    def reached(self) -> None:
        """Count an entry into the broken code path."""
        with self._lock:
            self._reached += 1
        self.counted()

    def triggered(self) -> None:
        """Count a time when the wrong thing was actually done."""
        with self._lock:
            self._triggered += 1
        self.counted()

    def fires(self) -> bool:
        """Draw: should the wrong thing be done this time?"""
        if self.rate >= 1.0:
            return True
        with self._lock:
            return self._random.random() < self.rate

    def does_wrong(self) -> bool:
        """Count that the wrong thing could be done now, draw, and count that it is."""
        self.reached()
        if self.fires():
            self.triggered()
            return True
        return False

    def counts(self) -> dict[str, int]:
        """``{"reached": n, "triggered": m}`` of this process."""
        with self._lock:
            return {"reached": self._reached, "triggered": self._triggered}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, rate={self.rate})"


class PartFault(Fault):
    """A fault of one part of a component: ``part`` is replaced by what ``broken`` makes of it."""

    kind: ClassVar[Kind] = "component"
    checkers: ClassVar[tuple[str, ...]] = ("C14",)
    part: ClassVar[str]

    def install(self, parts: Parts) -> None:
        """Replace the part."""
        parts[self.part] = self.broken(parts[self.part])

    def broken(self, healthy: Any) -> Any:
        """The part with the fault in it."""
        raise NotImplementedError


F = TypeVar("F", bound=type[Fault])
_registry: dict[str, type[Fault]] = {}


def register(fault: F) -> F:
    """Class decorator: make a fault selectable by its id."""
    if not isinstance(getattr(fault, "id", None), str) or not fault.id.strip():
        raise FaultProblem(f"fault class {fault.__name__} needs an id")
    known = _registry.get(fault.id)
    if known is not None and (known.__module__, known.__qualname__) != (fault.__module__, fault.__qualname__):
        raise FaultProblem(
            f"fault id {fault.id} is used by both {known.__qualname__} and {fault.__qualname__}; rename one"
        )
    _registry[fault.id] = fault
    return fault


def _module_name(path: str) -> str:
    """What a fault file is called once it is imported."""
    file = Path(path).expanduser().resolve()
    return f"lab_fault_module_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"


def load_fault_modules(paths: list[str] | tuple[str, ...]) -> None:
    """Import fault files by path; every `Fault` subclass defined in them is registered."""
    for path in paths:
        file = Path(path).expanduser().resolve()
        if not file.is_file():
            raise FaultProblem(f"fault module {path} does not exist")
        name = _module_name(path)
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise FaultProblem(f"fault module {path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except FaultProblem:
            del sys.modules[name]
            raise
        except Exception as error:
            del sys.modules[name]
            raise FaultProblem(f"fault module {path} cannot be imported: {type(error).__name__}: {error}") from error
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Fault)
                and value.__module__ == name
                and hasattr(value, "id")
            ):
                register(value)


def known_faults(
    modules: list[str] | tuple[str, ...] = (), *, kinds: Sequence[Kind] = ("defect",)
) -> dict[str, type[Fault]]:
    """Selectable faults by id: the published ones and those of `modules`; others where their kind is asked for."""
    for kind in kinds:
        importlib.import_module(PACKAGES[kind])
    load_fault_modules(modules)
    # Files that this process has loaded for somebody else are no part of the answer.
    own, named = __name__.partition(".lab.")[0], {_module_name(module) for module in modules}
    return {
        id: fault
        for id, fault in _registry.items()
        if fault.kind in kinds and (fault.__module__.startswith(f"{own}.") or fault.__module__ in named)
    }


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One entry of ``LAB_FAULTS``: a fault id and its rate."""

    id: str
    rate: float = 1.0


def parse_faults(text: str) -> list[Selection]:
    """Read ``"W1,X1:0.5"`` into selections; rates are probabilities above 0 and up to 1."""
    selections: list[Selection] = []
    for entry in filter(None, (piece.strip() for piece in text.split(","))):
        name, separator, rate = entry.partition(":")
        try:
            value = float(rate) if separator else 1.0
        except ValueError:
            value = -1.0
        if not name or not 0.0 < value <= 1.0:
            raise FaultProblem(f"fault {entry!r} must read ID or ID:RATE with a rate above 0 and up to 1")
        if any(name == other.id for other in selections):
            raise FaultProblem(f"fault {name} is named twice; name it once")
        selections.append(Selection(id=name, rate=value))
    return selections


def check_selection(text: str, modules: list[str] | tuple[str, ...] = ()) -> list[type[Fault]]:
    """The classes behind a ``LAB_FAULTS`` text, or a FaultProblem that suggests what was meant."""
    selections = parse_faults(text)
    if not selections and not modules:
        return []
    for kind in PACKAGES:
        # A process that investigates one component imports no more than it needs.
        if not modules and all(selection.id in _registry for selection in selections):
            break
        known_faults(modules, kinds=(kind,))
    known = _registry
    for selection in selections:
        if selection.id not in known:
            raise FaultProblem(f"there is no fault {selection.id!r}{_suggest(selection.id, known)}")
    return [known[selection.id] for selection in selections]


def install_faults(parts: Parts, service: str, *, process: str = "") -> list[Fault]:
    """Install the faults that the environment selects for `service`; returns them for their counters."""
    environment = get_env()
    text = environment.get("LAB_FAULTS") or ""
    modules = [path for path in (environment.get("LAB_FAULT_MODULES") or "").split(os.pathsep) if path]
    classes = check_selection(text, modules)
    rates = {selection.id: selection.rate for selection in parse_faults(text)}
    seed = f"{environment.get('LAB_FAULT_SEED') or random.SystemRandom().random()}|{process or service}"
    installed: list[Fault] = []
    for fault_class in classes:
        if fault_class.service != service:
            continue
        fault = fault_class(rate=rates[fault_class.id], seed=seed)
        try:
            fault.install(parts)
        except Exception as error:
            raise FaultProblem(f"fault {fault.id} cannot be installed in {service}: {error}") from error
        installed.append(fault)
    return installed


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    listing = ", ".join(sorted(known)) or "none"
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {listing}"
