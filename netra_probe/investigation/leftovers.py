"""Left-overs of investigations that were killed, found in the ledger and removed at the next opportunity: their
accounts, and their objects in accounts that are not theirs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from netra_probe.clients.replies import Refused, Timeouts
from netra_probe.history.store import Recorder
from netra_probe.investigation.cleanup import discover_routes, remove, remove_user
from netra_probe.investigation.context import InvestigationContext
from netra_probe.investigation.users import User
from netra_probe.target.deployment import LOOPBACK, Target
from netra_probe.target.environment import scratch

if TYPE_CHECKING:
    from netra_probe.clients.account_ledger import Entry, Ledger


async def sweep(probe: InvestigationContext) -> list[str]:
    """Remove the orphaned accounts of this target, and objects in existing ones; returns what was removed, by name.

    An account that can no longer log in is gone already. Whatever cannot be removed stays on the books.
    """
    orphans = await asyncio.to_thread(probe.ledger.orphans)
    here = [entry for entry in orphans if entry.auth_url == probe.target.auth_url]
    removed = []
    for number, entry in enumerate(here, start=1):
        user = User(
            probe,
            name=f"left-over-{number}",
            email=entry.email,
            password=probe.ledger.password(entry.email),
            backend=0,
        )
        try:
            reply = await user.login()
            if (reply and not await remove_user(user, probe.routes)) or isinstance(reply, Refused):
                removed.append(entry.email)
        finally:
            await user.close()
    await asyncio.to_thread(probe.ledger.strike, set(removed))
    return removed + await _sweep_things(probe)


async def _sweep_things(probe: InvestigationContext) -> list[str]:
    """Delete what was left in the target's existing accounts; a note goes when its thing does."""
    gate, target = probe.wire.gate, probe.target
    if gate is None:
        return []
    emails = [account.email for account in target.accounts]
    removed: list[str] = []
    for path, notes in list(probe.ledger.lost_things(target.auth_url)):
        waiting = [note for note in notes if note.get("email") in emails]
        for email in sorted({note["email"] for note in waiting}):
            number = emails.index(email)
            user = User(
                probe,
                name=waiting[0]["owner"],
                email=email,
                password=target.account_password(number),
                backend=0,
                existing=True,
            )
            try:
                if not await user.login():
                    continue
                for note in reversed([note for note in waiting if note["email"] == email]):
                    one = gate.belongings.recall(note)
                    if not one.id or await remove(probe, user, one):
                        removed += [email] if one.id else []
                        waiting.remove(note)
                await user.auth.logout()
            finally:
                await user.close()
        if not waiting:
            path.unlink(missing_ok=True)
    return [f"{len(removed)} thing(s) of {', '.join(sorted(set(removed)))}"] if removed else []


async def sweep_target(target: Target, ledger: Ledger) -> list[str]:
    """Sweep a target outside of an investigation; the recording of it is thrown away."""

    with scratch("netra-probe-sweep-") as folder:
        probe = InvestigationContext(
            target=target,
            history=Recorder(folder / "sweep.jsonl"),
            ledger=ledger,
            seed=0,
            timeouts=Timeouts(),
        )
        if probe.wire.gate is not None:
            probe.wire.gate.leaving = True
        probe.routes = await discover_routes(probe)
        try:
            return await sweep(probe)
        finally:
            probe.history.close()


def forget_vanished(entries: list[Entry], alive: set[str]) -> set[str]:
    """E-mail addresses of orphans on labs of this machine that no longer run: their data went with them.

    Arguments:
        alive: the auth URLs that still answer.
    """
    return {
        entry.email
        for entry in entries
        if entry.is_orphan and urlsplit(entry.auth_url).hostname in LOOPBACK and entry.auth_url not in alive
    }
