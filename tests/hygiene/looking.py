"""Looking at a lab with everything there is, and what H1 says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import hygiene
from netra_probe.checkers.verdict import Judgement
from netra_probe.lab import Lab
from netra_probe.target.lab import as_target
from netra_probe.workloads.outcome import Outcome

HERE = Path(__file__).parent
MODULES = (HERE / "faults_of_accounts.py", HERE / "faults_of_services.py")
#: Defects that do not stand in each other's way.
CARELESS = (
    "Q-STATED", "Q-REFRESH", "Q-BROWSER", "Q-HEADERS", "Q-ERRORS", "Q-ACCOUNTS", "Q-QUERY", "Q-ORIGINS", "Q-STATUSES",
    "Q-SOCKETS",
)  # fmt: skip
OTHERWISE = ("Q-SHORT", "Q-REUSE", "Q-CONTRADICTION", "Q-FRAMES", "Q-HEALTH")


async def everything(probe: Investigation) -> list[Outcome]:
    """All acts of the notebook, and what each says of itself."""
    alice, bob = probe.users
    return [
        await workloads.inspect_tokens(probe, alice),
        await workloads.follow_login(probe, alice),
        await workloads.ask_with_query(probe, bob),
        await workloads.bring_back_refresh_token(probe, bob),
        await workloads.provoke_refusals(probe, bob),
        await workloads.compare_refusals(probe, alice, bob),
        await workloads.try_handshakes(probe, alice),
        await workloads.try_sizes(probe, alice),
        await workloads.ask_health(probe, alice),
        await workloads.use_up_quota(probe, bob),
        await workloads.try_registrations(probe, alice),
        await workloads.compare_logins(probe, bob),
        await workloads.guess_passwords(probe, alice),
    ]


def judged(lab: Lab | None, act: Callable[[Investigation], Awaitable[object]], *topics: str) -> Judgement:
    """What H1 says after an act."""

    async def looked() -> Judgement:
        # The cache is of no interest here, and may be away.
        target = as_target(lab).model_copy(update={"redis_url": None}) if lab is not None else None
        probe = await investigate("S2", users=2, target=target)
        try:
            await act(probe)
            return hygiene(*topics)(list(probe.history))
        finally:
            await probe.close()

    return asyncio.run(looked())


def found(judgement: Judgement) -> dict[str, str]:
    """Kind → all summaries of it."""
    kinds: dict[str, list[str]] = {}
    for finding in judgement.findings:
        kinds.setdefault(finding.kind, []).append(finding.summary)
    return {kind: " | ".join(summaries) for kind, summaries in kinds.items()}
