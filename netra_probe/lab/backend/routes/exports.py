"""Exports: a user's copy of their own data, made in the background."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from netra_probe.lab.backend.routes.bodies import ExportBody
from netra_probe.lab.backend.routes.caller import CurrentCaller


async def request_export(caller: CurrentCaller, body: ExportBody | None = None) -> dict[str, Any]:
    """Ask for an export; ``export_ready`` comes over the caller's sockets when it is there."""
    await caller.ensure_profile()
    context = caller.services.chat.context_of(caller.principal)
    return await caller.services.exports.request(context, (body or ExportBody()).label)


async def list_exports(caller: CurrentCaller, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
    """The caller's exports, newest first."""
    return {"exports": await caller.data.exports.list(limit=limit)}


async def get_export(caller: CurrentCaller, export_id: str) -> dict[str, Any]:
    """One export; its document is null until it was made."""
    return await caller.data.exports.get(export_id)


async def delete_export(caller: CurrentCaller, export_id: str) -> dict[str, Any]:
    """Delete an export."""
    await caller.data.exports.delete(export_id)
    return {"id": export_id, "deleted": True}
