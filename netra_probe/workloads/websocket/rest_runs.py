"""Asking by other ways than one's own socket."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from netra_probe.clients.agent import Run
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Closed, Refused, Silent
from netra_probe.clients.websocket import Socket
from netra_probe.history import actions
from netra_probe.plans.tabs import QUESTION, until_run_ends

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

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
    call = probe.history.invoke(
        actions.ASK,
        user=user.name,
        connection=listening.name,
        backend=http.backend,
        surface="websocket",
        nonce=nonce,
        payload=text,
        ids={"thread_id": thread} if thread else {},
    )
    start, begin = len(listening.received), time.monotonic()
    body = {"request": text, "user_request": text, "message": text, "content": text, "thread_id": thread or None}
    reply = await http.request("POST", route, json=body, nonce=nonce)
    run_id = str(reply.body.get("run_id", "")) if isinstance(reply, Answered) and isinstance(reply.body, dict) else ""
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
