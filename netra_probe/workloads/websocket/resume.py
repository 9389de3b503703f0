"""Coming back for the rest of a run, and runs that are begun over REST."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from netra_probe.clients.agent import Run, note_question
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Closed, Refused, Silent, body_of
from netra_probe.clients.websocket import Socket
from netra_probe.history.untrusted import decoded
from netra_probe.plans.tabs import QUESTION, mark_of, tab, until_run_ends
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


def resume_point(socket: Socket, *, by: str = "cursor") -> Mapping[str, str]:
    """What to say in the URL in order to go on where this connection stopped; empty where the target numbers nothing.

    Arguments:
        by: ``cursor``, ``sequence`` or ``nothing``.
    """
    for seen in reversed(socket.received):
        frame = seen.frame
        if by == "cursor" and (cursor := _cursor(frame.text)) is not None:
            return {"resume_cursor": str(cursor)}
        if by == "sequence" and frame.sequence is not None and "run_id" in frame.ids:
            return {"resume_run": frame.ids["run_id"], "resume_seq": str(frame.sequence)}
    return {}


def _cursor(text: str | bytes) -> int | None:
    """The place of a frame in its user's stream, where the target tells it."""
    frame = decoded(text)
    cursor = frame.get("cursor") if isinstance(frame, dict) else None
    return cursor if isinstance(cursor, int) else None


async def come_back(
    probe: Investigation, user: User, run: Run, point: Mapping[str, str], *, backend: int | None
) -> bool:
    """Connect again and wait for the end of a run, unless it had come before."""
    async with tab(user, backend=backend, query=point or None) as socket:
        return await _rest_of(probe, run, socket)


@workload()
async def catch_up(probe: Investigation, user: User, run: Run) -> bool:
    """Connect again, for good, and wait for the end of a run that was cut off; whether it has ended, as far as is told.

    Who asks the next question before that has two runs at once, and where events carry no run id, nobody can say which
    of the two an event belongs to.
    """
    await user.connect()
    return await _rest_of(probe, run, user.socket)


async def _rest_of(probe: Investigation, run: Run, socket: Socket | None) -> bool:
    """Wait for the end of a run, unless it had come before, or nothing of the run was ever seen; whether it came."""
    if run or socket is None or not run.events:
        return bool(run)
    return await until_run_ends(probe, socket, mark_of(run))


#: Routes that start a run whose events come over the caller's sockets.
RUN_ROUTES = ("/api/agents/execute", "/api/agent/execute", "/api/agent/run", "/api/agent/start")


async def ask_over_rest(
    probe: Investigation, user: User, listening: Socket, http: Http, route: str, question: str = QUESTION
) -> Run:
    """Start a run over REST, possibly at another backend, and wait for its end on a socket.

    Recorded as an ``ask`` of the socket's connection: whoever asks is owed an answer, whichever way they asked.
    """
    text = f"{question} [{user.canary('question', 'rest')}]"
    nonce = f"{user.name}-rest-question-{secrets.token_hex(4)}"
    thread = await user.new_thread()
    call = note_question(probe.history, listening, text, nonce=nonce, thread_id=thread, backend=http.backend)
    start, begin = len(listening.received), time.monotonic()
    body = {"request": text, "user_request": text, "message": text, "content": text, "thread_id": thread or None}
    reply = await http.request("POST", route, json=body, nonce=nonce)
    run_id = str(body_of(reply).get("run_id", ""))
    ids = {"thread_id": thread, "run_id": run_id}
    outcome: Answered | Refused | Silent | Closed
    if not run_id:
        done = probe.history.complete(call, "fail", detail={"error": "no run was started"})
        outcome = Refused(status=getattr(reply, "status", 0), operation=done.index)
    elif await until_run_ends(probe, listening, run_id, start=start):
        outcome = Answered(operation=probe.history.complete(call, "ok", ids=ids).index)
        probe.patience.learn(answered=True, seconds=time.monotonic() - begin)
    elif listening.closed is not None:
        probe.history.complete(call, "info", ids=ids, detail={"closed": listening.closed.code})
        outcome = listening.closed
    else:
        within = probe.patience.seconds
        probe.history.complete(call, "info", ids=ids, detail={"silent": within})
        outcome = Silent(seconds=within)
        probe.patience.learn(answered=False, seconds=time.monotonic() - begin)
    events = tuple(seen for seen in listening.received[start:] if seen.frame.run == run_id)
    return Run(user=user.name, outcome=outcome, run_id=run_id, thread_id=thread, events=events)
