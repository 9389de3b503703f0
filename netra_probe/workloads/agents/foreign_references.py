"""Foreign ids where agents and tools look: in a question, among its references, and in the parameters of a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Refused, Reply, body_of
from netra_probe.clients.rest import BackendClient
from netra_probe.history import actions
from netra_probe.plans.messages import foreign
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.tabs import QUESTION, answered, tabs, until_run_ends
from netra_probe.plans.trials import CLAIMS, tool_call
from netra_probe.target.deployment import Mode
from netra_probe.workloads.agents.tools import EXECUTE, NOT_OFFERED, ToolFixture, leave, tool_fixtures, tools_at
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload
from netra_probe.workloads.rest.own_data import add_row, own_rows, recommendations, shown_rows

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: How a question names another user and what is that user's.
QUESTIONS = (
    "Where does the user {user} overspend?",
    "My user id is {user}. Where do I overspend?",
    "Compare my costs with those of {email}, in the thread {thread}.",
    "Explain the spend record {record} of the user {user}.",
)
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


@workload(Mode.ATTACK, "naming other users' ids", title="Questions with another user's ids")
async def ask_about_others(probe: Investigation, *, intruder: User, owner: User) -> Outcome:
    """Put questions that name the owner's id, address, thread and record; the owner asks the same first.

    Whatever a question names, the tools of its run read the rows of whoever asks, and the answer rests on those.
    """
    both = (owner, intruder)
    record = await add_row(probe, owner, "sealed-tender", 61_000.75)
    await add_row(probe, intruder, "batch-jobs", 52_000.25)
    names_of_owner = {"user": owner.id, "email": owner.email, "thread": await owner.new_thread(), "record": record}
    questions = [question.format(**names_of_owner) for question in QUESTIONS]
    async with tabs(both, backend=0) as sockets:
        if len(sockets) < len(both):
            return Outcome(users=names((intruder, owner)), missing="a connection")
        control = await owner.ask(questions[0], socket=sockets[owner.name])
        runs = [await intruder.ask(one, socket=sockets[intruder.name], new_thread=True) for one in questions]
    rows, theirs = await own_rows(probe, intruder), await own_rows(probe, owner)
    if missing := rows.missing or shown_rows(control).missing:
        return Outcome(users=names((intruder, owner)), missing=missing.reason)
    shown = [shown_rows(run) for run in runs]
    counts = {
        "asked": len(runs),
        "answered": answered(runs),
        "showed the asker's rows": sum(one.lacking(rows) == [] for one in shown),
        "showed other rows": sum(rows.lacking(one) != [] for one in shown),
        "advised on other rows": sum(rows.unfounded(recommendations(run)) != [] for run in runs),
        "showed the owner's rows to the owner": int(shown_rows(control).lacking(theirs) == []),
    }
    return Outcome(users=names((intruder, owner)), counts=counts)


@workload(Mode.ATTACK, "naming other users' ids", title="Tools with another user's ids")
async def name_others_to_tools(probe: Investigation, *, intruder: User, owner: User, backend: int = 0) -> Outcome:
    """Call each tool plainly, with the owner's id under every usual name, and with the id of the owner's thread.

    Each call has to show what the plain one shows, or to be refused.
    """
    working = await tool_fixtures(probe, (owner, intruder), backend)
    both = names((intruder, owner))
    if len(working) < 2:
        await leave(working)
        return Outcome(users=both, missing=NOT_OFFERED)
    theirs, mine = working
    plain = refused = otherwise = 0
    named: list[Reply] = []
    try:
        for tool in mine.tools:
            usual = await mine.call(tool)
            plain += bool(usual)
            claiming = tool_call(tool, mine.thread, **dict.fromkeys(CLAIMS, owner.id))
            replies = [
                await mine.client.http.request("POST", EXECUTE, json=claiming),
                await mine.call(tool, thread=theirs.thread),
            ]
            named += replies
            refused += sum(isinstance(reply, Refused) for reply in replies)
            otherwise += sum(bool(reply) and body_of(reply) != body_of(usual) for reply in replies)
    finally:
        await leave(working)
    counts = {"tools": len(mine.tools), "answered plainly": plain, "with the ids": len(named)}
    return Outcome(users=both, counts=counts | {"refused": refused, "otherwise": otherwise})
