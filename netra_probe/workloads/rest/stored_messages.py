"""What is stored of a conversation, as its owner reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netra_probe.clients.replies import Answered
from netra_probe.clients.rest import BackendClient
from netra_probe.investigation.users import User

#: What a list of messages is wrapped in, where it is.
_WRAPPERS = ("messages", "items", "data")


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """One message: who said it (``user`` or ``assistant``), and its text."""

    role: str
    text: str


async def stored_messages(user: User, thread: str, *, at: BackendClient | None = None) -> list[StoredMessage]:
    """The messages of a thread in the order in which the target lists them; none where it refuses.

    ``at`` is a client of another backend than the user's own.

    >>> stored = await workloads.stored_messages(alice, thread)   # doctest: +SKIP
    """
    reply = await (at or user.rest).messages(thread)
    listed: Any = reply.body if isinstance(reply, Answered) else []
    if isinstance(listed, dict):
        listed = next((listed[name] for name in _WRAPPERS if isinstance(listed.get(name), list)), [])
    return [
        StoredMessage(role=str(one.get("role", "")), text=_text(one.get("content")))
        for one in listed
        if isinstance(one, dict)
    ]


def _text(content: Any) -> str:
    """A text, or the values of its parts (netra-wire §7).

    >>> _text([{"type": "text", "text": {"value": "Where"}}, {"type": "text", "text": {"value": "?"}}])
    'Where ?'
    """
    if isinstance(content, list):
        return " ".join(_text(part) for part in content)
    if isinstance(content, dict):
        return _text(content.get("text", content.get("value", "")))
    return content if isinstance(content, str) else ""
