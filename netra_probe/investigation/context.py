"""What the parts of an investigation share, so that none needs to know the whole; and what a workload may do."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.agent import Patience
from netra_probe.clients.belongings import Belongings
from netra_probe.clients.cache import CacheClient
from netra_probe.clients.database import DatabaseClient
from netra_probe.clients.effects import Rules
from netra_probe.clients.policy import Gate, Notes, NotPermitted, allows, needed_at
from netra_probe.clients.rate_limit import RateLimiter, shared_file
from netra_probe.clients.replies import Timeouts
from netra_probe.clients.transport import LiveTransport, Transport
from netra_probe.history.store import Recorder
from netra_probe.target.deployment import Mode, Target


@dataclass(frozen=True, kw_only=True)
class Routes:
    """What each service says it offers: pairs of method and path from its ``/openapi.json``."""

    auth: frozenset[tuple[str, str]]
    backend: frozenset[tuple[str, str]]

    def removal(self, service: str, candidates: Iterable[str]) -> str | None:
        """The first route of the candidates that takes DELETE; parameter names do not matter."""
        routes = self.auth if service == "auth" else self.backend
        offered = {path.split("{")[0]: path for method, path in routes if method == "DELETE"}
        for candidate in candidates:
            stem = candidate.split("{")[0]
            if stem in offered and ("{" in offered[stem]) == ("{" in candidate):
                return offered[stem]
        return None


class InvestigationContext:
    """A target, a history and a transport, with the limits and the patience that hold for everything that is done.

    Users, clean-up, permissions and resource metrics take this; ``Investigation`` adds users, cases and verdicts.

    Arguments:
        history: takes everything that is sent and received.
        ledger: the accounts that this computer's user has made and not yet removed.
        seed: of canaries and everything random.
        wire: answers instead of the target, such as a recording.
    """

    def __init__(
        self,
        *,
        target: Target,
        history: Recorder,
        ledger: Ledger,
        seed: int,
        timeouts: Timeouts,
        wire: Transport | None = None,
    ) -> None:
        self.target = target
        self.history = history
        self.ledger = ledger
        self.seed = seed
        self.timeouts = timeouts
        self.patience = Patience(timeouts.run)
        #: What was not done since the last check, and why.
        self.notes = Notes()
        #: What tells this investigation from all others, in names and addresses.
        self.mark = secrets.token_hex(4)
        limiter = RateLimiter(rate=target.rate, most=target.most, shared=shared_file())
        belongings = Belongings(ledger.journal(self.mark, auth_url=target.auth_url) if wire is None else None)
        self.wire: Transport = wire or LiveTransport(
            target, history, timeouts, gate=Gate(target, self.notes, limiter, belongings=belongings)
        )
        #: The client message that starts a run here; ``run_trigger`` finds it out where nobody has said it.
        self.generator: str = target.generator or ""
        self.database: DatabaseClient | None = None
        self.cache: CacheClient | None = None
        self.routes = Routes(auth=frozenset(), backend=frozenset())

    @property
    def rules(self) -> Rules:
        """What may be sent; a recording takes no harm from anything."""
        return self.wire.gate.rules if self.wire.gate is not None else Rules(self.target, lab=True)


def permit(probe: InvestigationContext, needed: Mode, what: str) -> None:
    """Raise NotPermitted, naming what to set, unless the target's mode allows this.

    A recording takes no harm from anything.

    Arguments:
        what: the act, as the subject of a sentence: ``disturbing connections``.
    """
    target = probe.target
    if not probe.wire.live:
        return
    needed = needed_at(target, needed, lab=probe.rules.lab)
    if allows(target.mode, needed):
        return
    authorised = " and `authorised_by`" if needed is Mode.ATTACK else ""
    reason = f"mode {target.mode}: {what} needs mode {needed}"
    probe.notes.withhold(reason)
    raise NotPermitted(
        f"{what} is not allowed in mode {target.mode}; set `mode: {needed}`{authorised} in the target's parameters.",
        reason=reason,
    )
