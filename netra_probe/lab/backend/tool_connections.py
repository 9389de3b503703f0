"""A tool server with a session for each credential, and this process's connections to it, one for each user.

The server knows callers by their session alone, as after the ``initialize`` of the Model Context Protocol: whose data a
call shows is decided when the session is opened.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netra_probe.lab.backend.data_access_factory import UserData


MOST_SESSIONS = 1_000
SHOWN = 20


class ToolServer:
    """An index of conversations."""

    name = "conversation-index"

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, UserData] = OrderedDict()

    async def initialize(self, credential: UserData) -> str:
        """Open a session for whoever the credential belongs to; the oldest ones are given up."""
        session = secrets.token_urlsafe(16)
        self._accounts[session] = credential
        if len(self._accounts) > MOST_SESSIONS:
            self._accounts.popitem(last=False)
        return session

    def knows(self, session: str | None) -> bool:
        """Whether a session is open."""
        return session in self._accounts

    async def call(self, session: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call in a session."""
        account = self._accounts[session]
        threads = await account.threads.list(limit=SHOWN)
        return {"tool": tool, "account": account.user_id, "titles": [thread["title"] for thread in threads]}


class ToolConnections:
    """Keeps the sessions open between the calls of their users."""

    def __init__(self, server: ToolServer) -> None:
        self.server = server
        self._sessions: OrderedDict[str, str] = OrderedDict()

    def slot(self, user_id: str) -> str:
        """Where the session for a call of this user is kept."""
        return f"{self.server.name} of {user_id}"

    async def call(self, data: UserData, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool of the server as the user whose data this is."""
        slot = self.slot(data.user_id)
        if not self.server.knows(self._sessions.get(slot)):
            self._sessions[slot] = await self.server.initialize(data)
            if len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return await self.server.call(self._sessions[slot], tool, arguments)
