"""A class of the platform in this process: imported by path, called with a record of each call.

    contexts = probe.component("UserExecutionContext")
    contexts.differences                                    # what is not as netra-wire §10 says; a value
    made = await contexts.call("from_request", user_id="u1", thread_id="t1", run_id="r1")
    await contexts.call("verify_isolation", on=made.value)

A checkout of the platform on ``PYTHONPATH`` and ``target.components: {UserExecutionContext: "package.module:Class"}``
put the real class here; otherwise it is the lab's of the same name. Nothing that the class does, or lacks, is an
exception: what came of a call is ``Returned``, ``Raised`` or ``Absent``, and only ``Returned`` is true.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from netra_probe.catalogue.components import COMPONENTS
from netra_probe.clients.component_signature import Difference, accepts, compare, imported, said, shown, signature_of
from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.history.frames import ID_FIELDS
from netra_probe.history.operation import Operation
from netra_probe.history.store import Recorder

__all__ = ["COMPONENTS", "Absent", "CallResult", "Component", "Difference", "Raised", "Returned"]

SURFACE = "component"
#: Parts of a value that are looked into before it is only named by its type.
DEEPEST, WIDEST = 4, 50


@dataclass(frozen=True, kw_only=True)
class Returned:
    """The call came back; ``value`` is what with."""

    value: Any = field(default=None, repr=False)
    operation: int = field(default=-1, repr=False, compare=False)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"Returned({type(self.value).__name__})"


@dataclass(frozen=True, kw_only=True)
class Raised:
    """The call raised an exception of this kind (a ``TimeoutError`` of ours where it took too long)."""

    kind: str
    message: str = field(default="", repr=False)
    operation: int = field(default=-1, repr=False, compare=False)

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Absent:
    """There is nothing to call, or it does not take these arguments; ``reason`` says which."""

    reason: str
    operation: int = field(default=-1, repr=False, compare=False)

    def __bool__(self) -> bool:
        return False


CallResult: TypeAlias = Returned | Raised | Absent


class Component:
    """One class of the platform, imported by path; made by ``probe.component(name)``.

    Arguments of note: ``path`` is where it comes from; ``type`` is the class, ``None`` where it cannot be imported;
    ``differences`` says what is not as netra-wire §10 has it. True when the class is there.
    """

    def __init__(self, history: Recorder, name: str, *, path: str | None = None, patience: float = 10.0) -> None:
        if name not in COMPONENTS:
            raise ParameterError(f'unknown component "{name}"; {did_you_mean(name, COMPONENTS)}')
        contract = COMPONENTS[name]
        self.name = name
        self.path = path or contract.path
        self.history = history
        self.patience = patience
        found = imported(self.path)
        self.type: type[Any] | None = found if isinstance(found, type) else None
        if isinstance(found, str):
            text = f"cannot be imported from {self.path}: {found}"
            self.differences: tuple[Difference, ...] = (Difference(component=name, call="", kind="import", text=text),)
        else:
            self.differences = tuple(compare(name, found, contract.calls))
        for difference in self.differences:
            history.observe(
                "difference",
                surface=SURFACE,
                detail={"component": name, "call": difference.call, "kind": difference.kind, "text": difference.text},
            )

    def __bool__(self) -> bool:
        return self.type is not None

    def construct(self, /, *arguments: Any, by: str | None = None, **named: Any) -> CallResult:
        """Make one: ``Returned`` holds the instance.

        Arguments:
            by: alias of the user for whom this is done, for the history.
        """
        return self._call(self.type, "__init__", arguments, named, by)[1]

    async def call(
        self, method: str, /, *arguments: Any, on: object = None, by: str | None = None, **named: Any
    ) -> CallResult:
        """Call a method and, where it is asynchronous, await it for at most ``patience`` seconds.

        Arguments:
            on: the instance; left out for what is called on the class.
            by: alias of the user for whom this is done, for the history.
        """
        call, called = self._call(self._member(method, on), method, arguments, named, by, awaited=True)
        if not isinstance(called, Returned) or not inspect.isawaitable(called.value):
            return called
        try:
            async with asyncio.timeout(self.patience):
                value = await called.value
        except asyncio.CancelledError:
            self.history.complete(call, "info", detail={"reason": "cancelled"})
            raise
        except Exception as error:
            return self._raised(call, error)
        return self._returned(call, value)

    def call_now(
        self, method: str, /, *arguments: Any, on: object = None, by: str | None = None, **named: Any
    ) -> CallResult:
        """The same without awaiting, for threads; what an asynchronous method returns is then its coroutine."""
        return self._call(self._member(method, on), method, arguments, named, by)[1]

    def takes(self, method: str, *names: str) -> bool:
        """Whether a method is there and takes arguments of these names; ``__init__`` for making one."""
        member = self.type if method == "__init__" else self._member(method, None)
        return member is not None and all(accepts(signature_of(member), name) for name in names)

    def _member(self, method: str, on: object) -> Callable[..., Any] | None:
        place = on if on is not None else self.type
        try:
            member = getattr(place, method, None)
        except Exception:  # a property of a stranger's class may do anything
            return None
        return member if callable(member) else None

    def _call(
        self,
        member: Callable[..., Any] | None,
        method: str,
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
        by: str | None,
        *,
        awaited: bool = False,
    ) -> tuple[Operation, CallResult]:
        """Make a call; one that has to be awaited and will be is left without its completion."""
        call = self.history.invoke(
            f"{self.name}.{method}",
            user=by,
            connection=f"{by or 'probe'}/{SURFACE}",
            surface=SURFACE,
            payload=_text({"arguments": arguments, **named}),
        )
        if member is None:
            reason = f"{self.name} has no {method}" if self.type is not None else str(self.differences[0])
            return call, self._absent(call, reason)
        signature = signature_of(member)
        if signature is not None:
            try:
                signature.bind(*arguments, **named)
            except TypeError as error:
                return call, self._absent(call, f"{self.name}.{method} takes {shown(signature)}: {error}")
        try:
            value = member(*arguments, **named)
        except (Exception, SystemExit) as error:
            return call, self._raised(call, error)
        if awaited and inspect.isawaitable(value):
            return call, Returned(value=value)
        return call, self._returned(call, value)

    def _returned(self, call: Operation, value: Any) -> Returned:
        data = _plain(value)
        ids = {}
        if isinstance(data, dict):
            ids = {name: data[name] for name in ID_FIELDS if isinstance(data.get(name), str)}
        done = self.history.complete(call, "ok", payload=_text(data), ids=ids)
        return Returned(value=value, operation=done.index)

    def _raised(self, call: Operation, error: BaseException) -> Raised:
        kind = type(error).__name__
        outcome: Any = "info" if isinstance(error, TimeoutError) else "fail"
        done = self.history.complete(call, outcome, payload=said(error), detail={"raised": kind})
        return Raised(kind=kind, message=self.history.redactor.clean(said(error)), operation=done.index)

    def _absent(self, call: Operation, reason: str) -> Absent:
        done = self.history.complete(call, "fail", detail={"absent": reason})
        return Absent(reason=reason, operation=done.index)

    def __repr__(self) -> str:
        return f"<Component {self.name} from {self.path}: {len(self.differences)} difference(s)>"


# Showing values


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as data: what it holds, or only its type, and never an address."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if depth >= DEEPEST:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        items = list(value.items())[:WIDEST]
        return {str(key): _plain(inner, depth + 1) for key, inner in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, depth + 1) for inner in list(value)[:WIDEST]]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [entry for entry in dataclasses.fields(value) if entry.repr and not entry.name.startswith("_")]
        return {entry.name: _plain(getattr(value, entry.name, None), depth + 1) for entry in fields}
    return f"<{type(value).__name__}>"


def _text(value: Any) -> str:
    try:
        return msgspec.json.encode(_plain(value)).decode()
    except Exception:  # whatever a stranger's mapping does when it is looked at
        return f"<{type(value).__name__}>"
