"""One line per operation, as a witness shows it: who, in which direction, what, and the part that matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation

#: Columns of a line; with the indentation of a case none is longer than 120.
WIDTH = 112
#: Columns that are left for what was said, however long the rest is.
LEAST = 36
#: Characters of payload that other texts show.
EXCERPT = 160


def line(operation: Operation, secrets: Sequence[str] = ()) -> str:
    """The operation in one line; the excerpt is centred on the first of these secrets that stands in it.

    >>> line(Operation(index=7, time=0, type="ok", action="receive", user="bob", connection="bob/ws-1",
    ...                payload='{"type": "tool_completed", "payload": {"tool_name": "costs"}}'))
    '#7 bob/ws-1 ← tool_completed (costs) {"type": "tool_completed", "payload": {"tool_name": "costs"}}'
    >>> line(Operation(index=8, time=0, type="invoke", action="GET /a/{id}", connection="bob/rest",
    ...                detail={"path": "/a/1", "query": {"all": "yes"}, "attempt": "foreign id"}))
    '#8 bob/rest → GET /a/1?all=yes [foreign id]'
    """
    who = operation.connection or operation.user or "-"
    head = f"#{operation.index} {who} {named(operation)}"
    text = " ".join(operation.payload.split()) or said(operation)
    # Whoever wants to send a request again needs its path and query whole, rather than its body.
    most = WIDTH if not text else WIDTH - (LEAST // 3 if operation.type == "invoke" else LEAST)
    if len(head) > most:
        head = head[: most - 1] + "…"
    return f"{head} {excerpt(text, secrets, width=WIDTH - len(head) - 1)}".rstrip()


def named(operation: Operation) -> str:
    """Direction and name: ``→`` is what the probe sends, ``←`` what the target sends."""
    action, status = operation.action, f"{operation.status} " if operation.status is not None else ""
    detail = operation.detail
    if action == actions.MINT:
        return f"plants a secret in {detail.get('field') or 'a field'}:"
    if action in (actions.RECEIVE, actions.SEND):
        frame = read_frame(operation.payload)
        name = f"{frame.name or 'a frame'} ({frame.tool})" if frame.tool else frame.name or "a frame"
        sent = name if operation.payload else f"frame: {operation.type}"
        return f"{'←' if action == actions.RECEIVE else '→'} {sent}{_trial(detail)}"
    if action == actions.CLOSED:
        return f"closed with {status}by {'the probe' if detail.get('by') == 'probe' else 'the target'}"
    if action in (actions.ROW, actions.KEY):
        place = f"{detail.get('table', '')} {detail.get('key', '')}".strip()
        owners = detail.get("owner") or ", ".join(map(str, detail.get("owners") or ())) or "nobody"
        return f"holds {action} {place} of {owners}:"
    if operation.type == "invoke":
        return f"→ {_request(operation)}{_trial(detail)}"
    if operation.call is not None:
        outcome = {"ok": "", "fail": "refused ", "info": "failed "}[operation.type]
        return f"← {status or outcome}{action}"
    outcome = "" if operation.type == "ok" else f"{operation.type} "
    return f"{outcome}{status}{'owns' if action == actions.OWN else action}"


def _request(operation: Operation) -> str:
    """Method, path and query as they were sent; the route is in the line of the answer."""
    method, _, route = operation.action.partition(" ")
    if not route:
        return operation.action
    query = operation.detail.get("query")
    asked = f"?{urlencode(query, safe='[]:/,@')}" if isinstance(query, dict) and query else ""
    return f"{method} {operation.detail.get('path') or route}{asked}"


def _trial(detail: dict[str, Any]) -> str:
    """What the request tries: the forgery, where it was presented, and what the forged token says."""
    if not detail.get("attempt"):
        return ""
    where = f" at {detail['phase']}" if detail.get("phase") else ""
    claims = f": {detail['token']}" if isinstance(detail.get("token"), str) else ""
    return f" [{detail['attempt']}{where}{claims}]"


def said(operation: Operation) -> str:
    """What an operation without a payload says of itself, in a few words."""
    detail = operation.detail
    if operation.action == actions.ATTEMPT and operation.type != "invoke":
        who = operation.ids.get("user_id")
        return f"taken for {who}" if who else "taken for nobody"
    words: tuple[str, ...] = ("kind", "id", "what", "reason", "name", "value")
    if operation.type != "invoke":
        words = ("token", *words)
    said = [str(detail[word]) for word in words if detail.get(word) not in (None, "")]
    said += [f"{name} {value}" for name, value in operation.ids.items() if operation.action == actions.PRINCIPAL]
    return " ".join(said)


def excerpt(text: str, secrets: Sequence[str] = (), *, width: int = EXCERPT) -> str:
    """The part of a text that a reader needs: around the first of the secrets in it, else around the first canary.

    >>> excerpt("a" * 100 + "SECRET" + "b" * 100, ["SECRET"], width=20)
    '…aaaaaaSECRETbbbbbb…'
    """
    if len(text) <= width:
        return text
    found, long = -1, len("CANARY") + 16
    for secret in secrets:
        if (found := text.find(secret)) >= 0:
            long = len(secret)
            break
    else:
        found = text.find("CANARY")
    room = width - 2
    start = max(0, min(found - (room - long) // 2, len(text) - room)) if found + long > room else 0
    start, room = (start, room) if start else (0, width - 1)
    end = start + room
    if end >= len(text):
        start, end = max(0, len(text) - width + 1), len(text)
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
