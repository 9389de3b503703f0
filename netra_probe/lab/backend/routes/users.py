"""The caller's own profile, spend and credits, and their end."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from netra_probe.lab.backend.routes.bodies import CreditsBody, ProfileBody, SpendBatchBody, SpendBody
from netra_probe.lab.backend.routes.caller import Caller, CurrentCaller
from netra_probe.lab.backend.routes.waiting import while_client_waits


async def get_me(request: Request, caller: CurrentCaller) -> dict[str, Any]:
    """Who the caller is."""
    return await while_client_waits(request, who_is(caller))


async def update_me(caller: CurrentCaller, body: ProfileBody) -> dict[str, Any]:
    """Change the caller's name and preferences."""
    await caller.ensure_profile()
    await caller.data.profile.update(name=body.name, preferences=body.preferences)
    return await who_is(caller)


async def erase_me(caller: CurrentCaller) -> dict[str, Any]:
    """Delete everything the backend keeps of the caller, and end their runs and sockets."""
    erased = await caller.services.chat.erase(caller.principal)
    return {"user_id": caller.principal.user_id, "deleted": True, "erased": erased}


async def list_spend(caller: CurrentCaller) -> dict[str, Any]:
    """The caller's spend records."""
    return {"records": await caller.data.spend.list()}


async def add_spend(caller: CurrentCaller, body: SpendBody) -> dict[str, Any]:
    """Keep a spend record."""
    await caller.ensure_profile()
    return await caller.data.spend.add(service=body.service, amount_usd=body.amount_usd, note=body.note)


async def add_spend_batch(request: Request, caller: CurrentCaller, body: SpendBatchBody) -> dict[str, Any]:
    """Keep several spend records: all of them, or none when one is refused or the client hangs up."""
    await caller.ensure_profile()
    records = [(record.service, record.amount_usd, record.note) for record in body.records]
    return {"records": await while_client_waits(request, caller.data.spend.add_all(records))}


async def get_spend(caller: CurrentCaller, record_id: str) -> dict[str, Any]:
    """One spend record."""
    return await caller.data.spend.get(record_id)


async def delete_spend(caller: CurrentCaller, record_id: str) -> dict[str, Any]:
    """Delete a spend record."""
    await caller.data.spend.delete(record_id)
    return {"id": record_id, "deleted": True}


async def get_credits(caller: CurrentCaller) -> dict[str, Any]:
    """The caller's balance and newest transactions."""
    return await caller.data.spend.credits()


async def use_credits(caller: CurrentCaller, body: CreditsBody) -> dict[str, Any]:
    """Use up credits."""
    await caller.ensure_profile()
    return await caller.data.spend.use_credits(body.amount, body.reason)


async def who_is(caller: Caller) -> dict[str, Any]:
    """The caller as the token and their profile describe them."""
    profile = await caller.data.profile.get() or {}
    return {
        "id": caller.principal.user_id,
        "user_id": caller.principal.user_id,
        "email": caller.principal.email,
        "permissions": list(caller.principal.permissions),
        "name": profile.get("name", ""),
        "preferences": profile.get("preferences", {}),
    }
