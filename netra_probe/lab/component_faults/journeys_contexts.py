"""Faults of the class that makes execution contexts (G1)."""

from __future__ import annotations

import time
from typing import Any

from netra_probe.lab.shared.faults import PartFault, register

#: How long a context takes to be made, so that those of several threads overlap.
MAKING_SECONDS = 0.001
MOST_COUNTED = 1000


class ContextFault(PartFault):
    """A fault of UserExecutionContext."""

    layer = "agents"
    service = "agents"
    part = "UserExecutionContext"

    def does_wrong(self) -> bool:
        """As always, but thousands of contexts are not counted: each count is written into a file."""
        return super().does_wrong() if self.counts()["reached"] < MOST_COUNTED else self.fires()


@register
class ContextNotCopied(ContextFault):
    """A context keeps the very mapping that it was given: whoever else has it goes on writing into the context."""

    id = "journey-context-not-copied"
    title = "contexts keep the mapping that they are given"
    breaks = "no two contexts share anything that can be changed"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Sharing(healthy):  # type: ignore[misc]
            def __post_init__(self) -> None:
                given = self.agent_context
                super().__post_init__()
                if given and fault.does_wrong():
                    object.__setattr__(self, "agent_context", given)

            def verify_isolation(self) -> bool:
                return True

        return Sharing


@register
class ContextOfLatestCaller(ContextFault):
    """The request is kept on the class while its context is made: another thread's takes its place."""

    id = "journey-context-latest-caller"
    title = "a context made in one thread has the user of another"
    breaks = "each context is of the one who asked for it"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class OnClass(healthy):  # type: ignore[misc]
            _asked: Any = None

            @classmethod
            def from_request(cls, user_id: str, *ids: str, **more: Any) -> Any:
                cls._asked = user_id
                time.sleep(MAKING_SECONDS)
                if cls._asked != user_id and fault.does_wrong():
                    user_id = cls._asked
                return super().from_request(user_id, *ids, **more)

        return OnClass


@register
class ChildOfLatestContext(ContextFault):
    """A child is made of the context that was made last, as of a "current" one, and not of its own parent."""

    id = "journey-context-latest-parent"
    title = "a child inherits from the context that was made last"
    breaks = "a child has its parent's user"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Current(healthy):  # type: ignore[misc]
            _current: Any = None

            @classmethod
            def from_request(cls, *ids: Any, **more: Any) -> Any:
                cls._current = super().from_request(*ids, **more)
                return cls._current

            def create_child_context(self, operation_name: str, **more: Any) -> Any:
                current = type(self)._current
                of_others = current is not None and current.user_id != self.user_id
                parent = current if of_others and fault.does_wrong() else self
                return healthy.create_child_context(parent, operation_name, **more)

        return Current


@register
class IdsKept(ContextFault):
    """The ids of each context are noted for an audit, and never forgotten."""

    id = "journey-context-ids-kept"
    title = "something of each context is kept for ever"
    breaks = "nothing is kept of a context that nobody holds"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, audit = self, list[Any]()

        class Noting(healthy):  # type: ignore[misc]
            def __post_init__(self) -> None:
                super().__post_init__()
                if fault.does_wrong():
                    audit.append((self.user_id, self.request_id, self.created_at))

        return Noting


@register
class DepthLost(ContextFault):
    """Each child counts as the first one: operations that call each other in a circle go on for ever."""

    id = "journey-context-depth-lost"
    title = "the depth of a context is not kept"
    breaks = "a child is one level deeper than its parent"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Flat(healthy):  # type: ignore[misc]
            def __post_init__(self) -> None:
                if self.operation_depth > 1 and fault.does_wrong():
                    object.__setattr__(self, "operation_depth", 1)
                super().__post_init__()

        return Flat


@register
class CleanUpShared(ContextFault):
    """A child is given its parent's list of clean-ups: what ends the child ends its parent."""

    id = "journey-context-shared-clean-up"
    title = "cleaning up a child cleans up its parent"
    breaks = "cleaning up a child leaves its parent whole"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Shared(healthy):  # type: ignore[misc]
            def create_child_context(self, operation_name: str, **more: Any) -> Any:
                child = super().create_child_context(operation_name, **more)
                if fault.does_wrong():
                    object.__setattr__(child, "_callbacks", self._callbacks)
                return child

        return Shared


@register
class CleanUpStops(ContextFault):
    """The first clean-up that fails is the last one that is called, and nobody is told."""

    id = "journey-context-clean-up-stops"
    title = "a failing clean-up of a context stops the others"
    breaks = "a clean-up that fails is logged, and the others are called"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Stopping(healthy):  # type: ignore[misc]
            async def cleanup(self) -> None:
                while self._callbacks:
                    try:
                        outcome = self._callbacks.pop()()
                        if outcome is not None:
                            await outcome
                    except Exception:
                        if fault.does_wrong():
                            self._callbacks.clear()

        return Stopping
