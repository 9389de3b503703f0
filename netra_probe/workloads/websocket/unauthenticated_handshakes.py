"""Strangers at the door: handshakes that must be refused, and the one that must not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netra_probe.clients.websocket import Handshake, Opened, Received, Socket
from netra_probe.forgery.tokens import with_other_signature
from netra_probe.history import actions
from netra_probe.history.principals import UNNAMED
from netra_probe.history.secret import Secret
from netra_probe.target.deployment import Mode
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


@workload(Mode.PROBE, "opening sockets without a valid token", withheld=())
async def try_invalid_handshakes(probe: Investigation, *, like: User) -> Sequence[Opened]:
    """Try the door without a token, with nonsense and with a changed signature, each between two good connections.

    Each attempt is judged by *who am I*: the user id in the welcome. The user's own token goes first and last, as the
    positive control: a door that is shut for everybody proves nothing. Five bad tokens in a row may shut out
    everybody on some deployments (netra-wire §1), so there are never more than two between good ones.

    Returns the strangers' results in the order: no token, nonsense, changed signature.
    """
    await like.renew()
    assert like.auth.access is not None
    own = like.auth.access
    await _attempt(probe, like, "own token", own, expect=like.name)
    outcomes = [
        await _attempt(probe, like, "no token", None),
        await _attempt(probe, like, "not a token", Secret("not-a-token")),
    ]
    await _attempt(probe, like, "own token", own, expect=like.name)
    outcomes.append(await _attempt(probe, like, "changed signature", with_other_signature(own)))
    await _attempt(probe, like, "own token", own, expect=like.name)
    return outcomes


async def _attempt(
    probe: Investigation, like: User, name: str, token: Secret | None, *, expect: str = "refused"
) -> Opened:
    control = expect != "refused"
    detail: dict[str, Any] = {"attempt": name, "expect": expect, "control": control}
    connection = f"{like.name if control else 'stranger'}/door"
    user = like.name if control else None
    call = probe.history.invoke(
        actions.ATTEMPT, user=user, connection=connection, surface="websocket", backend=like.backend, detail=detail
    )
    opened = await probe.wire.open(
        Handshake(name=connection, user=user, backend=like.backend_number, token=token, attempt=detail)
    )
    if isinstance(opened, Socket):
        ids = dict(opened.welcome.ids) if opened.welcome else {}
        alive = opened.welcome is not None or isinstance(await opened.fence(), Received)
        if alive:
            # Let in by a welcome that names nobody: the user where that is right, and else somebody.
            ids.setdefault("user_id", like.id if control else UNNAMED)
        probe.history.complete(call, "ok" if alive else "info", ids=ids)
        await opened.close()
    else:
        probe.history.complete(call, "fail", status=getattr(opened, "status", None) or getattr(opened, "code", None))
    return opened
