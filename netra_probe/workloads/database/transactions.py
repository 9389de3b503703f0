"""Bursts on what can be counted or listed: a balance that several requests spend at once, a list they all append to.

Each request is a transaction in the history, with what the target's answer says it read and wrote, so that
``checkers.transactions`` can ask whether some serial order explains all answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Reply
from netra_probe.history import actions
from netra_probe.history.canary import WHOLE
from netra_probe.investigation.survey import survey
from netra_probe.openapi import Interface, Route
from netra_probe.openapi.arguments import Filler
from netra_probe.openapi.document import resolve
from netra_probe.openapi.examples import Instances
from netra_probe.openapi.objects import Things, listed
from netra_probe.plans.routes import backend_client
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import outcome_of
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

_SPENDS = re.compile(r"credit|balance|wallet|point|quota|voucher|coupon|redeem|withdraw|debit|consume", re.IGNORECASE)
_AMOUNT = re.compile(r"^(amount|credits|points|quantity|units|count|value)$", re.IGNORECASE)
_BALANCE = re.compile(r"^(balance|credits|points|remaining|available|left|quota)(_after|_left)?$", re.IGNORECASE)
#: Amounts whose sums are all different, so that a balance tells which of them were taken.
AMOUNTS = (1, 2, 4, 8, 16, 32)
#: Requests that all want more than half of what is there: one can be granted.
RIVALS = 6
APPENDS = 6


@dataclass(frozen=True, kw_only=True)
class Counter:
    """Something that is spent by one route and shown by another."""

    read: Route
    spend: Route
    amount: str

    async def take(
        self,
        probe: Investigation,
        user: User,
        http: Http,
        backend: Interface,
        amount: int,
        *,
        text: Callable[[str, int], str | None] = lambda name, room: None,
    ) -> Reply:
        """Spend an amount; ``text`` gives what goes into a field of this name with room for so many characters."""
        filler = Filler(Things(), Instances(backend.document, seed=probe.seed))
        filled = filler.fill(self.spend, user.name, text)
        body = {**(filled.body if filled is not None else {}), self.amount: amount}
        return await http.request("POST", self.spend.path, json=body)


def credits_of(user: User) -> str:
    """What the history calls the balance of a user."""
    return f"credits of {user.name}"


@workload(Mode.PROBE, "spending credits of the probe's own accounts", title="Concurrent spending")
async def spend_together(probe: Investigation, user: User) -> Outcome:
    """Spend from one balance several times at once, over every backend; then want what is there once, several times.

    Triggers fault D5: what is checked in one statement and taken in the next is taken twice.
    """
    found = await survey(probe)
    clients = clients_of(probe, user)
    await user.new_thread()  # a backend may know of an account, and credit it, from its first write on
    try:
        counter, balance = await find_counter(found.backend, clients[0])
        if counter is None or balance < 2:
            return Outcome(users=(user.name,), missing="a balance to spend")
        await _warm_up(clients, counter.read)
        amounts = [amount for amount in AMOUNTS if 2 * amount <= balance + 1]
        taken = await asyncio.gather(
            *(
                _take(probe, user, _of(clients, number), found.backend, counter, amount)
                for number, amount in enumerate(amounts)
            )
        )
        left = await _read_balance(probe, user, clients[0], counter)
        won: Sequence[bool] = ()
        if left is not None and left >= 2:
            won = await asyncio.gather(
                *(
                    _take(probe, user, _of(clients, number), found.backend, counter, left // 2 + 1, whole=True)
                    for number in range(RIVALS)
                )
            )
            await _read_balance(probe, user, clients[0], counter)
    finally:
        await _close(clients)
    counts = {"spends": len(taken), "granted": sum(taken), "competing": len(won), "successful": sum(won)}
    return Outcome(users=(user.name,), counts=counts)


@workload(Mode.PROBE, "writing messages of the probe's own accounts", title="Concurrent appends")
async def append_together(probe: Investigation, user: User, *, times: int = APPENDS) -> Outcome:
    """Append to one list of the user's several times at once, over every backend, and read it: nothing may be lost."""
    clients = clients_of(probe, user)
    thread = await user.new_thread()
    key = f"messages of {user.name}"
    try:
        if not thread:
            return Outcome(users=(user.name,), missing="a thread")
        route, path = "/api/threads/{id}/messages", {"id": thread}
        await asyncio.gather(*(_of(clients, number).request("GET", route, path=path) for number in range(times)))
        added = await asyncio.gather(
            *(_append(probe, user, _of(clients, number), route, path, key) for number in range(times))
        )
        call = probe.history.invoke(actions.TXN, detail={"txn": [["r", key, None]]}, **_process(user))
        reply = await clients[0].request("GET", route, path=path)
        texts = [_mark_in(item) for item in listed(reply.body)] if isinstance(reply, Answered) else []
        seen = [text for text in texts if text]
        probe.history.complete(call, outcome_of(reply), detail={"txn": [["r", key, seen]]})
    finally:
        await _close(clients)
    return Outcome(users=(user.name,), counts={"appended": sum(added), "listed": len(seen)})


