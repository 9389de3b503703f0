"""UserExecutionContext: whose request this is, and which thread and run it belongs to; immutable.

    context = UserExecutionContext.from_request(user_id, thread_id, run_id)
    step = context.create_child_context("tool:spend_summary")     # same user, thread and run; one level deeper
    step.verify_isolation()

Every component that acts for a user is handed one of these instead of looking the user up somewhere, so there is
no "current user" that two requests could fight over.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Self

log = logging.getLogger(__name__)

_run_numbers = itertools.count(1)


def new_thread_id() -> str:
    """``thread_<32 hex digits>``."""
    return f"thread_{uuid.uuid4().hex}"


def new_message_id() -> str:
    """``msg_<32 hex digits>``."""
    return f"msg_{uuid.uuid4().hex}"


def new_record_id(kind: str) -> str:
    """``<kind>_<32 hex digits>``, for rows that clients seldom see."""
    return f"{kind}_{uuid.uuid4().hex}"


def new_run_id(thread_id: str) -> str:
    """``run_<thread>_<n>_<hex8>``; always minted by the server, since ids chosen by clients collide."""
    return f"run_{thread_id}_{next(_run_numbers)}_{secrets.token_hex(4)}"


def new_connection_id(user_id: str) -> str:
    """``ws_<first 8 of the user id>_<milliseconds>_<hex8>``."""
    return f"ws_{user_id[:8]}_{int(time.time() * 1000)}_{secrets.token_hex(4)}"


def new_request_id() -> str:
    """``req_<32 hex digits>``."""
    return f"req_{uuid.uuid4().hex}"


MAX_DEPTH = 10
"""Deeper nesting means that agents call each other in a circle."""

_PLACEHOLDERS = (
    "registry", "placeholder", "default", "temp", "temporary", "none", "null", "nil", "undefined", "unknown",
    "anonymous", "example", "sample", "dummy", "todo", "string", "user_id", "thread_id", "run_id",
)  # fmt: skip
_PLACEHOLDER = re.compile(rf"(?:{'|'.join(_PLACEHOLDERS)})(?:[_\-:. ]?\d*)?", re.IGNORECASE)


class InvalidContextError(ValueError):
    """An id is empty, of the wrong type, or a placeholder that would lump users together."""


class ContextIsolationError(RuntimeError):
    """A context shares something mutable, or a database session of another user."""


def _checked_id(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidContextError(f"{name} must be a string, not {type(value).__name__}: pass the id from the token")
    if not value.strip() or value != value.strip():
        raise InvalidContextError(f"{name} is empty or padded with blanks: pass the id exactly as it was issued")
    if _PLACEHOLDER.fullmatch(value):
        raise InvalidContextError(f"{name} is the placeholder {value!r}: every request needs its own real id")
    return value


def _frozen(value: Any) -> Any:
    """A deep copy in which nothing can be changed, so two contexts can never share a mutable object."""
    if isinstance(value, Mapping):
        return MappingProxyType({str(key): _frozen(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return frozenset(_frozen(item) for item in value)
    return value


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    if isinstance(value, (tuple, frozenset)):
        items = [_thawed(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, frozenset) else items
    return value


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class UserExecutionContext:
    """The identity and ids of one request; children inherit the identity and know their parent.

    - **Isolation.** Every context is new and has the ids that it was asked for. What it is given is copied, and nothing
      in it can be changed; no two contexts share anything that can. An id that stands for nobody is refused.
    - **Concurrency.** Contexts may be made in any thread or task; each is of the one who asked for it.
    - **Children.** A child has its parent's user, thread, run and session, and a request id of its own; it is one level
      deeper and names its parent. What is added to it is added to nobody else. Ten levels are the most.
    - **Clean-up.** ``cleanup`` calls what ``add_cleanup_callback`` was given for this context, the last one first and
      each once; one that fails is logged, and the others are called. Parents, children and siblings stay whole.
    - **Memory.** Nothing is kept of a context that nobody holds.
    """

    user_id: str
    thread_id: str
    run_id: str
    request_id: str = field(default_factory=new_request_id)
    db_session: Any = field(default=None, repr=False, compare=False)
    websocket_client_id: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    agent_context: Mapping[str, Any] = field(default_factory=_empty, repr=False)
    audit_metadata: Mapping[str, Any] = field(default_factory=_empty, repr=False)
    operation_depth: int = 0
    parent_request_id: str | None = None
    _callbacks: list[Callable[[], Any]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("user_id", "thread_id", "run_id", "request_id"):
            _checked_id(name, getattr(self, name))
        if self.websocket_client_id is not None:
            _checked_id("websocket_client_id", self.websocket_client_id)
        if not 0 <= self.operation_depth <= MAX_DEPTH:
            raise InvalidContextError(
                f"operation_depth {self.operation_depth} is outside 0…{MAX_DEPTH}: do operations call each other "
                "in a circle?"
            )
        object.__setattr__(self, "agent_context", _frozen(self.agent_context))
        object.__setattr__(self, "audit_metadata", _frozen(self.audit_metadata))

    def __hash__(self) -> int:
        return hash((self.user_id, self.thread_id, self.run_id, self.request_id))

    @classmethod
    def from_request(
        cls,
        user_id: str,
        thread_id: str,
        run_id: str,
        *,
        request_id: str | None = None,
        db_session: Any = None,
        websocket_client_id: str | None = None,
        agent_context: Mapping[str, Any] | None = None,
        audit_metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """The root context of one request.

        Raises:
            InvalidContextError: an id is empty or a placeholder.
        """
        return cls(
            user_id=user_id,
            thread_id=thread_id,
            run_id=run_id,
            request_id=request_id if request_id is not None else new_request_id(),
            db_session=db_session,
            websocket_client_id=websocket_client_id,
            agent_context=agent_context or {},
            audit_metadata=audit_metadata or {},
        )

    def create_child_context(
        self,
        operation_name: str,
        *,
        additional_agent_context: Mapping[str, Any] | None = None,
        additional_audit_metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """A context for one step of this request: same user, thread and run, own request id, one level deeper."""
        if not operation_name.strip():
            raise InvalidContextError("operation_name is empty: name the step, so that audits can be read")
        return type(self)(
            user_id=self.user_id,
            thread_id=self.thread_id,
            run_id=self.run_id,
            db_session=self.db_session,
            websocket_client_id=self.websocket_client_id,
            agent_context={**self.agent_context, **(additional_agent_context or {})},
            audit_metadata={
                **self.audit_metadata,
                **(additional_audit_metadata or {}),
                "operation_name": operation_name,
                "parent_operation_depth": self.operation_depth,
            },
            operation_depth=self.operation_depth + 1,
            parent_request_id=self.request_id,
        )

    def add_cleanup_callback(self, callback: Callable[[], Any]) -> None:
        """Have something called, and awaited where it can be, when this context is cleaned up."""
        self._callbacks.append(callback)

    async def cleanup(self) -> None:
        """Give back what this request holds; nothing is left to do for a second call."""
        while self._callbacks:
            try:
                outcome = self._callbacks.pop()()
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception:
                log.exception("a clean-up of request %s failed; the others go on", self.request_id)

    def verify_isolation(self) -> bool:
        """True when nothing in this context can be changed by, or belongs to, another request.

        Raises:
            ContextIsolationError: a mutable object is reachable, or the session is bound to another user.
        """
        for name in ("agent_context", "audit_metadata"):
            _refuse_mutable(getattr(self, name), path=name)
        bound_to = getattr(self.db_session, "user_id", None)
        if bound_to is not None and bound_to != self.user_id:
            raise ContextIsolationError("db_session is bound to another user: open one with get_session(user_id)")
        return True

    def to_dict(self) -> dict[str, Any]:
        """Plain values only; the database session is named by its presence, never exposed."""
        return {
            "user_id": self.user_id,
            "thread_id": self.thread_id,
            "run_id": self.run_id,
            "request_id": self.request_id,
            "websocket_client_id": self.websocket_client_id,
            "created_at": self.created_at.isoformat(),
            "agent_context": _thawed(self.agent_context),
            "audit_metadata": _thawed(self.audit_metadata),
            "operation_depth": self.operation_depth,
            "parent_request_id": self.parent_request_id,
            "has_db_session": self.db_session is not None,
        }


def _refuse_mutable(value: Any, *, path: str) -> None:
    if isinstance(value, MappingProxyType):
        for key, item in value.items():
            _refuse_mutable(item, path=f"{path}.{key}")
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            _refuse_mutable(item, path=f"{path}[]")
    elif not isinstance(value, (str, bytes, int, float, bool, datetime, type(None))):
        raise ContextIsolationError(f"{path} holds a {type(value).__name__}, which another request could change")
