"""Handshakes from elsewhere, without a token, with one in the address; and messages of exactly the announced size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from netra_probe.checkers.hygiene.marks import (
    AFTER_SIZES,
    BAD_TOKEN,
    FOREIGN_ORIGIN,
    FULL_SIZE,
    MARK,
    NO_TOKEN,
    OVERSIZED,
    OWN_HANDSHAKE,
    QUERY_TOKEN,
)
from netra_probe.clients.websocket import Handshake, Opened, Received, Socket
from netra_probe.forgery.tokens import subprotocols
from netra_probe.history.secret import Secret
from netra_probe.target.deployment import Mode
from netra_probe.workloads.hygiene.sessions import ELSEWHERE
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: What the platform announces where a welcome says nothing of it (netra-wire §4) is not tried: nothing was promised.
LARGEST_TRIED = 1_000_000


@workload(Mode.PROBE, "trying handshakes")
async def try_handshakes(probe: Investigation, user: User) -> Outcome:
    """Open sockets as other pages, nobody, and old clients do; the user's own handshake goes first and last.

    >>> await try_handshakes(probe, alice)   # doctest: +SKIP
    <try_handshakes of alice: tried 6, opened 1, own sockets 2>

    Two bad handshakes between good ones are far from what trips a breaker (netra-wire §1).
    """
    token = user.auth.access
    if not await _own(probe, user):
        return Outcome(act="try_handshakes", users=(user.name,), missing="a socket of the user's own that answers")
    results = []
    for origin in (ELSEWHERE, "null"):
        mark = {MARK: FOREIGN_ORIGIN, "origin": origin}
        results.append(await _opens(probe, user, token=token, origin=origin, attempt=mark))
    spoken = subprotocols(token) if token else ()
    mark = {MARK: FOREIGN_ORIGIN, "origin": ELSEWHERE}
    results.append(await _opens(probe, user, token=token, origin=ELSEWHERE, subprotocols=spoken, attempt=mark))
    query = {"token": token.reveal() if token else ""}
    results.append(await _opens(probe, user, query=query, attempt={MARK: QUERY_TOKEN}))
    results.append(await _opens(probe, None, backend=user.backend_number, attempt={MARK: NO_TOKEN}))
    tampered = Secret(f"{token.reveal()[:-6]}AAAAAA") if token else None
    results.append(await _opens(probe, user, token=tampered, attempt={MARK: BAD_TOKEN}))
    counts = {"tried": len(results), "opened": sum(results), "own sockets": 1 + await _own(probe, user)}
    return Outcome(act="try_handshakes", users=(user.name,), counts=counts)


@workload(Mode.PROBE, "sending messages over the announced size")
async def try_sizes(probe: Investigation, user: User) -> Outcome:
    """Send a message of almost the size that the welcome announces, then one beyond it, then a heartbeat.

    >>> await try_sizes(probe, alice)   # doctest: +SKIP
    <try_sizes of alice: announced bytes 8192>
    """
    opened = await _open(probe, user, token=user.auth.access)
    if not isinstance(opened, Socket):
        return Outcome(act="try_sizes", users=(user.name,), missing="a handshake that lets the user in")
    try:
        config = opened.welcome.body.get("config") if opened.welcome is not None else None
        limit = config.get("max_message_size") if isinstance(config, dict) else None
        if not isinstance(limit, int) or not 100 < limit <= LARGEST_TRIED:
            return Outcome(act="try_sizes", users=(user.name,), missing="an announced message size that can be tried")
        await _send_and_wait(opened, _ping(limit - 1), FULL_SIZE, ("pong", "error"))
        if opened.closed is None:
            await opened.send_text(_ping(limit + 1), attempt={MARK: OVERSIZED})
            heartbeat = json.dumps({"type": "heartbeat"})
            await _send_and_wait(opened, heartbeat, AFTER_SIZES, ("heartbeat_ack", "ack"))
    finally:
        await opened.close()
    return Outcome(act="try_sizes", users=(user.name,), counts={"announced bytes": limit})


def _ping(size: int) -> str:
    """A ping of exactly so many bytes."""
    bare = json.dumps({"type": "ping", "padding": ""})
    return json.dumps({"type": "ping", "padding": "x" * (size - len(bare))})


async def _send_and_wait(socket: Socket, text: str, trial: str, answers: tuple[str, ...]) -> None:
    start = len(socket.received)
    await socket.send_text(text, attempt={MARK: trial})
    await socket.until(lambda frame: frame.name in answers, within=socket.timeouts.pong, start=start)


async def _own(probe: Investigation, user: User) -> bool:
    """The user's own handshake, and whether the socket lives: the control of all others."""
    opened = await _open(probe, user, token=user.auth.access, attempt={MARK: OWN_HANDSHAKE})
    if not isinstance(opened, Socket):
        return False
    try:
        return isinstance(await opened.fence(), Received)
    finally:
        await opened.close()


async def _opens(probe: Investigation, user: User | None, **how: Any) -> bool:
    """Whether a handshake is let in; a socket that stays open without a welcome is sent a ping."""
    opened = await _open(probe, user, **how)
    if not isinstance(opened, Socket):
        return False
    try:
        if opened.welcome is not None:
            return True
        start = len(opened.received)
        await opened.send({"type": "ping"})
        await opened.until(lambda frame: frame.name == "pong", within=opened.timeouts.pong, start=start)
        return opened.closed is None
    finally:
        await opened.close()


async def _open(probe: Investigation, user: User | None, *, backend: int = 0, **how: Any) -> Opened:
    return await probe.wire.open(
        Handshake(
            name=user.connection_name() if user is not None else "nobody/ws",
            user=user.name if user is not None else None,
            backend=user.backend_number if user is not None else backend,
            **how,
        )
    )
