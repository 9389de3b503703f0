"""Which client message starts a run on a target: found out once, before the first case, where nobody has said it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.clients.agent import Patience, ask
from netra_probe.clients.websocket import Received, Socket
from netra_probe.target import Mode

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation

#: Client messages that start a run somewhere (netra-wire §5), the usual one first and the steadiest one next.
GENERATORS = ("user_message", "agent_request", "start_agent", "chat")
#: Seconds until a run must have shown its first event: starting one is quick, however long it takes.
FIRST_EVENT = 4.0
#: A question like no other, so that no answer to it is kept for one that matters.
GREETING = "Hello, which of your tools can I use?"


async def find_generator(probe: Investigation) -> str:
    """The first message whose run comes to its end; the usual one where none does, or no socket lives."""
    told = probe.target.generator
    if told is not None or probe.target.mode is Mode.OBSERVE or not probe.users:
        return told or GENERATORS[0]
    user = probe.users[0]
    opened = await probe.wire.socket(
        name=f"{user.name}/warm-up", user=user.name, backend=user.backend_number, token=user.auth.access
    )
    if not isinstance(opened, Socket):
        return GENERATORS[0]
    try:
        if not isinstance(await opened.fence(), Received):
            return GENERATORS[0]  # a dead socket answers to nothing
        for kind in GENERATORS:
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
        return GENERATORS[0]
    finally:
        await opened.close()
