"""Whether a target still answers while it is worked on, and since which step it does not.

A target that stops answering is what was found: nothing more is sent until it is back, and the step before is named.
What is asked beside the work is one cheap request now and then, and at once where an answer is overdue. It does not
take the ways that the nemesis disturbs, and a lab that was started here is not watched: it is made to be broken.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import httpx
import msgspec

from netra_probe.clients.effects import LOOKING
from netra_probe.clients.replies import Broken, Refused, Reply, Silent, Unreachable

#: Seconds after which an answer is overdue at the earliest, and how many times the usual it may take.
SLOWEST, TENFOLD = 2.0, 10.0
#: Seconds between two looks when nothing is overdue, and between two looks at a target that is not well.
HEARTBEAT, AGAIN = 5.0, 1.0
#: Seconds that a target is given to come back.
RECOVERY = 60.0
#: What a proxy says for a service that does not answer.
_GATEWAY = frozenset((502, 503, 504))
_LOCKED = re.compile(r"lock(ed|out)|too many (failed )?(attempts|logins|tries)", re.IGNORECASE)
_POOL = re.compile(r"pool\b|too many (connections|clients)|connection (limit|slots)|exhaust", re.IGNORECASE)
_BREAKER = re.compile(r"circuit|breaker", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One request on its way: what it is, by whom, and since when."""

    method: str
    route: str
    user: str
    begun: float

    def __str__(self) -> str:
        return f"{self.method} {self.route} by {self.user}"


class Watch:
    """Looks after a target while a run works on it.

    Arguments:
        places: URLs that are asked, with the headers that they are asked with.
        limit: called once with what is wrong.
    """

    def __init__(
        self,
        places: Callable[[], Iterable[tuple[str, Mapping[str, str]]]],
        client: httpx.AsyncClient,
        *,
        limit: Callable[[str], None],
        recovery: float = RECOVERY,
    ) -> None:
        self._places = places
        self._client = client
        self._limit = limit
        self._recovery = recovery
        self._under_way: set[Step] = set()
        self._wrote: Step | None = None
        self._slowest = SLOWEST
        self._task: asyncio.Task[None] | None = None
        self._overdue = asyncio.Event()
        self._well = asyncio.Event()
        self._well.set()
        #: Why nothing is sent; "" while the target is well.
        self.reason = ""
        #: Steps after which nothing answered.
        self.blamed: list[Step] = []
        self.lost = False

    async def start(self) -> None:
        """Take the usual time of an answer, and watch from now on; a target that is not there is not watched."""
        begin = time.monotonic()
        if await self._answers():
            self._slowest = max(SLOWEST, TENFOLD * (time.monotonic() - begin))
            self._task = asyncio.create_task(self._watch())

    async def clear(self, method: str = "", route: str = "") -> str:
        """ "" when the target is well, after its recovery has been waited for; else why nothing is sent.

        What has taken it down once is not sent again.
        """
        if self.reason and not self.lost:
            await self._well.wait()
        reason = self.reason
        if not reason and any((step.method, step.route) == (method, route) for step in self.blamed):
            reason = f"{method} {route} is not sent again: the target had stopped answering after it"
        if reason:
            self._limit(reason)
        return reason

    def begin(self, method: str, route: str, user: str | None) -> Step:
        step = Step(method=method, route=route, user=user or "nobody", begun=time.monotonic())
        self._under_way.add(step)
        if method not in LOOKING:
            self._wrote = step
        return step

    def end(self, step: Step, reply: Reply | None) -> None:
        self._under_way.discard(step)
        if isinstance(reply, Unreachable | Silent) or (isinstance(reply, Broken) and reply.status in _GATEWAY):
            self._overdue.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.aclose()

    async def _watch(self) -> None:
        looked = time.monotonic()
        while True:
            oldest = min((step.begun for step in self._under_way), default=time.monotonic())
            late = max(oldest, looked) + self._slowest
            next_look = min(late, looked + HEARTBEAT) if self._under_way else looked + HEARTBEAT
            until = max(0.05, min(next_look - time.monotonic(), SLOWEST))
            try:
                # What begins while one waits is not late before the next look.
                await asyncio.wait_for(self._overdue.wait(), until)
            except TimeoutError:
                now = time.monotonic()
                is_late = any(now - step.begun > self._slowest for step in self._under_way)
                if now - looked < (self._slowest if is_late else HEARTBEAT):
                    continue
            self._overdue.clear()
            suspect = self._suspect()
            if not await self._answers() and not await self._answers():
                await self._ill(suspect)
            looked = time.monotonic()

    def _suspect(self) -> Step | None:
        """What was asked for last before the silence: a writing request that waits for its answer comes first."""
        waiting = sorted(self._under_way, key=lambda step: (step.method in LOOKING, step.begun))
        if waiting and waiting[0].method not in LOOKING:
            return waiting[0]
        return self._wrote or next(iter(waiting), None)

    async def _ill(self, suspect: Step | None) -> None:
        since = f" since {suspect}" if suspect is not None else ""
        self.reason = f"the target stopped answering: nothing answered{since}"
        if suspect is not None and suspect.method not in LOOKING and suspect in self._under_way:
            self.blamed.append(suspect)
        self._well.clear()
        self._limit(self.reason)
        end = time.monotonic() + self._recovery
        try:
            while not await self._answers():
                if time.monotonic() > end:
                    self.lost = True
                    self.reason += f", and not within the {self._recovery:.0f} s that it was given to recover"
                    self._limit(self.reason)
                    return
                await asyncio.sleep(AGAIN)
            self.reason, self.lost = "", False
        finally:
            self._well.set()

    async def _answers(self) -> bool:
        """Whether every service answers, in time; what it answers does not matter."""
        return all(await asyncio.gather(*(self._asked(url, headers) for url, headers in self._places())))

    async def _asked(self, url: str, headers: Mapping[str, str]) -> bool:
        try:
            async with asyncio.timeout(self._slowest):
                response = await self._client.get(url, headers=dict(headers))
        except (TimeoutError, httpx.TimeoutException, httpx.ConnectError):
            return False
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return True  # whatever it was, somebody answered
        return response.status_code not in _GATEWAY


def strain(reply: Reply) -> str:
    """What a refusal or failure says about a limit that was reached; "" where it says nothing of the kind.

    >>> strain(Refused(status=423)), strain(Broken(status=500, body="QueuePool limit of size 5 reached"))
    ('has locked an account or an address out (423)', 'has no connection left in a pool (500)')
    """
    if not isinstance(reply, Refused | Broken):
        return ""
    text = reply.body if isinstance(reply.body, str) else msgspec.json.encode(reply.body).decode()
    if isinstance(reply, Refused):
        if reply.status == 423 or (reply.status in (401, 403, 429) and _LOCKED.search(text)):
            return f"has locked an account or an address out ({reply.status})"
        return ""
    if _BREAKER.search(text):
        return f"has opened a circuit breaker ({reply.status})"
    return f"has no connection left in a pool ({reply.status})" if _POOL.search(text) else ""
