"""Tokens shown on sockets that are open: one's own, and another user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.plans.token_messages import show_token_of
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


@workload(Mode.ATTACK, "showing another user's token", answers="tokens in messages")
async def swap_identity(probe: Investigation, user: User, other: User) -> Outcome:
    """On connections of one user: first their own token in a message, then the other's; whose events come then?

    >>> await swap_identity(probe, bob, alice)   # doctest: +SKIP
    <tokens in messages of bob, alice: shown 2, accepted 1, acting for themselves 2>

    A socket that takes another's token for what it does, and keeps the subscriptions that it had, carries the events of
    one user to the other (fault A11).
    """
    followed = [await show_token_of(probe, user, shown, beside=other) for shown in (user, other)]
    seen = [one for one in followed if one is not None]
    people = (user.name, other.name)
    if not seen:
        return Outcome(act="tokens in messages", users=people, missing="a socket over which threads are made")
    counts = {
        "shown": len(seen),
        "accepted": sum(one.accepted for one in seen),
        "acting for themselves": sum(one.acts == user.name for one in seen),
    }
    return Outcome(act="tokens in messages", users=people, counts=counts)
