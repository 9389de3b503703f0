"""What a notebook holds in its hand: a target, users, a history, checks and a clean-up."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol, TypeVar

import httpx
from IPython.core.getipython import get_ipython

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.base import Checker
from netra_probe.checkers.judging import ScenarioResult, judge_case, referred, scenario_result, skipped_case, with_case
from netra_probe.checkers.verdict import CaseResult, CleanUp
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.component import Component
from netra_probe.clients.component_process import Carried, Undecided
from netra_probe.clients.health_watch import Watch
from netra_probe.clients.replies import Negative, Refused, Timeouts, why_not
from netra_probe.clients.transport import Transport
from netra_probe.clients.websocket import Socket
from netra_probe.display.evidence import EventTable, LeakMatrix, PromiseTable
from netra_probe.display.standing import Banner
from netra_probe.display.ticket import Ticket, tickets
from netra_probe.display.timeline import Timeline
from netra_probe.display.views import CaseView, ScenarioView, Summary
from netra_probe.errors import AlreadyCheckedError, ParameterError, TargetError
from netra_probe.history import actions
from netra_probe.history.operation import Operation
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.investigation import cleanup, expectations
from netra_probe.investigation.context import InvestigationContext
from netra_probe.investigation.exclusive_access import TargetLock
from netra_probe.investigation.expectations import About
from netra_probe.investigation.resource_metrics import ResourceMetrics
from netra_probe.investigation.run_trigger import RUN_TRIGGERS
from netra_probe.investigation.scratch_database import ScratchDatabase
from netra_probe.investigation.users import User, alias, log_in_accounts
from netra_probe.target.deployment import Mode, Target

#: Characters of an exception's message that are kept.
LONGEST = 200


class Cells:
    """Tells of each cell that ends in an exception; outside of a notebook there are none.

    Arguments:
        raised: gets the exception's name, and its message.
    """

    def __init__(self, raised: Callable[[str, str], None]) -> None:
        self._raised = raised
        self._events: Any = None

    def watch(self) -> None:
        """From now on, until ``leave``."""
        shell = get_ipython()
        if shell is not None and self._events is None:
            self._events = shell.events
            self._events.register("post_run_cell", self._ended)

    def leave(self) -> None:
        """The investigation is over."""
        if self._events is not None:
            self._events.unregister("post_run_cell", self._ended)
            self._events = None

    def _ended(self, result: Any) -> None:
        if result is None:  # the kernel gave the cell up
            self._raised("KeyboardInterrupt", "")
            return
        error = result.error_before_exec or result.error_in_exec
        if error is None or isinstance(error, AlreadyCheckedError):
            return
        # A kernel that is interrupted cancels what the cell awaits.
        name = "KeyboardInterrupt" if isinstance(error, asyncio.CancelledError) else type(error).__name__
        self._raised(name, str(error)[:LONGEST])


def cells_of(case: str) -> list[str]:
    """The executed cells of a case: from behind the check before it, or the opening, to its own check.

    Raises ParameterError outside of a notebook, and when no executed cell checks it.
    """
    shell = get_ipython()
    executed = list(shell.user_ns.get("In", ())) if shell is not None else []
    borders = [number for number, source in enumerate(executed) if ".check(" in source or "investigate(" in source]
    own = [number for number in borders if re.search(rf"""check\(\s*["']{re.escape(case)}["']""", executed[number])]
    if not own:
        raise ParameterError(f"again: no executed cell checks {case}; run its cells first.")
    before = max((number for number in borders if number < own[-1]), default=own[-1] - 1)
    return executed[before + 1 : own[-1] + 1]


Value = TypeVar("Value")


class RunByHand(Protocol):
    """A run directory around an investigation that belongs to no batch run."""

    def end(self, result: ScenarioResult) -> None:
        """Everything is over."""

    def summed_up(self) -> None:
        """The last word is said; what comes after it is no part of the run."""


class Investigation(InvestigationContext):
    """One scenario on one target; made by ``investigate``, ended by ``close``."""

    def __init__(
        self,
        *,
        scenario: str,
        environment: str,
        target: Target,
        history: Recorder,
        ledger: Ledger,
        seed: int,
        timeouts: Timeouts,
        wire: Transport | None = None,
    ) -> None:
        super().__init__(target=target, history=history, ledger=ledger, seed=seed, timeouts=timeouts, wire=wire)
        self.scenario = scenario
        self.environment = environment
        self.users: list[User] = []
        self.generator = self.generator or RUN_TRIGGERS[0]
        self.cleaned: CleanUp | None = None
        self._everybody: list[User] = []
        self._window = 0
        self._gauges = ResourceMetrics(self)
        self.turn = TargetLock(patience=timeouts.alone)
        if self.wire.gate is not None:
            self.wire.gate.step_in = self.turn.join
        self._cases: list[CaseResult] = []
        #: The case that is being done once more.
        self._repeated = ""
        self._banner = Banner()
        self._cells = Cells(self._cell_raised)
        #: Writes the run directory where no batch run does so.
        self.by_hand: RunByHand | None = None
        self._components: dict[str, Component] = {}
        self._scratch = ScratchDatabase()
        #: What an act with a budget has finished, by the act and its users: done again, it goes on from there.
        self.finished: dict[tuple[str, ...], set[str]] = {}

    # Users

    async def recruit(self, number: int, *, beside: User | None = None, again: User | None = None) -> list[User]:
        """Register more users through the real route, concurrently; returns them.

        ``beside`` gives them addresses that begin like this user's: ``…alice@`` and ``…alicea@``; ``again`` gives one
        the address of a user who has gone. Where the target
        names ``accounts`` those log in instead, fewer than asked for if there are no more; in mode ``observe`` the
        users are names without accounts. What was withheld is noted for the next check.

        Raises TargetError when the target registers nobody.
        """
        if self.target.accounts and self.target.mode is not Mode.OBSERVE:
            recruits = await log_in_accounts(self, number, first=len(self._everybody), known=self.users)
            self._everybody += recruits
            return recruits
        first = len(self._everybody)
        taken = {user.email.partition("@")[0] for user in self._everybody}
        recruits = []
        for position in range(first, first + number):
            name = alias(position)
            address = f"probe+{self.mark}.{name}"
            if beside is not None:
                address = beside.email.partition("@")[0]
                while address in taken:
                    address += "a"
                taken.add(address)
            email = again.email if again is not None else f"{address}@netra-probe.example"
            password = self.ledger.password(email)
            recruits.append(User(self, name=name, email=email, password=password, backend=position))
            if again is not None:
                recruits[-1].identity = f"{email} {name}"
        if self.target.mode is Mode.OBSERVE:
            self.notes.withhold("mode observe: registering users needs mode probe")
            self._everybody += recruits
            return recruits
        emails, target = [user.email for user in recruits], self.target
        await asyncio.to_thread(self.ledger.add, emails, auth_url=target.auth_url, backend_urls=target.backend_urls)
        self._everybody += recruits
        replies = await asyncio.gather(*(user.register() for user in recruits))
        for user, reply in zip(recruits, replies, strict=True):
            # What a cap has cut short is inconclusive in each case, and no reason to end without cleaning up.
            if not reply and not self.notes.limits:
                closed = f"{reply!r}; where registration is closed give existing users as target.accounts."
                why = why_not(reply, "POST /auth/register")
                if isinstance(reply, Refused):
                    why += " Else give existing users as target.accounts."
                raise TargetError(f"{self.target.auth_url} did not register {user.name}: {why or closed}")
        return recruits

    async def watch_over(self) -> None:
        """Look after the target's health from here on, with one cheap request beside the work."""
        gate = self.wire.gate
        if gate is None or gate.rules.lab or self.target.mode is Mode.OBSERVE:
            return
        target = self.target

        def places() -> list[tuple[str, dict[str, str]]]:
            token = next((user.auth.access for user in self.users if user.auth.access is not None), None)
            bearer = {"Authorization": f"Bearer {token.reveal()}"} if token is not None else {}
            me = [(f"{target.auth_url}/auth/me", bearer)] if bearer else []
            return [*me, *((f"{url}/health", bearer) for url in target.backend_urls)]

        client = httpx.AsyncClient(
            headers=target.header_values(), verify=target.ssl_context(), trust_env=False, timeout=self.timeouts.reply
        )
        gate.watch = Watch(places, client, limit=self.notes.limit)
        await gate.watch.start()

    # Acting

    @contextmanager
    def acting(self) -> Iterator[None]:
        """The acts of a case that go on with what they got: where that is no session or no connection they end.

        >>> with probe.acting():                                        # doctest: +SKIP
        ...     session = await alice.another_session()
        ...     await alice.connect(token=session.access)

        The case then does not apply, if the target's parameters or the mode are why; else it is inconclusive.
        """
        try:
            yield
        except AttributeError as error:
            if error.obj is not None and not isinstance(error.obj, Negative):
                raise
            if not self.notes.withheld:
                self.notes.limit("a session or a connection could not be had; what was to be done with it was not")

    @asynccontextmanager
    async def sockets(self, users: Iterable[User] | None = None) -> AsyncIterator[list[Socket]]:
        """Open one socket per user, spread over the backends, for the duration of a block.

        On the way out every socket is fenced by a ping and its pong, which proves that it was alive all along (a silent
        socket makes "saw nothing" worthless), and then closed.
        """
        self._stay_open("sockets")
        party = list(users if users is not None else self.users)
        await asyncio.gather(*(user.connect() for user in party))
        try:
            yield [user.socket for user in party if user.socket is not None]
            await self.fence(party)
        finally:
            await asyncio.gather(*(user.socket.close() for user in party if user.socket is not None))
            for user in party:
                user.socket = None

    async def fence(self, users: Iterable[User] | None = None) -> None:
        """Wait until each user's socket has delivered all that was on its way: ping, and its pong."""
        party = list(users if users is not None else self.users)
        await asyncio.gather(
            *(user.socket.fence() for user in party if user.socket is not None and user.socket.closed is None)
        )

    async def together(self, acts: Iterable[Awaitable[Value]]) -> list[Value]:
        """Do all of this at once and wait for the last."""
        return list(await asyncio.gather(*acts))

    async def look(self) -> None:
        """Read the rows and cache keys of all users into the history, where the target lets us."""
        ids = {user.id: user.name for user in self._everybody if user.id}
        if not ids and self.target.mode is Mode.OBSERVE:
            self.notes.withhold("mode observe: there are no users of ours whose rows could be read")
            return
        if self.database is not None:
            await self.database.rows(ids)
        if self.cache is not None:
            await self.cache.keys(ids)

    async def gauge(self, cycle: int) -> None:
        """Measure what a target holds on to after a cycle.

        From the first reading on, other notebooks of the run step aside until ``cycles`` are over, or the case.
        """
        await self.turn.alone()
        await self._gauges.read(cycle)

    def readings(self) -> dict[str, list[int]]:
        """The numbers that ``gauge`` has read since the last check, cycle by cycle."""
        found: dict[str, list[int]] = {}
        for done in self.recorded():
            if done.action == actions.GAUGE and done.index >= self._window:
                found.setdefault(str(done.detail["name"]), []).append(int(done.detail["value"]))
        return found

    async def health(self) -> dict[str, str]:
        """What each backend says of its own health, by name."""
        return await self._gauges.healths()

    async def operator_states(self) -> dict[str, dict[str, Any]]:
        """What each backend tells its operator of itself, by name; empty where the target lets nobody ask."""
        return await self._gauges.states()

    async def cycles(self, number: int) -> AsyncIterator[int]:
        """Cycles to be measured, each after its end; what a first one warms up, number -1, is not.

        With the last reading the other notebooks of the run may go on.
        """
        for cycle in range(-1, number):
            yield cycle
            if cycle >= 0:
                await self.gauge(cycle)
        await self.turn.measured()

    def start(self, acts: Iterable[Awaitable[Value]]) -> asyncio.Future[list[Value]]:
        """Begin all of this at once; await the returned future for the results."""
        return asyncio.ensure_future(self.together(acts))

    def component(self, name: str) -> Component:
        """A class of the platform in this process: the one that ``target.components`` names, else the lab's.

        >>> contexts = probe.component("UserExecutionContext")                                # doctest: +SKIP
        >>> made = await contexts.call("from_request", user_id="u", thread_id="t", run_id="r")  # doctest: +SKIP

        What is not as the platform's public calls are written down is in ``differences``, and never raised.
        """
        if name not in self._components:
            path = self.target.components.get(name)
            self._components[name] = Component(self.history, name, path=path, patience=self.timeouts.reply)
        return self._components[name]

    async def apart(
        self,
        act: Callable[..., Any],
        *components: str,
        arguments: Sequence[Any] = (),
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, Secret | Undecided] | None = None,
        seconds: float | None = None,
    ) -> Carried:
        """Carry ``act(*classes, *arguments)`` out in a process of its own, and record what came of it.

        >>> def act(IsolatedEnvironment):
        ...     return {"region": IsolatedEnvironment().get("REGION")}
        >>> seen = await probe.apart(act, "IsolatedEnvironment", variables={"REGION": "north"})   # doctest: +SKIP
        >>> probe.expect("the process environment is read", seen["region"], "north")              # doctest: +SKIP

        Arguments:
            act: a function or coroutine function that returns plain data.
            components: names of the platform's classes, which it is called with; they come from the lab's composition
                root, or from where ``target.components`` says.
            arguments: further arguments.
            variables: the environment variables of the process, beside the few that any program needs.
            secrets: further environment variables, which reach neither the recording nor what is returned.
            seconds: after which it is ended; ten replies' time when left out.
        """
        return await expectations.run_apart(
            self, act, components, arguments, variables or {}, seconds or self.timeouts.reply, secrets or {}
        )

    @asynccontextmanager
    async def services(
        self,
        act: Callable[..., Any],
        *components: str,
        names: Sequence[str],
        arguments: Sequence[Any] = (),
        variables: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[Callable[[], Awaitable[dict[str, Carried]]]]:
        """Processes side by side, one for each name, that go on to their next ``yield`` together.

        >>> def service(LiveConfiguration, name, directory):
        ...     live = LiveConfiguration(name, [])
        ...     yield {"names": live.manager.names()}
        ...     yield live.reload()
        >>> async with probe.services(                                              # doctest: +SKIP
        ...     service, "LiveConfiguration", names=["auth", "backend"], arguments=[directory]
        ... ) as step:
        ...     started = await step()
        >>> started["auth"]["names"]                                              # doctest: +SKIP

        Arguments:
            act: a generator function; it is called with the classes, its name, and the arguments.
            variables: as for ``apart``; ``seconds`` is for each step.
        """
        seconds = seconds or self.timeouts.reply
        async with expectations.run_services(self, act, components, names, arguments, variables or {}, seconds) as step:
            yield step

    async def scratch_database(self) -> Secret | Undecided:
        """The target's database with a schema of our own as the only place, for ``apart(secrets=…)``.

        The schema is created when this is called first, and removed by ``close``. Where there is none, the reason why
        goes into what is seen of the process, and cases that need ``scratch database`` are not applicable.
        """
        await self._scratch.open(self)
        return self._scratch.url

    def expect(self, promise: str, observed: Any, expected: Any = True, *, about: About = "works") -> None:
        """Record what a component promises, what was observed, and what that should have been.

        ``checkers.promises`` judges it with the next check; ``probe.promises()`` shows the table.

        Arguments:
            promise: what holds, as a clause: "an explicit set beats the file".
            observed, expected: plain data; they have to be equal. What could not be seen, alone or in a list, leaves
                the promise undecided.
            about: ``contained`` for what still works for others, ``visible`` for what an operator can see, ``noted``
                for what a deployment may do otherwise: where it does, that is a hygiene issue.
        """
        expectations.expect(self, promise, observed, expected, about)

    # Judging

    def begin(self, *, shown: bool = True) -> None:
        """Everything so far was preparation: the first case is judged from here on.

        Arguments:
            shown: false for an investigation inside of another one, whose cells and banner these are.
        """
        self.notes.clear()
        self._window = len(self.history)
        if not shown:
            return
        self._cells.watch()
        self._banner.show(self.result(), [user.name for user in self.users])

    def check(
        self, case: str, *checkers: Checker, claim: str = "", needs: Iterable[str] = (), exact: bool = True
    ) -> CaseView:
        """Judge what happened since the last check; the verdict is recorded and shown.

        Arguments:
            case: its id, such as ``C4.2``.
            checkers: what to look for.
            claim: the case's title; that of the notebook's metadata when left out.
            needs: what the case is not applicable without: a surface (``database``, ``cache``, ``operator``), a class
                to import (``component IsolatedEnvironment``), or the ``scratch database``.
            exact: false where the moment decides how much was seen (who hung up when, what a poll met): the evidence
                then names what it rests on, and counts only what the probe did itself.
        """
        if not re.fullmatch(rf"{self.scenario}[a-z]?\.\d+", case):
            raise ParameterError(
                f'case "{case}" does not belong to scenario {self.scenario}; name it {self.scenario}.….'
            )
        self._stay_open(case)
        if case != self._repeated and any(done.id == case for done in self._cases):
            raise AlreadyCheckedError(f'case "{case}" was checked already; every case is judged once.')
        claim = claim or SCENARIOS[self.scenario].cases.get(case, case)
        needs = set(needs)
        missing = expectations.unmet(self.target, needs)
        if not missing and expectations.SCRATCH in needs and isinstance(self._scratch.url, Undecided):
            missing = [self._scratch.url.reason]
        if missing:
            reason = "; ".join(missing)
            self.history.observe(actions.SKIP, detail={"case": case, "claim": claim, "reason": reason})
            result = skipped_case(case, claim, reason)
        else:
            specification = [{"id": checker.id, "options": dict(checker.options)} for checker in checkers]
            marker = self.history.observe(
                actions.CHECK,
                detail={"case": case, "claim": claim, "start": self._window, "checkers": specification}
                | ({} if exact else {"steady": False})
                | ({"again": True} if case == self._repeated else {})
                | ({"withheld": self.notes.withheld} if self.notes.withheld else {})
                | ({"limits": self.notes.limits} if self.notes.limits else {}),
            )
            result = referred(judge_case(self.history, marker, checkers), self._cases, self.history)
        self.turn.release()
        self._gauges.forget()
        self._window = len(self.history)
        self.notes.clear()
        self._cases = with_case(self._cases, result)
        self._tell()
        return CaseView(result, self.history)

    def _stay_open(self, what: str) -> None:
        if self.cleaned is not None:
            raise ParameterError(f"{what}: the investigation is closed; run the notebook from its first cell again.")

    async def again(self, case: str, **parameters: Any) -> CaseView:
        """Do a case once more, with other parameters if wanted, without starting over.

        >>> await probe.again("C4.2", rounds=40)   # doctest: +SKIP

        The notebook's cells of this case are executed again, from behind the check before it to its own. A finding
        stays one, whatever the other time said; else the last time counts.

        Arguments:
            case: its id.
            parameters: names of the notebook, with the value that they have for this time.

        Raises ParameterError when the investigation is closed, or no executed cell checks this case.
        """
        self._stay_open(case)
        sources = cells_of(case)
        shell: Any = get_ipython()
        kept = {name: shell.user_ns[name] for name in parameters if name in shell.user_ns}
        if unknown := sorted(parameters.keys() - kept):
            raise ParameterError(f"again: this notebook has no {', '.join(unknown)}; name a variable of its cells.")
        self._repeated = case
        self._window = len(self.history)
        self.notes.clear()
        try:
            shell.user_ns.update(parameters)
            for source in sources:
                code = compile(shell.transform_cell(source), f"<{case}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                if (waiting := eval(code, shell.user_ns)) is not None:
                    await waiting
        finally:
            self._repeated = ""
            shell.user_ns.update(kept)
        return CaseView(next(done for done in self._cases if done.id == case), self.history)

    def _cell_raised(self, error: str, message: str) -> None:
        with suppress(OSError):  # a disk that is full is what the cell raised
            self.history.observe(actions.RAISED, detail={"error": error, "message": message})
        self._tell()

    def _tell(self) -> None:
        """Bring the banner up to date."""
        if self._banner.is_shown:
            self._banner.update(self.result(), running=self.cleaned is None)

    # Showing

    def recorded(self) -> Iterator[Operation]:
        """Everything recorded so far."""
        return iter(self.history)

    @property
    def _shown_from(self) -> int:
        """Where a view begins: behind the last check; once all is over it shows everything."""
        return self._window if self.cleaned is None else 0

    def matrix(self) -> LeakMatrix:
        """Who saw whose canaries since the last check: owner × recipient."""
        return LeakMatrix.of(self.recorded(), start=self._shown_from)

    def events(self) -> EventTable:
        """The events of each user's runs since the last check."""
        return EventTable.of(self.recorded(), start=self._shown_from)

    def timeline(self) -> Timeline:
        """The same as a picture: a lane per connection, foreign frames marked."""
        return Timeline.of(self.recorded(), start=self._shown_from)

    def promises(self) -> PromiseTable:
        """What was expected since the last check, beside what was observed."""
        return PromiseTable.of(self.recorded(), start=self._shown_from)

    def verdict(self) -> ScenarioView:
        """The verdict on the whole scenario: one row a case."""
        return ScenarioView(self.result())

    def summary(self) -> Summary:
        """The last word: when, on what, with which versions, where the evidence is, and the verdict."""
        if self.by_hand is not None and self.cleaned is not None:
            self.by_hand.summed_up()
        return Summary(self.result(), evidence=self.history.path.parent.parent)

    def ticket(self, case: str) -> Ticket:
        """A failed case as Markdown that Jira, GitHub and Slack take: what leaked, the likely cause, how to recheck.

        >>> probe.ticket("C4.2")   # doctest: +SKIP

        Raises ParameterError where the case was not checked, or has not failed.
        """
        result = self.result()
        made = {one.case.id: one for one in tickets(result, self.history.path.parent.parent)}
        if case not in made:
            known = {one.id: str(one.verdict) for one in self._cases}
            said = f"its verdict is {known[case]}" if case in known else "it was not checked yet"
            raise ParameterError(f'case "{case}" needs no ticket: {said}; failed: {", ".join(made) or "none"}.')
        return made[case]

    def result(self) -> ScenarioResult:
        """The verdict as a value; until the clean-up is done there is none to pass."""
        cleanup = None
        if self.cleaned is not None:
            cleanup = next((op for op in reversed(list(self.history)) if op.action == actions.CLEANUP), None)
        return scenario_result(self.history, self.history[0], tuple(self._cases), cleanup)

    # Ending

    async def close(self) -> CleanUp:
        """Remove what was made, look whether it is gone, close the history. Closing twice is harmless.

        Outside of a batch run the results and the report are written beside the history.
        """
        if self.cleaned is None:
            self._cells.leave()
            if self.wire.gate is not None:
                self.wire.gate.leaving = True
            try:
                left = await self._scratch.close()
                self.cleaned = await cleanup.clean_up(self, self._everybody, left)
            finally:
                for user in self._everybody:
                    await user.close()
                if self.wire.gate is not None and self.wire.gate.watch is not None:
                    await self.wire.gate.watch.close()
                if self.database is not None:
                    await self.database.close()
                if self.cache is not None:
                    await self.cache.close()
                self.history.close()
                self.turn.leave()
                if self.by_hand is not None:
                    await asyncio.to_thread(self.by_hand.end, self.result())
            self._tell()
        return self.cleaned

    def __repr__(self) -> str:
        return f"<Investigation {self.scenario} on {self.environment}: {len(self.users)} users>"
