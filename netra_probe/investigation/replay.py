"""Replay: a notebook over a recorded history, unedited, as if live.

    probe = await investigate("C4", target={"replay": "outputs/staging/…/history/C4.jsonl.gz"})

Nothing is sent anywhere. Each act of the notebook is answered with what the recording holds for the same user and the
same act, in order; verdicts are judged on the recorded windows, and are inconclusive where the recording was cut or
damaged. An act that was never recorded is answered with
``Unreachable(reason="not in the recording")``, which is what an edited notebook gets to see.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.base import Checker
from netra_probe.checkers.judging import ScenarioResult, distrusted, judge_case, referred, skipped_case, undecided_case
from netra_probe.checkers.verdict import CleanUp, Verdict
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.component_process import Carried, Undecided
from netra_probe.clients.replay import MISSING, RecordedTransport, Tape
from netra_probe.clients.replies import Timeouts
from netra_probe.display.views import CaseView
from netra_probe.errors import ParameterError, TargetError
from netra_probe.forgery.tokens import signed
from netra_probe.history import actions
from netra_probe.history.damage import is_well_formed
from netra_probe.history.operation import Operation
from netra_probe.history.secret import Secret
from netra_probe.history.store import History
from netra_probe.investigation.cleanup import discover_routes
from netra_probe.investigation.expectations import About, recorded_processes
from netra_probe.investigation.investigation import Investigation
from netra_probe.investigation.users import User, alias
from netra_probe.target.deployment import Mode, Target


class Replay(Investigation):
    """An investigation whose acts are answered from a recording."""

    def __init__(self, tape: Tape, *, scenario: str) -> None:
        if not is_well_formed(tape[0]):
            raise ParameterError(f"{tape.path}: damaged; its first line does not say what it is a history of.")
        opened = tape[0].detail
        if opened["scenario"] != scenario:
            raise ParameterError(
                f"{tape.path} is the history of {opened['scenario']}, not of {scenario}; open the matching notebook."
            )
        backend = "http://recorded.invalid"
        urls = dict(opened.get("urls", {}))
        # Where one service was both it is one in the replay, too: acts look at it once.
        auth = backend if urls.pop("auth", None) in urls.values() else "http://auth.recorded.invalid"
        target = Target(
            auth_url=auth,
            backend_urls=[backend] * max(1, _backends(tape)),
            # Nothing is sent, so that everything may be; what had been given unlocks the same acts again.
            mode=Mode.ATTACK,
            authorised_by="whoever recorded it",
            service_id="recorded",
            service_secret=_stand_in("service_secret", opened),
            jwt_secret=_stand_in("jwt_secret", opened),
        )
        self._tape = tape
        super().__init__(
            scenario=scenario,
            environment=str(opened["environment"]),
            target=target,
            history=tape,
            ledger=Ledger(),
            seed=int(opened["seed"]),
            timeouts=Timeouts(),
            wire=RecordedTransport(tape),
        )
        self._processes = iter(recorded_processes(self))
        self._markers = {
            str(operation.detail["case"]): operation
            for operation in tape
            if operation.action in (actions.CHECK, actions.SKIP) and is_well_formed(operation)
        }
        self._window = min((int(m.detail.get("start", 0)) for m in self._markers.values()), default=0)

    async def recruit(self, number: int, *, beside: User | None = None, again: User | None = None) -> list[User]:
        recruits = []
        by_name = {operation.user: operation for operation in self.history if operation.action == actions.PRINCIPAL}
        for position in range(len(self._everybody), len(self._everybody) + number):
            principal = by_name.get(alias(position))
            if principal is None:
                if self._tape.truncated or self._tape.damage:
                    raise TargetError(f"the recording was cut, or damaged, before {alias(position)} was registered.")
                raise ParameterError(f"the recording has {len(by_name)} users; lower the parameter `users`.")
            user = User(
                self,
                name=alias(position),
                email=str(principal.detail.get("email", "")),
                password=Secret("recorded"),
                backend=position,
            )
            if again is not None:
                user.identity = f"{user.email} {user.name}"
            user.id = principal.ids.get("user_id", "")
            user.auth.access = user.auth.refreshing = _token(user.id)
            user.rest.http.token = user.auth.access
            recruits.append(user)
        self._everybody += recruits
        return recruits

    def recorded(self) -> Iterator[Operation]:
        """Up to the end of the window that is shown now: the next case of the recording."""
        end = min((marker.index for marker in self._markers.values() if marker.index >= self._window), default=None)
        for operation in self.history:
            if end is not None and operation.index >= end:
                return
            yield operation

    async def look(self) -> None:
        pass

    async def gauge(self, cycle: int) -> None:
        pass

    async def apart(self, act: Callable[..., Any], *components: str, **more: Any) -> Carried:
        return next(self._processes, Carried(absent=MISSING))

    @asynccontextmanager
    async def services(
        self, act: Callable[..., Any], *components: str, names: Sequence[str], **more: Any
    ) -> AsyncIterator[Callable[[], Awaitable[dict[str, Carried]]]]:
        async def step() -> dict[str, Carried]:
            return {name: next(self._processes, Carried(absent=MISSING)) for name in names}

        yield step

    async def scratch_database(self) -> Undecided:
        return Undecided(reason=MISSING)

    def expect(self, promise: str, observed: Any, expected: Any = True, *, about: About = "works") -> None:
        pass

    async def again(self, case: str, **parameters: Any) -> CaseView:
        raise ParameterError(f"{case}: a recording cannot be done again; open the notebook on a live target.")

    def check(
        self, case: str, *checkers: Checker, claim: str = "", needs: Iterable[str] = (), exact: bool = True
    ) -> CaseView:
        marker = self._markers.get(case)
        claim = claim or SCENARIOS[self.scenario].claim(case) or case
        if marker is None and not (self._tape.truncated or self._tape.damage):
            raise ParameterError(
                f"the recording does not hold {case}; it judged {', '.join(self._markers) or 'nothing'}."
            )
        if marker is None:
            result = undecided_case(case, claim, f"the recording was cut before {case} was judged")
        elif marker.action == actions.SKIP:
            result = skipped_case(case, str(marker.detail["claim"]), str(marker.detail["reason"]))
        else:
            result = referred(judge_case(self.history, marker, checkers), self._cases, self.history)
        result = distrusted(result, self._tape.damage)
        self._window = len(self.history) if marker is None else marker.index + 1
        self._cases.append(result)
        self._tell()
        return CaseView(result, self.history)

    def result(self) -> ScenarioResult:
        result = super().result()
        return replace(result, truncated=result.truncated or self._tape.truncated, damage=self._tape.damage)

    async def close(self) -> CleanUp:
        marker = next((operation for operation in self.history if operation.action == actions.CLEANUP), None)
        if marker is None or not is_well_formed(marker):
            self.cleaned = CleanUp(verdict=Verdict.INCONCLUSIVE, left=("the recording ends before its clean-up",))
        else:
            self.cleaned = CleanUp(verdict=Verdict(marker.detail["verdict"]), left=tuple(marker.detail["left"]))
        self._tell()
        return self.cleaned


def _stand_in(name: str, opened: Mapping[str, Any]) -> Secret | None:
    return Secret("recorded") if name in opened.get("unlocks", ()) else None


def _token(user_id: str) -> Secret:
    """Something with the form of the user's token: the real one was never kept."""
    return signed({"alg": "HS256", "typ": "JWT"}, {"sub": user_id, "iat": 0, "exp": 0}, b"recorded")


def _backends(tape: Tape) -> int:
    return len({operation.backend for operation in tape if operation.backend})


async def replay(path: str | Path, *, scenario: str, users: int) -> Replay:
    """Open a recording as an investigation. Raises ParameterError when it is not one of this scenario."""
    probe = Replay(Tape(History.open(path)), scenario=scenario)
    probe.routes = await discover_routes(probe)
    probe.users = await probe.recruit(users)
    probe._banner.show(probe.result(), [user.name for user in probe.users])
    return probe
