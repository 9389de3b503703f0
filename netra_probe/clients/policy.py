"""What may be done to a target: its owner says so in ``target.mode``, and nothing is done beyond.

Two places hold this: an act asks before it begins (``permit``), and whatever goes onto the wire passes a gate
(``Gate``), however it came about. What is withheld is noted, and the case that wanted it is ``not applicable`` with the
reason; what a cap has cut short is ``inconclusive``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_probe.clients.account_ledger import Belonging
from netra_probe.clients.belongings import MAKING, Belongings
from netra_probe.clients.effects import LOOKING, Effect, Rules
from netra_probe.clients.health_watch import Step, Watch, strain
from netra_probe.clients.rate_limit import RateLimiter
from netra_probe.clients.replies import Answered, Refused, Reply, Unreachable
from netra_probe.errors import ParameterError
from netra_probe.target import lab as embedded_lab
from netra_probe.target.deployment import Mode, Target

_ORDER = (Mode.OBSERVE, Mode.PROBE, Mode.ATTACK)


class NotPermitted(ParameterError):
    """The mode of the target does not allow an act; ``reason`` is what a verdict says of it."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def needed_at(target: Target, needed: Mode, *, lab: bool) -> Mode:
    """The mode that an act needs at this target.

    In a lab, and on this machine where nobody's accounts are named, ``probe`` suffices for what needs ``attack``
    elsewhere: what is touched is the run's own. That a port is on this machine does not say that nobody lives there.
    """
    harmless = lab or (target.is_local and not target.accounts)
    return Mode.PROBE if harmless and needed is Mode.ATTACK else needed


def allows(mode: Mode, needed: Mode) -> bool:
    """Whether what needs one mode may be done in another."""
    return _ORDER.index(mode) >= _ORDER.index(needed)


def slowed_down(user: str, action: str) -> str:
    """The note of a case about a rate-limited request, until the request succeeds."""
    return f"the target asked {user} to slow down (429): {action} was not served"


