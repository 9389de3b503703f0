"""Asking an agent over a socket and following its run to the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netra_probe.clients.replies import Answered, Closed, Refused, Silent
from netra_probe.clients.websocket import Received, Socket
from netra_probe.history import actions
from netra_probe.history.operation import Operation
from netra_probe.history.runs import COMPLETED, TERMINAL, Following
from netra_probe.history.store import Recorder


@dataclass(frozen=True, kw_only=True)
class Run:
    """One question and what came of it.

    Arguments:
        user: alias of who asked.
        outcome: ``Answered`` when its terminal event came; ``Refused``, ``Silent`` or ``Closed`` otherwise.
        run_id, thread_id: as the target named them ("" when it did not).
        events: the run's events, in order of arrival.
    """

    user: str
    outcome: Answered | Refused | Silent | Closed
    run_id: str
    thread_id: str
    events: tuple[Received, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The event names in order."""
        return tuple(seen.frame.name for seen in self.events)

    @property
    def answer(self) -> str:
        """The text of the final answer, or "" without one."""
        for seen in reversed(self.events):
            for field in ("final_response", "content", "result", "report", "message"):
                value = seen.frame.body.get(field)
                if isinstance(value, str) and value and seen.frame.name in TERMINAL:
                    return value
        return ""

    def __bool__(self) -> bool:
        return bool(self.outcome)

    def __repr__(self) -> str:
        last = self.names[-1] if self.names else str(self.outcome)
        return f"<Run of {self.user}: {len(self.events)} events, {last}>"


class Patience:
    """How long to wait for the end of a run: the whole deadline, until one run has stayed silent that long.

    From then on silence is no news, and a run is given up after several times what the longest answered one took: a
    target that loses runs is examined in seconds and not in hours. A target that answers never gets to feel this.
    """

    #: A run is given up after this many times the longest answered one, and never before ``LEAST`` seconds.
    FACTOR = 6.0
    LEAST = 1.5

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._longest = 0.0
        self._was_silent = False

    @property
    def seconds(self) -> float:
        if not self._was_silent or not self._longest:
            return self._deadline
        return min(self._deadline, max(self.LEAST, self.FACTOR * self._longest))

    @property
    def is_hopeless(self) -> bool:
        """Whether a run stayed silent for the whole deadline, and none was ever answered."""
        return self._was_silent and not self._longest

    def learn(self, *, answered: bool, seconds: float) -> None:
        """Take in how a run ended, and after how long."""
        if answered:
            self._longest = max(self._longest, seconds)
        else:
            self._was_silent = True


def note_question(
    history: Recorder, socket: Socket, text: str, *, nonce: str, thread_id: str, backend: str | None
) -> Operation:
    """Note that a question is asked, by the owner of the socket on which its answer is awaited."""
    return history.invoke(
        actions.ASK,
        user=socket.user,
        connection=socket.name,
        backend=backend,
        surface="websocket",
        nonce=nonce,
        payload=text,
        ids={"thread_id": thread_id} if thread_id else {},
    )


async def ask(
    history: Recorder,
    socket: Socket,
    text: str,
    *,
    nonce: str,
    thread_id: str = "",
    kind: str = "user_message",
    expect_report: bool = True,
    patience: Patience | None = None,
    claims: Mapping[str, Any] | None = None,
    attempt: Mapping[str, Any] | None = None,
    beside: deque[Following] | None = None,
) -> Run:
    """Send a question and wait for the end of its run.

    Arguments:
        kind: the client message that starts a run on this target.
        patience: how long to wait for the end; the ``run`` time-out of the socket when left out.
        expect_report: whether a ``final_report`` is waited for after ``agent_completed`` (for the grace time).
        claims: what the message says besides, in the root and in the payload, whether it is true or not.
        attempt: marks a question that must not reach what it claims.
        beside: the user's last questions; this one becomes one of them.

    The question goes out in every spelling that some version reads (netra-wire §5). Never raises for what the target
    does.
    """
    timeouts = socket.timeouts
    call = note_question(history, socket, text, nonce=nonce, thread_id=thread_id, backend=socket.backend)
    payload: dict[str, Any] = {"content": text, "message": text, "user_request": text, "turn_id": nonce}
    message: dict[str, Any] = {"type": kind, "payload": payload, "message_id": nonce}
    if thread_id:
        payload["thread_id"] = message["thread_id"] = thread_id
    for place in (payload, message):
        place.update(claims or {})
    following = Following(thread_id=thread_id, turn_id=nonce, beside=beside if beside is not None else ())
    if beside is not None:
        beside.append(following)
    patience = patience or Patience(timeouts.run)
    within, begin = patience.seconds, time.monotonic()
    start = socket.position
    await socket.send(message, attempt=attempt)
    try:
        end = await socket.until(
            lambda frame: following.ends(frame) or following.refuses(frame), within=within, start=start
        )
        if not isinstance(end, Closed):
            patience.learn(answered=isinstance(end, Received), seconds=time.monotonic() - begin)
        if isinstance(end, Received) and end.frame.name == COMPLETED and expect_report:
            position = socket.received.index(end) + 1
            await socket.until(following.reports, within=timeouts.grace, start=position)
    finally:
        following.over = True
    events = [seen for seen in socket.received[start:] if following.mine(seen.frame)]
    ids = {"run_id": following.run_id, "thread_id": thread_id or _thread_of(events)}
    ids = {name: value for name, value in ids.items() if value}
    outcome: Answered | Refused | Silent | Closed
    if isinstance(end, Received) and end.frame.name == "error":
        error = str(end.frame.body.get("error_code") or end.frame.body.get("code") or "error")
        done = history.complete(call, "fail", ids=ids, detail={"error": error})
        outcome = Refused(status=0, error=error, operation=done.index)
    elif isinstance(end, Received):
        done = history.complete(call, "ok", ids=ids, detail={"terminal": end.frame.name, "events": len(events)})
        outcome = Answered(operation=done.index)
    else:
        what = {"silent": within} if isinstance(end, Silent) else {"closed": end.code}
        history.complete(call, "info", ids=ids, detail=what)
        outcome = end
    return Run(
        user=socket.user or "", outcome=outcome, run_id=ids.get("run_id", ""), thread_id=ids.get("thread_id", ""),
        events=tuple(events),
    )  # fmt: skip


def _thread_of(events: list[Received]) -> str:
    return next((seen.frame.ids["thread_id"] for seen in events if "thread_id" in seen.frame.ids), "")
