"""Ledgers: everybody spends a little, one after the other, and reads what is left and what is booked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, body_of
from netra_probe.history import actions
from netra_probe.investigation.survey import survey
from netra_probe.target.deployment import Mode
from netra_probe.workloads.database.transactions import Counter, balance_in, clients_of, credits_of, find_counter
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User
    from netra_probe.openapi import Interface

#: Names under which an entry says how much it is about.
_AMOUNTS = ("amount", "credits", "points", "quantity", "units", "value", "delta")


@workload(Mode.PROBE, "spending credits of the probe's own accounts", title="Balances beside their entries")
async def keep_books(probe: Investigation) -> Outcome:
    """Each user in turn reads their ledger, spends a little at every backend, and everybody reads theirs again.

    >>> await keep_books(probe)   # doctest: +SKIP
    Balances beside their entries (alice, bob, carol): 6 spends, 12 readings

    Whoever's use is booked to somebody else has a balance that their entries do not explain, and the other has entries
    of nobody's (fault D6).
    """
    found = await survey(probe)
    accounts = [_Account(user, clients_of(probe, user)) for user in probe.users]
    spends = readings = 0
    try:
        for account in accounts:
            await account.user.new_thread()  # a backend may know of an account, and credit it, from its first write on
        counter, balance = await find_counter(found.backend, accounts[0].clients[0])
        if counter is None or balance < 2:
            return Outcome(users=names(probe.users), missing="a balance to spend")
        for account in accounts:
            readings += await account.read(probe, counter, opening=True)
        for account in accounts:
            spends += await account.spend(probe, found.backend, counter)
            for reader in accounts:
                readings += await reader.read(probe, counter)
    finally:
        for account in accounts:
            for http in account.clients:
                await http.close()
    return Outcome(users=names(probe.users), counts={"spends": spends, "readings": readings})


@dataclass
class _Account:
    """A user's ledger, and how often they have spent from it since it was read."""

    user: User
    clients: list[Http]
    acts: int = field(default=0)
    unsure: bool = field(default=False)

    async def spend(self, probe: Investigation, backend: Interface, counter: Counter) -> int:
        """One unit at each backend; how many were granted."""
        before = self.acts
        for http in self.clients:
            reply = await counter.take(probe, self.user, http, backend, 1, text=self._canary)
            self.acts += isinstance(reply, Answered)
            # What was not answered may have been booked or not.
            self.unsure |= not isinstance(reply, Answered) and getattr(reply, "status", None) is None
        return self.acts - before

    def _canary(self, field: str, room: int) -> str | None:
        return self.user.canary(field, "rest") if room >= 22 else None

    async def read(self, probe: Investigation, counter: Counter, *, opening: bool = False) -> int:
        """Note what is left and what is booked; whether there was anything to be noted."""
        reply = await self.clients[0].request("GET", counter.read.path)
        balance, entries = balance_in(reply), _entries_in(reply)
        if balance is None or entries is None or self.unsure:
            return 0
        detail = {"key": credits_of(self.user), "balance": balance, "entries": entries, "acts": self.acts}
        detail |= {"opening": True} if opening else {}
        probe.history.observe(actions.LEDGER, user=self.user.name, surface="rest", detail=detail)
        self.acts = 0
        return 1


def _entries_in(reply: Any) -> dict[str, int] | None:
    """The entries of the ledger in an answer, by id; ``None`` where there is no list of them."""
    body = body_of(reply)
    for value in body.values():
        if isinstance(value, list) and all(isinstance(item, dict) and "id" in item for item in value):
            amounts = {
                str(item["id"]): next((item[name] for name in _AMOUNTS if isinstance(item.get(name), int)), None)
                for item in value
            }
            if None not in amounts.values():
                return {id: amount for id, amount in amounts.items() if amount is not None}
    return None