@dataclass(kw_only=True)
class Notes:
    """What was not done since the last check, and why.

    Arguments:
        withheld: reasons that make a case not applicable: it was not allowed, or there was nobody to do it.
        limits: reasons that make a case inconclusive: it was begun and not finished.
    """

    withheld: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)

    def withhold(self, reason: str) -> None:
        if reason not in self.withheld:
            self.withheld.append(reason)

    def limit(self, reason: str) -> None:
        if reason not in self.limits:
            self.limits.append(reason)

    def lift(self, reason: str) -> None:
        """Forget a limit: what was begun has been finished since."""
        self.limits = [limit for limit in self.limits if limit != reason]

    def clear(self) -> None:
        self.withheld, self.limits = [], []


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A request that has passed the gate.

    Arguments:
        attempt: whether it is meant to be refused.
        made: the note of what it makes; ``step`` what the watch knows it by.
    """

    method: str
    route: str
    user: str
    attempt: bool
    made: Belonging | None
    step: Step | None


async def _at_once() -> None:
    """Nobody is waited for."""


class Gate:
    """Lets through to a target what its parameters allow, at the pace that they allow, and notes what is made there.

    ``leaving`` is set while cleaning up: what was made is removed, whatever the total cap says.
    """

    def __init__(
        self, target: Target, notes: Notes, pace: RateLimiter, *, belongings: Belongings | None = None
    ) -> None:
        self.leaving = False
        self.rules = Rules(target, lab=embedded_lab.is_ours(target))
        #: Making operations whose deletion is being tried.
        self.trials: dict[str, asyncio.Lock] = {}
        self.belongings = belongings or Belongings()
        #: Looks after the target's health, once there is somebody to ask as.
        self.watch: Watch | None = None
        #: Waits while another investigation has the target to itself.
        self.step_in: Callable[[], Awaitable[None]] = _at_once
        self._strains: dict[str, list[str]] = {}
        #: How often an operation was refused: what a lockout may come of.
        self._refused: Counter[str] = Counter()
        self._target = target
        self._notes = notes
        self._pace = pace

    @property
    def guards(self) -> bool:
        """Whether there may be something on the target that is not this run's: anywhere but in a lab by itself."""
        return not self.rules.lab or bool(self._target.accounts)

    async def request(
        self,
        method: str,
        route: str,
        *,
        anonymous: bool,
        path: Mapping[str, str] | None = None,
        sent_to: str = "",
        body: Any = None,
    ) -> str:
        """ "" for a request that may go now, else why it may not.

        Arguments:
            anonymous: whether it carries no user's credential.
            path: what fills the braces of the route; ``sent_to`` is the route filled.
        """
        if self._target.mode is Mode.OBSERVE and not (anonymous and method in LOOKING):
            return self._withheld("sending anything but anonymous reading needs mode probe")
        reason = self.reason(method, route, path=path, sent_to=sent_to, body=body)
        if reason:
            reason = f"{method} {route} is not sent: {reason}"
            self._notes.withhold(reason)
            return reason
        if self.watch is not None and not self.leaving and (ill := await self.watch.clear(method, route)):
            return ill
        return await self._turn()

    def reason(
        self, method: str, route: str, *, path: Mapping[str, str] | None = None, sent_to: str = "", body: Any = None
    ) -> str:
        """Why such a request may do harm; "" where it does not."""
        ruling = self.rules.of(method, route, sent_to=sent_to)
        if not ruling:
            return ruling.why
        if not self.guards or method in LOOKING or ruling.effect in (Effect.SESSION, Effect.LEAVES):
            return ""
        if foreign := self.belongings.of_others(path or {}, body):
            return f"{foreign} was not made by this run"
        if self.awaits_trial(method, route) and any(
            (one.method, one.route) == (method, route) for one in self.belongings.left
        ):
            return "the deletion of the first one that was made is still to be tried"
        return ""

    def awaits_trial(self, method: str, route: str) -> bool:
        """Whether objects of a kind are created here that nobody has seen deleted yet."""
        ruling = self.rules.of(method, route)
        return (
            self.guards
            and not self.rules.lab
            and ruling.effect is Effect.MAKES
            and f"{method} {route}" not in self.rules.tried
        )

    def is_public(self, method: str, route: str, sent_to: str) -> bool:
        """Whether what comes from here is meant for everybody."""
        return self.rules.is_public(method, route, sent_to=sent_to)

    def begin(
        self,
        method: str,
        route: str,
        *,
        user: str | None,
        client: str | None = None,
        surface: str,
        path: Mapping[str, str],
        attempt: bool = False,
    ) -> Passage:
        """A request is about to be sent: what it makes, if it makes something, is noted before."""
        makes = method == "POST" or (method == "PUT" and not path)
        made = None
        if self.guards and makes and self.rules.of(method, route).effect in MAKING:
            made = self.belongings.note(method, route, surface=surface, owner=user or "nobody", within=path)
        by = user or client or "nobody"
        step = self.watch.begin(method, route, by) if self.watch is not None else None
        return Passage(method=method, route=route, user=by, attempt=attempt, made=made, step=step)

    def end(self, passage: Passage, reply: Reply | None) -> None:
        """It has been answered, or has not; ``None`` where nobody waited for it."""
        if self.watch is not None and passage.step is not None:
            self.watch.end(passage.step, reply)
        made = passage.made
        if made is not None:
            if isinstance(reply, Answered):
                self.belongings.made(made, reply.body)
            elif isinstance(reply, Refused) or (isinstance(reply, Unreachable) and not reply.sent):
                self.belongings.refused(made)
        elif self.guards and passage.method in LOOKING and isinstance(reply, Answered):
            self.belongings.saw(reply.body)
        if not self.rules.lab and reply is not None and not passage.attempt:
            self._strained(passage, reply)
        if isinstance(reply, Refused):
            self._refused[f"{passage.method} {passage.route}"] += 1

    def _strained(self, passage: Passage, reply: Reply) -> None:
        """Name a limit that this run has reached, at the step that reached it; what came through later lifts it."""
        step = f"{passage.method} {passage.route} by {passage.user}"
        if reply:
            action = f"{passage.method} {passage.route}"
            for reason in (*self._strains.pop(step, ()), slowed_down(passage.user, action)):
                self._notes.lift(reason)
        elif what := strain(reply):
            before = self._refused[f"{passage.method} {passage.route}"]
            after = f" after {before} refusal(s)" if before and isinstance(reply, Refused) else ""
            reason = f"{step}: the target {what}{after}, and it was this run that asked"
            self._strains.setdefault(step, []).append(reason)
            self._notes.limit(reason)

    async def handshake(self) -> str:
        """ "" for a handshake that may go now, else why it may not."""
        if self._target.mode is Mode.OBSERVE:
            return self._withheld("opening sockets needs mode probe")
        if self.watch is not None and not self.leaving and (ill := await self.watch.clear()):
            return ill
        return await self._turn()

    def without(self, reason: str) -> None:
        """Something that a case wanted is not there: it is not applicable."""
        self._notes.withhold(reason)

    async def _turn(self) -> str:
        await self.step_in()
        if await self._pace.turn(beyond=self.leaving):
            return ""
        reason = f"the cap of {self._pace.most} requests was reached; raise target.max_requests or narrow the run"
        self._notes.limit(reason)
        return reason

    def _withheld(self, what: str) -> str:
        reason = f"mode {self._target.mode}: {what}"
        self._notes.withhold(reason)
        return reason
