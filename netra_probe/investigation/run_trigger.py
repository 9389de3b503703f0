"""Which client message starts a run on a target: found out once, before the first case, where nobody has said it."""

from __future__ import annotations

from collections.abc import Sequence

from netra_probe.clients.agent import Patience, ask
from netra_probe.clients.websocket import Handshake, Received, Socket
from netra_probe.investigation.context import InvestigationContext
from netra_probe.investigation.users import User
from netra_probe.target.deployment import Mode

#: Client messages that start a run somewhere (netra-wire §5), the usual one first and the steadiest one next.
RUN_TRIGGERS = ("user_message", "agent_request", "start_agent", "chat")
#: Seconds until a run must have shown its first event: starting one is quick, however long it takes.
FIRST_EVENT = 4.0
#: A question like no other, so that no answer to it is kept for one that matters.
GREETING = "Hello, which of your tools can I use?"


async def find_run_trigger(probe: InvestigationContext, users: Sequence[User]) -> str:
    """The first message whose run comes to its end; the usual one where none does, or no socket lives."""
    told = probe.target.generator
    if told is not None or probe.target.mode is Mode.OBSERVE or not users:
        return told or RUN_TRIGGERS[0]
    user = users[0]
    opened = await probe.wire.open(
        Handshake(name=f"{user.name}/warm-up", user=user.name, backend=user.backend_number, token=user.auth.access)
    )
    if not isinstance(opened, Socket):
        return RUN_TRIGGERS[0]
    try:
        if not isinstance(await opened.fence(), Received):
            return RUN_TRIGGERS[0]  # a dead socket answers to nothing
        for kind in RUN_TRIGGERS:
            run = await ask(
                probe.history,
                opened,
                GREETING,
                nonce=f"{user.name}-warm-up-{kind}",
                kind=kind,
                patience=Patience(min(FIRST_EVENT, probe.timeouts.run)),
            )
            if run.events and not run:
                # It has begun and is not over: that is the one, and its events shall not meet the first case.
                await opened.until(lambda frame: frame.name == "agent_completed", within=probe.timeouts.run)
            if run.events:
                return kind
        return RUN_TRIGGERS[0]
    finally:
        await opened.close()
