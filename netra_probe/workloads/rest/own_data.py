"""What is stored of a user, as its owner reads it: messages of a thread, and the rows that agents advise on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.agent import Run
from netra_probe.clients.component_process import Undecided
from netra_probe.clients.replies import Answered, body_of
from netra_probe.clients.rest import BackendClient
from netra_probe.history.runs import REPORT
from netra_probe.history.untrusted import number
from netra_probe.investigation.users import User
from netra_probe.plans.routes import supported_route

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

#: What a list of messages is wrapped in, where it is.
_WRAPPERS = ("messages", "items", "data")
#: Where the rows are, what tools are called by, and the tool that reads the rows.
SPEND, EXECUTE, SUMMARY = "/api/spend", "/api/tools/execute", "spend_summary"
NO_ROWS = Undecided(reason="the target has no spend records that their owner can read and add")
NO_SUMMARY = Undecided(reason=f"no tool {SUMMARY} has shown spend records")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


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


@dataclass(frozen=True, kw_only=True)
class SpendRow:
    """One spend record of a user."""

    id: str
    service: str
    amount: float

    def is_named_in(self, text: str) -> bool:
        """Whether a text quotes both the service and the amount.

        >>> SpendRow(id="1", service="idle-gpus", amount=1200.0).is_named_in("Review idle-gpus: it costs 1,200.00 USD.")
        True
        """
        quoted = {round(float(found.replace(",", "")), 2) for found in _NUMBER.findall(text)}
        return self.service in text and round(self.amount, 2) in quoted


@dataclass(frozen=True, kw_only=True)
class OwnRows:
    """The spend records of one user, largest first; ``missing`` where the target has none."""

    rows: Sequence[SpendRow] = ()
    missing: Undecided | None = None

    def unfounded(self, texts: Sequence[str]) -> list[str] | Undecided:
        """The texts that name none of these rows.

        >>> rows = OwnRows(rows=[SpendRow(id="1", service="idle-gpus", amount=1200.0)])
        >>> rows.unfounded(["Review idle-gpus: it costs 1200.00 USD.", "Review object-storage: it costs 9.00 USD."])
        ['Review object-storage: it costs 9.00 USD.']
        """
        if self.missing is not None:
            return self.missing
        return [text for text in texts if not any(row.is_named_in(text) for row in self.rows)]

    def largest_is_named(self, texts: Sequence[str]) -> bool | Undecided:
        """Whether one of the texts names the row with the largest amount."""
        return self.missing or any(row.is_named_in(text) for row in self.rows[:1] for text in texts)

    def lacking(self, others: OwnRows) -> list[str] | Undecided:
        """The services of those of the others that are not among these.

        >>> rows = OwnRows(rows=[SpendRow(id="1", service="idle-gpus", amount=1200.0)])
        >>> rows.lacking(OwnRows(rows=[SpendRow(id="2", service="idle-gpus", amount=9.0)]))
        ['idle-gpus']
        """
        if undecided := self.missing or others.missing:
            return undecided
        mine = [(row.service, row.amount) for row in self.rows]
        return [row.service for row in others.rows if (row.service, row.amount) not in mine]


async def own_rows(probe: Investigation, user: User) -> OwnRows:
    """Read the user's own spend records.

    >>> rows = await workloads.own_rows(probe, alice)                          # doctest: +SKIP
    >>> rows.unfounded(workloads.recommendations(run))                         # doctest: +SKIP
    []
    """
    if not supported_route(probe, "GET", SPEND):
        return OwnRows(missing=NO_ROWS)
    return _read(body_of(await user.rest.http.request("GET", SPEND)), NO_ROWS)


async def tool_rows(probe: Investigation, user: User) -> OwnRows:
    """The spend records that the user's tool shows, called without an agent."""
    if not supported_route(probe, "POST", EXECUTE):
        return OwnRows(missing=NO_SUMMARY)
    body = {"tool_name": SUMMARY, "parameters": {}}
    return _read(body_of(await user.rest.http.request("POST", EXECUTE, json=body)).get("result"), NO_SUMMARY)


def shown_rows(run: Run) -> OwnRows:
    """The spend records that the tools of a run have shown."""
    shown = [seen.frame.body.get("result") for seen in run.events if seen.frame.name == "tool_completed"]
    return next(
        (rows for result in shown if not (rows := _read(result, NO_SUMMARY)).missing), OwnRows(missing=NO_SUMMARY)
    )


def _read(body: Any, missing: Undecided) -> OwnRows:
    """The records in an answer; none where it has no list of them."""
    listed = body.get("records") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return OwnRows(missing=missing)
    rows = [
        SpendRow(id=str(one.get("id", "")), service=str(one.get("service", "")), amount=amount)
        for one in listed
        if isinstance(one, dict) and (amount := number(one.get("amount_usd"))) is not None
    ]
    return OwnRows(rows=sorted(rows, key=lambda row: (-row.amount, row.service)))


async def add_row(probe: Investigation, user: User, service: str, amount: float) -> str:
    """Keep one spend record, with a fresh secret of the user in its note; its id, "" where the target takes none."""
    if not supported_route(probe, "POST", SPEND):
        return ""
    body = {"service": service, "amount_usd": amount, "note": user.canary("note", "rest")}
    return str(body_of(await user.rest.http.request("POST", SPEND, json=body)).get("id", ""))


def recommendations(run: Run) -> list[str]:
    """What a run recommends: the list in its report where there is one, else its whole answer."""
    for seen in run.events:
        listed = seen.frame.body.get("recommendations")
        if seen.frame.name == REPORT and isinstance(listed, list):
            return [one for one in listed if isinstance(one, str)]
    return [run.answer] if run.answer else []
