"""Coming back for the rest: where one stopped reading, and what is left of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netra_probe.clients.agent import Run
from netra_probe.clients.websocket import Socket
from netra_probe.history.untrusted import decoded
from netra_probe.plans.tabs import mark_of, tab, until_run_ends
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
