"""Tickets for sockets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from netra_probe.lab.backend.routes.caller import CurrentCaller


async def issue_ticket(caller: CurrentCaller) -> dict[str, Any]:
    """A ticket that opens one socket as the caller: ``/ws?ticket=…``, once, within half a minute."""
    ticket = await caller.services.tickets.issue(caller.principal)
    return {
        "ticket_id": ticket.ticket_id,
        "expires_at": datetime.fromtimestamp(ticket.expires_at, UTC).isoformat(),
        "single_use": True,
        "websocket_path": "/ws",
    }
