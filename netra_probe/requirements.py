"""What is owed to the user of the workbook: scenarios, their components and what each case claims.

Ids never change: notebooks, results, reports and the coverage table use them.
"""

from __future__ import annotations

from dataclasses import dataclass

#: What the five cases of every interplay notebook (A to D) claim.
INTERPLAY_CASES = (
    "the interplay works for one user",
    "concurrent users stay apart",
    "the failure boundary holds",
    "resources are released",
    "it holds under load",
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One row of the requirements: an id, what is investigated, and what each case claims.

    Arguments:
        id: such as ``C4``.
        title: the interplay, component or flow.
        cases: case id → claim.
    """

    id: str
    title: str
    cases: dict[str, str]

    def claim(self, case: str) -> str:
        """What the case claims; "" for one that the requirements do not list."""
        return self.cases.get(case, "")


def _interplay(id: str, title: str) -> Scenario:
    cases = {f"{id}.{number}": claim for number, claim in enumerate(INTERPLAY_CASES, start=1)}
    return Scenario(id=id, title=title, cases=cases)


_INTERPLAYS = {
    "A1": "UnifiedAuthenticationService + UserExecutionContext",
    "A2": "UnifiedWebSocketAuth + UserExecutionContext",
    "A3": "UnifiedAuthenticationService + WebSocketEventRouter",
    "A4": "Authentication flow with AgentInstanceFactory",
    "A5": "Context validation across auth boundaries",
    "B1": "AgentInstanceFactory + UnifiedToolDispatcher",
    "B2": "UnifiedToolDispatcher + ToolExecutionEngine",
    "B3": "LLMManager + UserExecutionContext isolation",
    "B4": "Agent execution with WebSocket events",
    "B5": "Tool permissions across user contexts",
    "C1": "UserWebSocketEmitter + WebSocketEventRouter",
    "C2": "UnifiedWebSocketAuth + AgentInstanceFactory",
    "C3": "WebSocket events during tool execution",
    "C4": "Multi-user WebSocket isolation",
    "C5": "Event routing with authentication",
    "D1": "DataAccessFactory + UserExecutionContext",
    "D2": "DataAccessFactory + UnifiedAuthenticationService",
    "D3": "Cross-user data isolation verification",
    "D4": "Database session management",
    "D5": "Resource clean-up verification",
}

#: The sweep is no requirement of its own: it is the net under all of them.
_SWEEP = (
    "users who act at once stay apart",
    "users who act in turn stay apart",
    "nobody reaches what belongs to somebody else",
    "coming and going loses and repeats nothing",
    "bad peers harm nobody else",
    "shared connections carry nothing from one user to the next",
    "coming and going leaves nothing behind",
    "credentials make nobody somebody else, and end when they end",
    "each amount is spent once",
    "rows and keys hold what belongs to their owner",
)

#: Neither is hygiene: what a reviewer would object to, apart from leaks.
_HYGIENE = (
    "tokens and sessions are what they say they are",
    "refusals are plain and tell nothing",
    "sockets open for their users only, and keep to their limits",
    "health and limits are honest",
    "registering and logging in withstand the careless and the curious",
)

SCENARIOS: dict[str, Scenario] = {
    **{id: _interplay(id, title) for id, title in _INTERPLAYS.items()},
    "S1": Scenario(
        id="S1",
        title="Sweep over every surface",
        cases={f"S1.{number}": claim for number, claim in enumerate(_SWEEP, start=1)},
    ),
    "S2": Scenario(
        id="S2",
        title="What a reviewer would object to",
        cases={f"S2.{number}": claim for number, claim in enumerate(_HYGIENE, start=1)},
    ),
}
