"""What is done with a component in this process, recorded as an attempt: whose it is, or that it was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.clients.component import Absent, CallResult, Returned
from netra_probe.history import actions
from netra_probe.history.operation import Operation

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation
    from netra_probe.users import User


def begin(
    probe: Investigation, user: User, name: str, *, phase: str, expect: str, control: bool = False
) -> Operation:
    """An attempt on a component begins; ``phase`` names the component, ``expect`` whose the result must be."""
    detail = {"attempt": name, "expect": expect, "control": control, "phase": phase}
    return probe.history.invoke(
        actions.ATTEMPT, user=user.name, connection=f"{user.name}/component", surface="component", detail=detail
    )


def end(probe: Investigation, call: Operation, came: CallResult, who: str) -> None:
    """It has ended, with something of the user whose id ``who`` is, where something came."""
    if isinstance(came, Returned):
        probe.history.complete(call, "ok", ids={"user_id": who or "nobody"})
    else:
        # What cannot be called at all was neither done nor refused.
        probe.history.complete(call, "info" if isinstance(came, Absent) else "fail")


def user_id_of(context: object) -> str:
    """The user id that a context holds; "" where it shows none."""
    whose = getattr(context, "user_id", "")
    return whose if isinstance(whose, str) else ""
