"""Who works on a run, one agent after another: by its events, and by the steps that are stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from netra_probe.clients.agent import Run
from netra_probe.clients.component_process import Undecided
from netra_probe.clients.replies import body_of
from netra_probe.clients.websocket import Received
from netra_probe.history.runs import REPORT, STARTED
from netra_probe.history.untrusted import decoded
from netra_probe.plans.routes import supported_route

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

STEPS = "/api/runs/{run_id}/steps"
NO_AGENTS = Undecided(reason="the events of this target name no agent")
NO_HAND_OFF = Undecided(reason="one agent answers by itself: nothing is handed over")
NO_NAME = Undecided(reason="no event says to whom the run is handed over")
NO_STEPS = Undecided(reason="the target shows no steps of a run")
NO_REPEAT = Undecided(reason="neither the report nor the answer repeats a request")


@dataclass(frozen=True, kw_only=True)
class HandOff:
    """How a run went from agent to agent, as its user saw it.

    Arguments:
        turns: the agents in the order in which they sent events; one that comes back is in it twice.
        named: the agent that each one has named as the next.
        numbers: those of the events, where the target numbers them.
        starts: how many events said that the run has started.
        runs: the run ids that the events name.
    """

    turns: Sequence[str]
    named: Sequence[str] = ()
    numbers: Sequence[int] = ()
    starts: int = 1
    runs: frozenset[str] = frozenset()

    @property
    def is_orderly(self) -> bool | Undecided:
        """Whether several agents had one turn each.

        >>> HandOff(turns=["triage", "costs"]).is_orderly, HandOff(turns=["triage", "costs", "triage"]).is_orderly
        (True, False)
        """
        if len(self.turns) < 2:
            return NO_HAND_OFF if self.turns else NO_AGENTS
        return len(set(self.turns)) == len(self.turns)

    @property
    def follows_names(self) -> bool | Undecided:
        """Whether each agent that was named as the next one is the one that went on.

        >>> HandOff(turns=["triage", "costs"], named=["speed"]).follows_names
        False
        """
        return list(self.turns[1:]) == list(self.named) if self.named else NO_NAME

    @property
    def is_one_stream(self) -> bool:
        """Whether the run starts once, under one run id, and none of its events is missing or doubled.

        >>> HandOff(turns=["triage", "costs"], numbers=[1, 2, 1, 2]).is_one_stream
        False
        """
        return self.starts == 1 and len(self.runs) <= 1 and list(self.numbers) == list(range(1, len(self.numbers) + 1))


@dataclass(frozen=True, kw_only=True)
class RunTree:
    """The steps that are stored of a run: for each its agent, its own id and that of the step above it.

    Shown as an outline.
    """

    steps: Sequence[tuple[str, str, str]] = ()
    missing: Undecided | None = None

    @property
    def outline(self) -> list[str] | Undecided:
        """The agents, each indented below the step that it belongs to.

        >>> RunTree(steps=[("triage", "a", ""), ("costs", "b", "a"), ("speed", "c", "gone")]).outline
        ['triage', '  costs', 'speed']
        """
        if self.missing is not None:
            return self.missing
        above = {own: parent for _, own, parent in self.steps}
        return ["  " * _depth(own, above) + agent for agent, own, _ in self.steps]

    def is_of(self, hand_off: HandOff) -> bool | Undecided:
        """Whether it is one tree, of exactly the agents that sent events, each below the one that handed over to it.

        >>> hand_off = HandOff(turns=["triage", "costs"])
        >>> RunTree(steps=[("triage", "a", ""), ("costs", "b", "a")]).is_of(hand_off)
        True
        >>> RunTree(steps=[("triage", "a", ""), ("costs", "b", "")]).is_of(hand_off)
        False
        """
        if undecided := self.missing or (None if hand_off.turns else NO_AGENTS):
            return undecided
        return self.outline == ["  " * depth + agent for depth, agent in enumerate(hand_off.turns)]

    def __repr__(self) -> str:
        return "\n".join(self.outline) if isinstance(self.outline, list) else self.outline.reason


def hand_off(run: Run) -> HandOff:
    """How a run went from agent to agent.

    >>> workloads.hand_off(run).turns   # doctest: +SKIP
    ['triage', 'cost_specialist']
    """
    names = [name for seen in run.events if (name := _agent(seen))]
    said = [seen.frame.body.get("hand_over_to") for seen in run.events]
    return HandOff(
        turns=[name for name, _ in groupby(names)],
        named=[name for name in said if isinstance(name, str) and name],
        numbers=[seen.frame.sequence for seen in run.events if seen.frame.sequence is not None],
        starts=run.names.count(STARTED),
        runs=frozenset(seen.frame.ids["run_id"] for seen in run.events if "run_id" in seen.frame.ids),
    )


async def run_tree(probe: Investigation, user: User, run: Run) -> RunTree:
    """The steps of a run as its user reads them."""
    if not supported_route(probe, "GET", STEPS):
        return RunTree(missing=NO_STEPS)
    listed = body_of(await user.rest.http.request("GET", STEPS, path={"run_id": run.run_id})).get("steps")
    if not isinstance(listed, list):
        return RunTree(missing=NO_STEPS)
    return RunTree(steps=[_step(one) for one in listed if isinstance(one, dict)])


def keeps(run: Run, text: str) -> bool | Undecided:
    """Whether the report or the answer of a run repeats a text; undecided where this target repeats nothing."""
    report = next((seen.frame.body for seen in run.events if seen.frame.name == REPORT), {})
    if text in run.answer or any(text in str(value) for value in report.values()):
        return True
    return False if "request" in report else NO_REPEAT


def _agent(seen: Received) -> str:
    root: Any = decoded(seen.frame.text, {})
    name = (root.get("agent_name") if isinstance(root, dict) else "") or seen.frame.body.get("agent_name")
    return name if isinstance(name, str) else ""


def _step(step: dict[str, Any]) -> tuple[str, str, str]:
    details = step.get("step_details")
    ids = details if isinstance(details, dict) else step
    return (
        str(step.get("agent_name") or ""),
        str(ids.get("request_id") or step.get("id") or ""),
        str(ids.get("parent_request_id") or ""),
    )


def _depth(step: str, above: dict[str, str]) -> int:
    depth = 0
    while (step := above.get(step, "")) in above and depth < len(above):
        depth += 1
    return depth
