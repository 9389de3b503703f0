"""Tabs: further connections of a user for the length of a block, whatever other connections the user has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from netra_probe.clients.agent import Run
from netra_probe.clients.replies import Closed, Silent
from netra_probe.clients.websocket import Received, Socket
from netra_probe.history.frames import Frame
from netra_probe.history.runs import COMPLETED, REPORT, TERMINAL, belongs, is_of_a_run

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: What the acts ask, where it does not matter.
QUESTION = "Where do I overspend?"
#: Characters of a long question; it goes out in three spellings, and frames over 8192 bytes get lost (netra-wire §4).
LONG = 2300


async def open_tab(user: User, *, backend: int | None = None, query: Mapping[str, str] | None = None) -> Socket | None:
    """Open one more connection; the user's ``socket`` stays what it was. ``None`` when the target did not let us."""
    before = user.socket
    opened = await user.connect(backend=backend, query=query)
    user.socket = before
    return opened if isinstance(opened, Socket) else None


@asynccontextmanager
async def tab(
    user: User, *, backend: int | None = None, query: Mapping[str, str] | None = None, fenced: bool = True
) -> AsyncIterator[Socket | None]:
    """One more connection of a user; on the way out it is fenced (shown to have been alive) and closed."""
    socket = await open_tab(user, backend=backend, query=query)
    try:
        yield socket
        if fenced and socket is not None and socket.closed is None:
            await socket.fence()
    finally:
        if socket is not None:
            await socket.close()


@asynccontextmanager
async def tabs(users: Iterable[User], *, backend: int | None = None) -> AsyncIterator[dict[str, Socket]]:
    """One more connection for each of these users, by alias; those that the target does not let in are left out."""
    opened: dict[str, Socket] = {}
    async with AsyncExitStack() as stack:
        for user in users:
            socket = await stack.enter_async_context(tab(user, backend=backend, fenced=False))
            if socket is not None:
                opened[user.name] = socket
        yield opened
        # Together, because a young connection has to be waited for.
        await asyncio.gather(*(socket.fence() for socket in opened.values() if socket.closed is None))


async def everybody_asks(users: Iterable[User], sockets: Mapping[str, Socket], question: str = QUESTION) -> list[Run]:
    """Each of the users who have a tab puts a question over it, all at once."""
    return list(
        await asyncio.gather(*(user.ask(question, socket=sockets[user.name]) for user in users if user.name in sockets))
    )


def mark_of(run: Run) -> str:
    """What ties the events of a run together: its run id, or where events carry none the turn's; "" when none came."""
    return run.run_id or next((seen.frame.run for seen in run.events if seen.frame.run), "")


def answered(runs: Iterable[Run]) -> int:
    """How many runs came to their end."""
    return sum(1 for run in runs if run)


def long_question() -> str:
    """A question whose answer takes a while and fills a window."""
    return f"{QUESTION} {'Consider every month by itself. ' * (LONG // 32)}"


async def until_run_begins(
    probe: Investigation, socket: Socket, *, start: int = 0, thread: str = ""
) -> Received | Silent | Closed:
    """Wait for the first event of a run (in this thread) after position ``start`` of what the socket has received."""

    def begins(frame: Frame) -> bool:
        return is_of_a_run(frame) and belongs(frame, thread=thread) is not False

    return await socket.until(begins, within=probe.timeouts.run, start=start)


async def until_any_run_begins(probe: Investigation, threads: Mapping[Socket, str]) -> None:
    """Wait for the first event of a run on any of these sockets in the thread beside it, whichever comes first."""
    waiting = [
        asyncio.ensure_future(until_run_begins(probe, socket, thread=thread)) for socket, thread in threads.items()
    ]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for other in waiting:
        other.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def until_run_ends(probe: Investigation, socket: Socket, run: str, *, start: int = 0) -> bool:
    """Wait for the end of a run, and a moment longer for the report that may follow; whether it came.

    An end that names no run, where events carry nothing that ties them together, is taken for it.
    """

    def its(frame: Frame) -> bool:
        named = {frame.run, frame.ids.get("turn_id", "")} - {""}
        return not run or not named or run in named

    def ends(frame: Frame) -> bool:
        return frame.name in TERMINAL and its(frame)

    end = await socket.until(ends, within=probe.patience.seconds, start=start)
    if isinstance(end, Received) and end.frame.name == COMPLETED:
        await socket.until(
            lambda frame: frame.name == REPORT and its(frame),
            within=probe.timeouts.grace,
            start=start,
        )
    return isinstance(end, Received)
