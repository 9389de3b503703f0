"""Foreign ids where agents and tools look: among the references of a question, and in the parameters of a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import body_of
from netra_probe.clients.rest import BackendClient
from netra_probe.history import actions
from netra_probe.plans.messages import foreign
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.tabs import QUESTION, answered, tabs, until_run_ends
from netra_probe.plans.trials import tool_call
from netra_probe.target.deployment import Mode
from netra_probe.workloads.agents.tools import EXECUTE, ToolFixture, tools_at
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

RUNS = ("/api/agents/execute", "/api/agent/execute", "/api/agent/run", "/api/agent/start")


@workload(Mode.ATTACK, "naming other users' ids", title="Agents and tools with another user's ids")
async def reference_foreign_ids(probe: Investigation, *, intruder: User, owner: User) -> Outcome:
    """Have agents and tools look something up for ``intruder`` that is ``owner``'s, by its id.

    The owner does the same first: the reference works for whom it belongs to. A tool that reads with the service's own
    rights shows it to anybody. Triggers G6.
    """
    async with tabs((owner, intruder), backend=0) as sockets:
        if len(sockets) < 2:
            return Outcome(users=names((intruder, owner)), missing="a connection")
        secret = owner.canary("title", "rest")
        made = await owner.rest.create_thread(f"What the board must not know [{secret}]")
        thread = str(body_of(made).get("id", ""))
        mark = foreign("foreign reference", "thread", thread, owner) | {"expect": intruder.name}
        aim = {"object": mark["object"]}
        runs = [
            await owner.ask(QUESTION, socket=sockets[owner.name], thread=thread),
            await owner.ask(QUESTION, socket=sockets[owner.name], claims={"references": [thread]}),
            await intruder.ask(
                QUESTION,
                socket=sockets[intruder.name],
                claims={"references": [thread]},
                attempt=mark,
            ),
        ]
        clients = {user.name: backend_client(probe, user, 0) for user in (owner, intruder)}
        try:
            tools = await tools_at(clients[owner.name]) if supported_route(probe, "POST", EXECUTE) else ()
            fixture = ToolFixture(user=owner, client=clients[owner.name], tools=tools, thread=thread, secret=secret)
            looking = await _call_tools(fixture, intruder, clients[intruder.name]) if tools else 0
            route = supported_route(probe, "POST", *RUNS)
            if route:
                for user, detail in ((owner, aim), (intruder, aim), (intruder, mark)):
                    start = len(sockets[user.name].received)
                    body = _request(user, [thread] if user is owner or detail is mark else [])
                    reply = await clients[user.name].http.request("POST", route, json=body, attempt=detail)
                    run = body_of(reply).get("run_id")
                    if run:
                        ids = {"run_id": str(run)}
                        probe.history.observe(
                            actions.OWN, user=user.name, ids=ids, detail={"kind": "run", "id": str(run)}
                        )
                        await until_run_ends(probe, sockets[user.name], str(run), start=start)
        finally:
            for client in clients.values():
                await client.http.close()
    return Outcome(
        users=names((intruder, owner)),
        counts={"asked": len(runs), "answered": answered(runs), "tools that take ids": looking},
    )


async def _call_tools(fixture: ToolFixture, intruder: User, client: BackendClient) -> int:
    """Call each tool with the id of the owner's thread: first as the owner; if it shows the thread, as the other."""
    mark = foreign("foreign id for a tool", "thread", fixture.thread, fixture.user)
    looking, other = 0, await fixture.user.new_thread()
    for tool in fixture.tools:
        if not await fixture.looks_up(tool, other):
            continue
        looking += 1
        await client.http.request("POST", EXECUTE, json=tool_call(tool, await intruder.new_thread()))
        await fixture.read({"object": mark["object"]})
        await client.http.request("POST", EXECUTE, json=tool_call(tool, fixture.thread), attempt=mark)
        await fixture.read({"object": mark["object"]})
    return looking


def _request(user: User, references: list[str]) -> dict[str, Any]:
    text = f"{QUESTION} [{user.canary('question', 'rest')}]"
    return {"user_request": text, "message": text, "content": text, "references": references}
