"""What may be done to a target: its owner says so in ``target.mode``, and nothing is done beyond.

Two places hold this: an act asks before it begins (``permit``), and whatever goes onto the wire passes a gate
(``Gate``), however it came about. What is withheld is noted, and the case that wanted it is ``not applicable`` with the
reason; what a cap has cut short is ``inconclusive``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netra_probe.errors import ParameterError
from netra_probe.pace import Pace
from netra_probe.target import Mode, Target

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation

_ORDER = (Mode.OBSERVE, Mode.PROBE, Mode.ATTACK)
#: What one may look at without being anybody.
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
#: What would remove or lock an account: never done to one that the probe has not made.
_REMOVES = re.compile(r"/(users?|me|account|profile)(/me|/\{[^}]*\}|/[^/]+)?/?$")
_LOCKS = re.compile(r"disable|deactivate|suspend|delete|close-account|password|revoke-all", re.IGNORECASE)


class NotPermitted(ParameterError):
    """The mode of the target does not allow an act; ``reason`` is what a verdict says of it."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def permit(probe: Investigation, needed: Mode, what: str) -> None:
    """Raise NotPermitted, naming what to set, unless the target's mode allows this.

    On this machine ``probe`` suffices for what needs ``attack`` elsewhere; a recording takes no harm from anything.

    Arguments:
        what: the act, as the subject of a sentence: ``disturbing connections``.
    """
    target = probe.target
    if not probe.wire.live:
        return
    if target.is_local and needed is Mode.ATTACK:
        needed = Mode.PROBE
    if allows(target.mode, needed):
        return
    authorised = " and `authorised_by`" if needed is Mode.ATTACK else ""
    reason = f"mode {target.mode}: {what} needs mode {needed}"
    probe.notes.withhold(reason)
    raise NotPermitted(
        f"{what} is not allowed in mode {target.mode}; set `mode: {needed}`{authorised} in the target's parameters.",
        reason=reason,
    )


def allows(mode: Mode, needed: Mode) -> bool:
    """Whether what needs one mode may be done in another."""
    return _ORDER.index(mode) >= _ORDER.index(needed)


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


class Gate:
    """Lets through to a target what its parameters allow, at the pace that they allow.

    ``leaving`` is set while cleaning up: what was made is removed, whatever the total cap says.
    """

    def __init__(self, target: Target, notes: Notes, pace: Pace) -> None:
        self.leaving = False
        self._target = target
        self._notes = notes
        self._pace = pace

    async def request(self, method: str, route: str, *, anonymous: bool) -> str:
        """ "" for a request that may go now, else why it may not.

        Arguments:
            anonymous: whether it carries no user's credential.
        """
        if self._target.mode is Mode.OBSERVE and not (anonymous and method in _LOOKING):
            return self._withheld("sending anything but anonymous reading needs mode probe")
        if self._target.accounts and _harms_an_account(method, route):
            return "accounts that existed before are neither removed nor locked"
        return await self._turn()

    async def handshake(self) -> str:
        """ "" for a handshake that may go now, else why it may not."""
        if self._target.mode is Mode.OBSERVE:
            return self._withheld("opening sockets needs mode probe")
        return await self._turn()

    async def _turn(self) -> str:
        if await self._pace.turn(beyond=self.leaving):
            return ""
        reason = f"the cap of {self._pace.most} requests was reached; raise target.max_requests or narrow the run"
        self._notes.limit(reason)
        return reason

    def _withheld(self, what: str) -> str:
        reason = f"mode {self._target.mode}: {what}"
        self._notes.withhold(reason)
        return reason


def _harms_an_account(method: str, route: str) -> bool:
    if method == "DELETE":
        return _REMOVES.search(route) is not None
    return method not in _LOOKING and _LOCKS.search(route) is not None
