"""What clients use around a handshake and a stream: tokens that expire soon, and what a refusal or an end said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Closed
from netra_probe.clients.websocket import Opened
from netra_probe.history import actions
from netra_probe.history.frames import Frame, frame_of, read_frame
from netra_probe.investigation.survey import survey
from netra_probe.workloads.auth.attempts import ShortToken, short_token

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: What somebody can do about a refused token or a failed run.
_REMEDY = re.compile(
    r"refresh|sign in|log in|login|retry|\b(?:ask|connect|send|start|try)\b[^.;]*\bagain\b", re.IGNORECASE
)


async def short_lived(probe: Investigation, user: User, *, seconds: int) -> ShortToken | None:
    """A token of a user's that expires soon; ``None`` where no service may order one, which the case then says."""
    short = await short_token(probe, await survey(probe), user, seconds=seconds)
    if short is None:
        probe.notes.withhold("a token that expires soon: the target's parameters hold no service credentials")
    return short


def error_event(probe: Investigation, ended: Opened | Closed | None) -> Frame | None:
    """The last error event on a connection that was refused or closed; ``None`` where it came to no such end."""
    if not isinstance(ended, Closed):
        return None
    connection = probe.history[ended.operation].connection
    frames = (
        frame_of(operation)
        for operation in probe.recorded()
        if operation.action == actions.RECEIVE and operation.connection == connection
    )
    return next((frame for frame in reversed(list(frames)) if frame.name == "error"), None)


def stream_error(reply: Any) -> Frame | None:
    """The error event that a stream of server-sent events ended with; ``None`` where it ended otherwise, or broke off.

    >>> from types import SimpleNamespace
    >>> text = 'event: agent_thinking\\ndata: {}\\n\\nevent: error\\ndata: {"error_message": "Sign in again."}\\n\\n'
    >>> names_remedy(stream_error(SimpleNamespace(body=text)))
    True
    """
    text = getattr(reply, "body", None)
    lines = str(text).rstrip().rpartition("\n\n")[2].splitlines() if isinstance(text, str) else []
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    return read_frame(fields.get("data", "")) if "error" in fields.get("event", "") else None


def names_remedy(error: Frame | None) -> bool:
    """Whether an error event says what its reader can do.

    >>> from types import SimpleNamespace
    >>> [names_remedy(SimpleNamespace(body={"error_message": text})) for text in ("Send it again.", "It failed again.")]
    [True, False]
    """
    return error is not None and _REMEDY.search(str(error.body.get("error_message", ""))) is not None