# Balances


async def find_counter(backend: Interface, http: Http) -> tuple[Counter | None, int]:
    """The first pair of routes by which something is counted and spent, and how much there is."""
    for spend in backend.routes:
        amount = _amount_of(spend, backend)
        if spend.method != "POST" or spend.braces or not _SPENDS.search(spend.path) or not amount:
            continue
        readers = [route for route in backend.routes if route.reads and not route.braces]
        readers = [route for route in readers if spend.path.startswith(route.path) or _SPENDS.search(route.path)]
        for read in readers:
            balance = balance_in(await http.request("GET", read.path))
            if balance is not None:
                return Counter(read=read, spend=spend, amount=amount), balance
    return None, 0


def _amount_of(route: Route, backend: Interface) -> str:
    properties = resolve(route.body, backend.document).get("properties") if route.body is not None else None
    names = properties if isinstance(properties, dict) else {}
    return next((name for name in names if _AMOUNT.match(name)), "")


async def _take(
    probe: Investigation, user: User, http: Http, backend: Interface, counter: Counter, amount: int, *,
    whole: bool = False,
) -> bool:  # fmt: skip
    """Spend an amount; what the answer says of the balance before and after becomes the transaction's read and write.

    ``whole`` records it as a claim to what can be had once.
    """
    key = credits_of(user)
    intended = [["spend", key, amount]] if whole else [["r", key, None]]
    call = probe.history.invoke(actions.TXN, detail={"txn": intended}, **_process(user))
    reply = await counter.take(probe, user, http, backend, amount)
    after = balance_in(reply)
    steps: list[list[Any]] = intended
    if not whole:
        steps = [["r", key, after + amount], ["w", key, after]] if after is not None else []
    probe.history.complete(call, outcome_of(reply), detail={"txn": steps})
    return isinstance(reply, Answered)


async def _read_balance(probe: Investigation, user: User, http: Http, counter: Counter) -> int | None:
    key = credits_of(user)
    call = probe.history.invoke(actions.TXN, detail={"txn": [["r", key, None]]}, **_process(user))
    reply = await http.request("GET", counter.read.path)
    balance = balance_in(reply)
    steps = [["r", key, balance]] if balance is not None else []
    probe.history.complete(call, outcome_of(reply), detail={"txn": steps})
    return balance


def balance_in(reply: Reply) -> int | None:
    """What an answer says is left; ``None`` where it says nothing of it."""
    body = reply.body if isinstance(reply, Answered) else None
    for name, value in body.items() if isinstance(body, dict) else ():
        if _BALANCE.match(name) and isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


# Lists


async def _append(probe: Investigation, user: User, http: Http, route: str, path: dict[str, str], key: str) -> bool:
    mark = user.canary("message", "rest")
    steps = [["append", key, mark]]
    call = probe.history.invoke(actions.TXN, detail={"txn": steps}, **_process(user))
    reply = await http.request("POST", route, path=path, json={"content": mark, "message": mark, "role": "user"})
    probe.history.complete(call, outcome_of(reply), detail={"txn": steps})
    return isinstance(reply, Answered)


def _mark_in(item: Any) -> str:
    found = WHOLE.search(str(item))
    return found[0] if found else ""


# Connections


def clients_of(probe: Investigation, user: User) -> list[Http]:
    """A client of the user at every backend."""
    return [backend_client(probe, user, number).http for number in range(len(probe.target.backend_urls))]


def _of(clients: list[Http], number: int) -> Http:
    return clients[number % len(clients)]


async def _warm_up(clients: list[Http], route: Route) -> None:
    """Open as many connections as the burst needs: making them one after the other would spread it out."""
    await asyncio.gather(*(_of(clients, number).request("GET", route.path) for number in range(2 * RIVALS)))


async def _close(clients: list[Http]) -> None:
    for http in clients:
        await http.close()


def _process(user: User) -> dict[str, str]:
    return {"user": user.name, "connection": f"{user.name}/rest", "surface": "rest"}
