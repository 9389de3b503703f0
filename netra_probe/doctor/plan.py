"""Which operations of a target a run may send, which it will not, and why: said before anything but reading is sent."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.effects import Effect, Rules
from netra_probe.clients.replies import Timeouts
from netra_probe.history.store import Recorder
from netra_probe.investigation.cleanup import discover_routes
from netra_probe.investigation.investigation import Investigation
from netra_probe.investigation.open import know_secrets
from netra_probe.investigation.survey import Survey, survey
from netra_probe.openapi import Route
from netra_probe.plans.crawler import is_ours
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.parameters import Parameters

#: Effects of operations that single acts send, whatever else is walked through.
_BY_ACTS = frozenset({Effect.SESSION, Effect.CHAT, Effect.LEAVES})


@dataclass(frozen=True, kw_only=True)
class PlannedOperation:
    """One operation: whether a run may send it, and why."""

    service: str
    method: str
    path: str
    sent: bool
    why: str
    effect: str
    public: bool = False


@dataclass(frozen=True, kw_only=True)
class OperationPlan:
    """All operations of a target; ``described`` says whether its services list them, or the usual ones are assumed."""

    target: str
    mode: str
    lab: bool
    described: bool
    operations: tuple[PlannedOperation, ...]

    def as_record(self) -> dict[str, Any]:
        """The same for scripts."""
        return {"schema": 1, **asdict(self)}

    def text(self) -> str:
        sent = [one for one in self.operations if one.sent]
        kept = [one for one in self.operations if not one.sent]
        source = "as its services describe them" if self.described else "the usual ones, since it describes none"
        lines = [f"{self.target}, mode {self.mode}: {len(self.operations)} operations, {source}."]
        for title, group in ((f"A run may send {len(sent)}:", sent), (f"A run will not send {len(kept)}:", kept)):
            lines += ["", title]
            width = max((len(f"{one.method} {one.path}") for one in group), default=0)
            for one in group:
                note = "; meant to be public" if one.public else ""
                lines.append(f"  {f'{one.method} {one.path}':<{min(width, 60)}}  {one.why}{note}")
        return "\n".join(lines)


async def plan_operations(parameters: Parameters, target: Target) -> OperationPlan:
    """Ask the services what they offer, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="netra-probe-plan-") as folder:
        probe = Investigation(
            scenario="plan",
            environment=parameters.environment,
            target=target,
            history=Recorder(Path(folder) / "plan.jsonl"),
            ledger=Ledger(),
            seed=parameters.seed,
            timeouts=Timeouts(run=parameters.deadline),
        )
        try:
            know_secrets(probe)
            probe.routes = await discover_routes(probe)
            found = await survey(probe)
            probe.rules.learn((route.method, route.path) for route in found.routes)
            return _planned(target, probe.rules, found)
        finally:
            await probe.close()


def _planned(target: Target, rules: Rules, found: Survey) -> OperationPlan:
    operations = [_operation(target, rules, route) for route in found.routes]
    return OperationPlan(
        target=", ".join(dict.fromkeys((target.auth_url, *target.backend_urls))),
        mode=str(target.mode),
        lab=rules.lab,
        described=found.auth.described or found.backend.described,
        operations=tuple(sorted(operations, key=lambda one: (one.path, one.method))),
    )


def _operation(target: Target, rules: Rules, route: Route) -> PlannedOperation:
    ruling = rules.of(route.method, route.path)
    sent, why = ruling.sent, ruling.why
    if target.mode is Mode.OBSERVE:
        sent, why = False, "mode observe: nothing but health and descriptions is read, and by nobody"
    elif sent and ruling.effect not in _BY_ACTS and not is_ours(route):
        sent = False
        why = "takes a form or a file" if route.form else "is about sessions, health or operators, not a user's objects"
    return PlannedOperation(
        service=route.service,
        method=route.method,
        path=route.path,
        sent=sent,
        why=why,
        effect=str(ruling.effect),
        public=rules.is_public(route.method, route.path),
    )
