"""What a target's state costs in cases: which of them would be inconclusive or not applicable, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netra_probe.checkers.verdict import Verdict
from netra_probe.clients.policy import allows, needed_at
from netra_probe.doctor.acts import needs_of
from netra_probe.doctor.notebooks import RUN_VERBS, SOCKET_VERBS, Case
from netra_probe.doctor.report import CaseCost
from netra_probe.target.deployment import Mode, Target

#: Checkers that have nothing to judge without events of runs.
_NEED_RUNS = frozenset({"delivery", "automaton"})


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
    missing = sorted(case.surfaces - target.surfaces)
    if missing:
        return Verdict.NOT_APPLICABLE, f"the target has no {' and no '.join(missing)} surface"
    if not state.reached:
        return Verdict.INCONCLUSIVE, "a service cannot be reached"
    for act in case.acts:
        needs = needs_of(act)
        mode = needed_at(target, needs.mode, lab=state.lab)
        if not allows(target.mode, mode):
            return Verdict.NOT_APPLICABLE, f"mode {target.mode}: {needs.what} needs mode {mode}"
    if target.mode is Mode.OBSERVE and (case.verbs - {"component"}):
        return Verdict.NOT_APPLICABLE, "mode observe: acting as users needs mode probe"
    if target.mode is Mode.OBSERVE:
        return Verdict.PASS, ""
    if target.accounts and case.amounts.accounts > len(target.accounts):
        return Verdict.NOT_APPLICABLE, f"target.accounts names {len(target.accounts)} accounts only"
    if not state.people:
        return Verdict.INCONCLUSIVE, "no users can be had"
    by_act = [needs_of(act) for act in case.acts]
    if not state.sockets and ((case.verbs & SOCKET_VERBS) or any(needs.sockets for needs in by_act)):
        return Verdict.INCONCLUSIVE, "sockets are dead or half-dead"
    awaits = (case.verbs & RUN_VERBS) or any(needs.runs for needs in by_act) or (case.checkers & _NEED_RUNS)
    if not state.runs and awaits:
        return Verdict.INCONCLUSIVE, "no message that the parameters allow starts a run that comes to its end"
    return Verdict.PASS, ""
