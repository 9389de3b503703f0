"""An examination that leaves nothing behind, and what a target as it is would cost in cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from netra_probe import workloads
from netra_probe.batch.notebooks import Notebook, all_notebooks
from netra_probe.checkers.verdict import Verdict
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.cache import CacheClient
from netra_probe.clients.database import DatabaseClient
from netra_probe.clients.policy import allows, needed_at
from netra_probe.clients.replies import Timeouts
from netra_probe.doctor.notebooks import Case, read_cases, total
from netra_probe.doctor.report import CaseCost, Line, Report, Status
from netra_probe.doctor.services import look_at_claims, look_at_services
from netra_probe.doctor.sockets import identity, socket_lines, try_generators, try_sockets
from netra_probe.errors import ParameterError, TargetError
from netra_probe.history.store import Recorder
from netra_probe.investigation.cleanup import AUTH_REMOVAL, BACKEND_REMOVAL, discover_routes
from netra_probe.investigation.expectations import unmet
from netra_probe.investigation.investigation import Investigation
from netra_probe.investigation.open import know_secrets
from netra_probe.results.amounts import Amounts
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.environment import scratch
from netra_probe.target.parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class State:
    """What was found out about a target.

    Arguments:
        lab: whether it is a lab that was started here.
        reached: whether all services answer.
        people: whether users can be had.
        sockets, runs: whether sockets live, and runs come to their end with the message that the parameters name.
    """

    lab: bool
    reached: bool
    people: bool
    sockets: bool
    runs: bool


def costs(cases: Iterable[Case], target: Target, state: State) -> list[CaseCost]:
    """The cases that would not be decided."""
    found = []
    for case in cases:
        verdict, reason = _cost(case, target, state)
        if reason:
            found.append(CaseCost(id=case.id, verdict=str(verdict), reason=reason))
    return found


def _cost(case: Case, target: Target, state: State) -> tuple[Verdict, str]:
    if missing := unmet(target, case.surfaces):
        return Verdict.NOT_APPLICABLE, "; ".join(missing)
    if not state.reached:
        return Verdict.INCONCLUSIVE, "a service cannot be reached"
    needs = [function.needs for name in case.workloads if hasattr(function := getattr(workloads, name), "needs")]
    for need in needs:
        mode = needed_at(target, need.mode, lab=state.lab)
        if not allows(target.mode, mode):
            return Verdict.NOT_APPLICABLE, f"mode {target.mode}: {need.what} needs mode {mode}"
    if target.mode is Mode.OBSERVE:
        return Verdict.NOT_APPLICABLE, "mode observe: acting as users needs mode probe"
    if target.accounts and case.amounts.accounts > len(target.accounts):
        return Verdict.NOT_APPLICABLE, f"target.accounts names {len(target.accounts)} accounts only"
    if not state.people:
        return Verdict.INCONCLUSIVE, "no users can be had"
    if not state.sockets and case.amounts.sockets:
        return Verdict.INCONCLUSIVE, "sockets are dead or half-dead"
    if not state.runs and case.amounts.messages:
        return Verdict.INCONCLUSIVE, "no message that the parameters allow starts a run that comes to its end"
    return Verdict.PASS, ""


#: Users that the doctor acts as, and questions that it asks.
USERS, QUESTIONS = 2, 4


def own_amounts(target: Target) -> Amounts:
    """What an examination makes and tries at most."""
    if target.mode is Mode.OBSERVE:
        return Amounts()
    backends = len(target.backend_urls)
    return Amounts(accounts=USERS, sockets=USERS * (backends + 1), messages=QUESTIONS)


def planned(parameters: Parameters, target: Target, notebooks: Sequence[Notebook]) -> Amounts:
    """What a run of these notebooks would make and try, as it was counted on the lab."""
    if target.mode is Mode.OBSERVE:
        return Amounts()
    # Where nobody has said which message starts a run, each notebook finds it out with a greeting.
    greetings = len(notebooks) if target.generator is None else 0
    return total(cases_of(parameters, notebooks)) + Amounts(sockets=greetings, messages=greetings)


def cases_of(parameters: Parameters, notebooks: Sequence[Notebook]) -> list[Case]:
    """The cases of these notebooks as they would be run."""
    users, rounds = parameters.users, parameters.rounds
    return [case for notebook in notebooks for case in read_cases(notebook, users=users, rounds=rounds)]


async def examine(parameters: Parameters, target: Target) -> Report:
    """Look at every surface of a target, as two users who are removed afterwards; in mode ``observe`` as nobody."""
    with scratch("netra-probe-doctor-") as folder:
        probe = Investigation(
            scenario="doctor",
            environment=parameters.environment,
            target=target,
            history=Recorder(folder / "doctor.jsonl"),
            ledger=Ledger(),
            seed=parameters.seed,
            timeouts=Timeouts(run=parameters.deadline),
        )
        know_secrets(probe)
        examination = _Examination(probe, parameters)
        try:
            await examination.look()
        finally:
            cleaned = await probe.close()
        return examination.report(cleaned.left if examination.acted else ())


class _Examination:
    """What has been found out so far."""

    def __init__(self, probe: Investigation, parameters: Parameters) -> None:
        self.probe = probe
        self.parameters = parameters
        self.lines: list[Line] = []
        self.identities = ""
        self.generators: dict[str, str] = {}
        self.dialect: dict[str, int] = {}
        self.acted = False
        self.reached = self.people = self.sockets = False

    async def look(self) -> None:
        self.lines += await look_at_services(self.probe)
        self.reached = not self._is_broken
        if self.reached:
            self.probe.routes = await discover_routes(self.probe)
            self._offers()
        await self._stores()
        if self.probe.target.mode is Mode.OBSERVE:
            self._say("users", Status.SKIPPED, "mode observe: nobody was registered or logged in, no socket opened")
        elif self.reached:
            await self._act()
        else:
            self._say("users", Status.SKIPPED, "not tried while a service cannot be reached")

    async def _act(self) -> None:
        self.acted = True
        probe = self.probe
        try:
            probe.users = await probe.recruit(USERS)
        except (TargetError, ParameterError) as error:
            self._say("users", Status.BROKEN, str(error))
            return
        self.people = True
        how = "logged in as existing accounts" if probe.target.accounts else "registered"
        self._say("users", Status.OK, f"{USERS} {how}")
        reply = await probe.users[0].rest.threads()
        self._say("threads over REST", Status.OK if reply else Status.NOTE, "listed" if reply else f"{reply!r}")
        self.lines += await look_at_claims(probe)
        tried = await try_sockets(probe)
        self.lines += socket_lines(tried)
        self.identities, lines = identity(tried)
        self.lines += lines
        self.sockets = all(one.alive for one in tried)
        if not any(one.alive for one in tried):
            self._say("runs", Status.SKIPPED, "not tried on dead sockets")
            return
        self.generators, self.dialect = await try_generators(probe)
        self._generators()

    def _generators(self) -> None:
        working = [name for name, how in self.generators.items() if how == "works"]
        chosen = self.chosen
        if chosen in working:
            self._say("runs", Status.OK, f"`{chosen}` starts runs that come to their end")
        elif working:
            how = self.generators.get(chosen, "untried")
            text = f"`{chosen}`: {how}; set `generator: {working[0]}` in the target's parameters"
            self._say("runs", Status.BROKEN, text)
        else:
            self._say("runs", Status.BROKEN, "no message starts a run that comes to its end; is the agent running?")
        if unknown := self.dialect.get("unknown"):
            self._say("dialect", Status.NOTE, f"{unknown} frame(s) of an unknown shape; they are searched all the same")

    def _offers(self) -> None:
        routes = self.probe.routes
        silent = [name for name, has in (("auth service", routes.auth), ("backend", routes.backend)) if not has]
        if silent:
            text = f"the {' and the '.join(silent)} publish no /openapi.json: a known list of routes is tried instead"
            self._say("routes", Status.NOTE, text)
        if self.probe.target.accounts or self.probe.target.mode is Mode.OBSERVE:
            return
        lacking = [
            what
            for what, service, candidates in (
                ("accounts", "auth", AUTH_REMOVAL),
                ("what belongs to them", "backend", BACKEND_REMOVAL),
            )
            if routes.removal(service, candidates) is None
        ]
        if lacking and not silent:
            text = f"no route removes {' or '.join(lacking)}: they will be listed as left"
            self._say("removal", Status.NOTE, text)

    async def _stores(self) -> None:
        probe, target = self.probe, self.probe.target
        for subject, key in (("database", "database_url"), ("cache", "redis_url")):
            url = target.secret(key)
            if url is None:
                continue
            try:
                if subject == "database":
                    probe.database = await DatabaseClient.open(
                        probe.history, url, probe.timeouts, schema=target.database_schema, ownership=target.ownership
                    )
                    text = f"{len(probe.database.tables)} tables whose rows have an owner"
                    status = Status.OK if probe.database.tables else Status.NOTE
                else:
                    probe.cache = await CacheClient.open(probe.history, url, probe.timeouts)
                    text, status = "open", Status.OK
            except (TargetError, ParameterError) as error:
                text, status = str(error), Status.BROKEN
            self._say(subject, status, text)

    def _say(self, subject: str, status: Status, text: str) -> None:
        self.lines.append(Line(subject=subject, status=status, text=text))

    @property
    def chosen(self) -> str:
        """The message that a run will use: the one that the parameters name, else the first that works."""
        named = self.probe.target.generator
        return named or next((name for name, how in self.generators.items() if how == "works"), "")

    @property
    def _is_broken(self) -> bool:
        return any(line.status is Status.BROKEN for line in self.lines)

    def report(self, left: tuple[str, ...]) -> Report:
        target = self.probe.target
        cases = cases_of(self.parameters, all_notebooks())
        state = State(
            lab=self.probe.rules.lab,
            reached=self.reached,
            people=self.people,
            sockets=self.sockets,
            runs=self.generators.get(self.chosen) == "works",
        )
        if left:
            self._say("clean-up", Status.NOTE, f"left {', '.join(left)}")
        return Report(
            environment=self.parameters.environment,
            target=f"{target.auth_url}, {', '.join(target.backend_urls)}",
            mode=str(target.mode),
            lines=tuple(self.lines),
            identities=self.identities,
            generators=self.generators,
            dialect=self.dialect,
            missing=tuple(name for name in ("database", "cache", "operator") if name not in target.surfaces),
            costs=tuple(costs(cases, target, state)),
            cases=len(cases),
            run=planned(self.parameters, target, all_notebooks()),
            made=self._made(),
            left=left,
        )

    def _made(self) -> Amounts:
        """What was really made and tried, as the recording has it."""
        return replace(Amounts.of(self.probe.history), requests=0)
