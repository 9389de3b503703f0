"""Sessions that come and go: what a login holds is let go when it ends, cycle after cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe.investigation.survey import Survey, survey
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.credential_end import GRACE, Held, afterwards, ask_for_life, hold, release
from netra_probe.workloads.database.pools import saturate_pool
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: A slope needs three cycles; one more shows what the first has warmed up.
CYCLES = 4


@workload(Mode.PROBE, "logging out")
async def come_and_go(
    probe: Investigation, users: Sequence[User] = (), *, cycles: int = CYCLES, with_sockets: bool = False
) -> Outcome:
    """Log in, say who one is at every door, and log out, cycle after cycle; then try all that was let go.

    >>> await come_and_go(probe, [alice])   # doctest: +SKIP
    <came and went of alice: sessions 5, uses afterwards 35, refused 35>

    What the target holds on to is measured after each cycle (resources), and after one moment of grace every credential
    is shown once more everywhere (lifecycle). With sockets, each session opens one at every backend and leaves it to
    the target to end it, for a moment. Triggers fault A6; with sockets also W11 and P4.
    """
    party = list(users) or probe.users
    found = await survey(probe)
    held: list[Held] = []
    sockets = closed = 0
    await saturate_pool(probe, party)
    # One after the other, no cycle needs more than the one before.
    async for _ in probe.cycles(cycles):
        begun = [session for user in party if (session := await _session(probe, found, user, with_sockets))]
        sockets += sum(len(one.sockets) for one in begun)
        closed += sum(await probe.together(_closed(probe, one) for one in begun))
        held += begun
    if not held:
        return Outcome(act="came and went", users=names(party), missing="login and logout")
    await probe.wire.pause(GRACE)
    ended = await probe.together(afterwards(probe, found, one, act="", how="logout", events=False) for one in held)
    counts = {"sessions": len(held)}
    counts |= {name: sum(outcome.counts[name] for outcome in ended) for name in ("uses afterwards", "refused")}
    return Outcome(
        act="came and went",
        users=names(party),
        counts=counts | ({"sockets": sockets, "closed": closed} if with_sockets else {}),
    )


async def _closed(probe: Investigation, held: Held) -> int:
    """Give the target a moment to end what was opened with a credential; what it leaves open shows that, and is closed.

    Something happens that the user's sockets are told of: one that carries it has outlived its session (fault W11).
    Returns how many sockets the target has ended.
    """
    await probe.together(socket.until(lambda frame: False, within=GRACE) for socket in held.sockets)
    left = [socket for socket in held.sockets if socket.closed is None]
    if left:
        await held.user.new_thread()
        await ask_for_life(probe, left)
    closed = len(held.sockets) - len(left)
    await release(held)
    held.sockets = []
    return closed


async def _session(probe: Investigation, found: Survey, user: User, with_sockets: bool) -> Held | None:
    """One session from its login to its logout; ``None`` where the target lets nobody begin or end one."""
    session = await user.another_session()
    if session is None or session.access is None:
        return None
    name = session.credential or user.name
    try:
        held = await hold(probe, found, user, token=session.access, name=name, with_sockets=with_sockets)
        return held if await session.logout() else None
    finally:
        await session.http.close()
