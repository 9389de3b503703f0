"""Foreign ids where agents and tools look: among the references of a question, and in the parameters of a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered
from netra_probe.history import actions
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.tabs import QUESTION, answered, tabs, until_run_ends
from netra_probe.plans.trials import tool_call
from netra_probe.target.deployment import Mode
from netra_probe.workloads.agents.tools import shows
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

TOOLS, EXECUTE = "/api/tools", "/api/tools/execute"
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
        thread = str(made.body.get("id", "")) if isinstance(made, Answered) and isinstance(made.body, dict) else ""
        aim = {"kind": "thread", "id": thread}
        runs = [
            await owner.ask(QUESTION, socket=sockets[owner.name], thread=thread),
            await owner.ask(QUESTION, socket=sockets[owner.name], claims={"references": [thread]}),
            await intruder.ask(
                QUESTION,
                socket=sockets[intruder.name],
                claims={"references": [thread]},
                attempt={
                    "attempt": "foreign reference", "object": aim, "owner": owner.name, "expect": intruder.name,
                },
            ),
        ]  # fmt: skip
        clients = {user.name: backend_client(probe, user, 0).http for user in (owner, intruder)}
        try:
            tools = await _call_tools(probe, clients, intruder=intruder, owner=owner, aim=aim, secret=secret)
            route = supported_route(probe, "POST", *RUNS)
            if route:
                mark = {"attempt": "foreign reference", "object": aim, "owner": owner.name, "expect": intruder.name}
                for user, detail in ((owner, {"object": aim}), (intruder, {"object": aim}), (intruder, mark)):
                    start = len(sockets[user.name].received)
                    body = _request(user, [thread] if user is owner or detail is mark else [])
                    reply = await clients[user.name].request("POST", route, json=body, attempt=detail)
                    run = (
                        reply.body.get("run_id") if isinstance(reply, Answered) and isinstance(reply.body, dict) else ""
                    )
                    if run:
                        ids = {"run_id": str(run)}
                        probe.history.observe(
                            actions.OWN, user=user.name, ids=ids, detail={"kind": "run", "id": str(run)}
                        )
                        await until_run_ends(probe, sockets[user.name], str(run), start=start)
        finally:
            for http in clients.values():
                await http.close()
    return Outcome(
        users=names((intruder, owner)),
        counts={"asked": len(runs), "answered": answered(runs), "tools that take ids": tools},
    )


async def _call_tools(
    probe: Investigation, clients: dict[str, Http], *, intruder: User, owner: User, aim: dict[str, str], secret: str
) -> int:
    """Call each tool with the id of the owner's thread: first as the owner; if it shows the thread, as the other."""
    execute = supported_route(probe, "POST", EXECUTE)
    listed = await clients[owner.name].request("GET", TOOLS) if execute else None
    if not isinstance(listed, Answered) or not isinstance(listed.body, dict | list):
        return 0
    tools = listed.body.get("tools", []) if isinstance(listed.body, dict) else listed.body
    looking, elsewhere = 0, await owner.new_thread()
    for tool in tools:
        name = tool.get("name") if isinstance(tool, dict) else tool
        body = tool_call(str(name), aim["id"])
        reply = await clients[owner.name].request("POST", execute, json=body, attempt={"object": aim})
        if not shows(reply, secret):
            continue  # it does not look up what it is given
        control = tool_call(str(name), elsewhere)
        if shows(await clients[owner.name].request("POST", execute, json=control), secret):
            continue  # it shows whatever is its caller's, whichever id it is given
        looking += 1
        own = await intruder.new_thread()
        own_body = tool_call(str(name), own)
        await clients[intruder.name].request("POST", execute, json=own_body)
        read = clients[owner.name].request
        await read("GET", "/api/threads/{id}", path={"id": aim["id"]}, attempt={"object": aim})
        mark = {"attempt": "foreign id for a tool", "object": aim, "owner": owner.name, "expect": "refused"}
        await clients[intruder.name].request("POST", execute, json=body, attempt=mark)
        await read("GET", "/api/threads/{id}", path={"id": aim["id"]}, attempt={"object": aim})
    return looking


def _request(user: User, references: list[str]) -> dict[str, Any]:
    text = f"{QUESTION} [{user.canary('question', 'rest')}]"
    return {"user_request": text, "message": text, "content": text, "references": references}
