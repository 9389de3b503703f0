"""Tools called by hand, without an agent around them: one's own, more than one may, and after the session is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Answered, Refused, Reply, body_of
from netra_probe.clients.rest import BackendClient
from netra_probe.history.secret import Secret
from netra_probe.plans.messages import foreign
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.trials import tool_call
from netra_probe.target.deployment import Mode
from netra_probe.workloads.agents.identical_inputs import have_data
from netra_probe.workloads.auth.credential_end import GRACE
from netra_probe.workloads.database.pools import MOMENTS, READS, saturate_pool
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

TOOLS, EXECUTE = "/api/tools", "/api/tools/execute"
#: Tools that no ordinary user may call, and one that there surely is not.
PRIVILEGED = ("credit_ledger", "admin", "run_sql", "execute_shell", "no_such_tool")
NOT_OFFERED = "tools that one can call"


@dataclass(kw_only=True)
class ToolFixture:
    """What one user calls tools with: a connection of their own, the tools they are offered, a thread to look up."""

    user: User
    client: BackendClient
    tools: tuple[str, ...]
    thread: str
    secret: str

    async def call(
        self, tool: str, *, thread: str = "", token: Secret | None = None, mark: Mapping[str, Any] | None = None
    ) -> Reply:
        """Call a tool, and give it the id of a thread in case it takes one."""
        return await self.client.http.request(
            "POST", EXECUTE, json=tool_call(tool, thread or self.thread), token=token, attempt=mark
        )

    async def looks_up(self, tool: str, other: str) -> bool:
        """Whether a tool shows one's thread for its id, and not for the id of one's ``other`` thread as well.

        A tool that shows it for both shows whatever is its caller's, and looks nothing up.
        """
        own = await self.call(tool, mark={"object": {"kind": "thread", "id": self.thread}})
        return shows(own, self.secret) and not shows(await self.call(tool, thread=other), self.secret)

    async def read(self, mark: Mapping[str, Any]) -> None:
        """Read the thread oneself: that is what a call of somebody else's is compared with."""
        await self.client.thread(self.thread, attempt=mark)


async def tool_fixtures(probe: Investigation, users: Sequence[User], backend: int) -> list[ToolFixture]:
    """Everybody with data that tools find, at one backend; none where the target has no tools that one can call."""
    if not supported_route(probe, "POST", EXECUTE) or not supported_route(probe, "GET", TOOLS):
        return []
    return [
        bench for bench in await probe.together(_tool_fixture(probe, user, backend) for user in users) if bench.tools
    ]


async def _tool_fixture(probe: Investigation, user: User, backend: int) -> ToolFixture:
    client = backend_client(probe, user, backend)
    await have_data(probe, user)
    secret = user.canary("title", "rest")
    made = await client.create_thread(f"What only {user.name} is to know [{secret}]")
    thread = str(body_of(made).get("id", ""))
    user.threads_made += [thread] if thread else []
    tools = await tools_at(client)
    return ToolFixture(user=user, client=client, tools=tools, thread=thread, secret=secret)


async def tools_at(client: BackendClient) -> tuple[str, ...]:
    """The names of the tools that this client's user is offered."""
    listed = await client.http.request("GET", TOOLS)
    found: Any = listed.body if isinstance(listed, Answered) else []
    found = found.get("tools", []) if isinstance(found, dict) else found
    named = [tool.get("name") if isinstance(tool, dict) else tool for tool in found] if isinstance(found, list) else []
    return tuple(name for name in named if isinstance(name, str))


async def leave(working: Sequence[ToolFixture]) -> None:
    """Close the connections."""
    await asyncio.gather(*(bench.client.http.close() for bench in working))


@workload(title="Tool calls")
async def use_tools(
    probe: Investigation, users: Sequence[User] = (), *, rounds: int = 1, together: bool = True, backend: int = 0
) -> Outcome:
    """Everybody calls each of their tools on data of their own: the same tool in the same instant, or one by one.

    >>> await use_tools(probe)   # doctest: +SKIP
    Tool calls (alice, bob, carol): 12 tools, 12 called, 12 answered

    What a tool finds is its caller's. Results that wait under the tool's name are swapped where calls overlap (fault
    G2); what a tool reads through a cache without a user in its key is the first caller's, overlapping or not (fault
    K1).
    """
    party = list(users) or probe.users
    working = await tool_fixtures(probe, party, backend)
    replies: list[Reply] = []
    try:
        for _ in range(rounds):
            calls = [(bench, tool) for bench in working for tool in bench.tools]
            if not together:
                replies += [await bench.call(tool) for bench, tool in calls]
                continue
            for name in dict.fromkeys(tool for _, tool in calls):
                replies += await asyncio.gather(*(bench.call(tool) for bench, tool in calls if tool == name))
    finally:
        await leave(working)
    if not working:
        return Outcome(users=names(party), missing=NOT_OFFERED)
    counts = {"tools": sum(len(bench.tools) for bench in working), "called": len(replies)}
    return Outcome(users=names(party), counts=counts | {"answered": sum(map(bool, replies))})


@workload(Mode.ATTACK, "calling tools in another user's name", title="Tool calls without permission")
async def call_unpermitted_tools(probe: Investigation, *, intruder: User, owner: User, backend: int = 0) -> Outcome:
    """Call tools in the owner's name, tools that one may not call, tools that there are not, and tools as nobody.

    Who claims to be the owner beside a valid token is still the intruder (fault A9); everything else is refused, and
    after it the intruder's own call works as before.
    """
    working = await tool_fixtures(probe, (owner, intruder), backend)
    both = names((intruder, owner))
    if len(working) < 2:
        await leave(working)
        return Outcome(users=both, missing=NOT_OFFERED)
    theirs, mine = working
    claim = {"user_id": owner.id}
    aim = foreign("claim a user id for a tool", "thread", theirs.thread, owner) | {"expect": intruder.name}
    control = {"object": aim["object"]}
    url = probe.target.backend_urls[backend % len(probe.target.backend_urls)]
    nobody = probe.wire.http(url, surface="rest", backend=mine.client.http.backend)
    served: list[Reply] = []
    refused: list[Reply] = []
    try:
        for tool in mine.tools:
            await theirs.call(tool, mark=control)
            await mine.call(tool)
            await theirs.read(control)
            body = tool_call(tool, mine.thread, **claim) | claim
            headers = {"X-User-ID": owner.id}
            http = mine.client.http
            served.append(await http.request("POST", EXECUTE, json=body, headers=headers, attempt=aim))
            await theirs.read(control)
            mark = {"attempt": "no credentials", "expect": "refused"}
            body = tool_call(tool, theirs.thread)
            refused.append(await nobody.request("POST", EXECUTE, json=body, anonymous=True, attempt=mark))
        for tool in (name for name in PRIVILEGED if name not in mine.tools):
            refused.append(await mine.call(tool, mark={"attempt": f"the tool {tool}", "expect": "refused"}))
        served += [await mine.call(tool) for tool in mine.tools]
    finally:
        await leave(working)
        await nobody.close()
    held = sum(isinstance(reply, Refused) for reply in refused)
    counts = {"answered as the caller": sum(map(bool, served)), "that must be refused": len(refused), "refused": held}
    return Outcome(users=both, counts=counts)


def shows(reply: Reply, secret: str) -> bool:
    """Whether an answer holds a secret."""
    return isinstance(reply, Answered) and secret in str(reply.body)


@workload(Mode.ATTACK, "naming other users' ids", title="Tool calls with another user's thread")
async def look_up_neighbours(probe: Investigation, users: Sequence[User] = (), *, backend: int = 0) -> Outcome:
    """Everybody gives tools the id of the next one's thread, all in the same instant; then everybody their own.

    Only tools that show their caller's own thread by its id are tried. One that reads with the service's rights shows
    anybody's (fault G6).
    """
    party = list(users) or probe.users
    working = await tool_fixtures(probe, party, backend)
    tried: list[Reply] = []
    looking: set[str] = set()
    try:
        aims = [foreign("foreign id for a tool", "thread", bench.thread, bench.user) for bench in working]
        for bench in working:
            other = await bench.user.new_thread()
            looking |= {tool for tool in bench.tools if await bench.looks_up(tool, other)}
        for tool in sorted(looking):
            controls = [(bench, {"object": aim["object"]}) for bench, aim in zip(working, aims, strict=True)]
            await asyncio.gather(*(bench.read(control) for bench, control in controls))
            following = [*working[1:], working[0]]
            tried += await asyncio.gather(
                *(
                    bench.call(tool, thread=of.thread, mark=aim)
                    for bench, of, aim in zip(working, following, [*aims[1:], aims[0]], strict=True)
                    if of is not bench
                )
            )
            await asyncio.gather(*(bench.read(control) for bench, control in controls))
    finally:
        await leave(working)
    if not looking:
        return Outcome(users=names(party), missing="a tool that looks up what it is given")
    counts = {"tools that take ids": len(looking), "foreign ids": len(tried)}
    refused = sum(isinstance(reply, Refused) for reply in tried)
    return Outcome(users=names(party), counts=counts | {"refused": refused})


@workload(Mode.ATTACK, "hanging up on requests", title="Abandoned tool calls")
async def give_up_on_tools(
    probe: Investigation, quitter: User, others: Sequence[User] = (), *, cycles: int = 4, backend: int = 0
) -> Outcome:
    """Hang up on calls of tools, and on reads of what tools find, at various moments; others call theirs after each.

    What nobody waits for any more must leave no answer on the line that the next caller's tools read from (fault P3),
    and no task or connection: what the target holds on to is measured after each cycle.
    """
    others = list(others) or [user for user in probe.users if user is not quitter]
    await saturate_pool(probe, [quitter, *others])
    working = await tool_fixtures(probe, (quitter, *others), backend)
    acting = names((quitter, *others))
    if len(working) <= len(others):
        await leave(working)
        return Outcome(users=acting, missing=NOT_OFFERED)
    quitting, *staying = working
    reads = [route for candidate in READS[:3] if (route := supported_route(probe, "GET", candidate))]
    http = quitting.client.http
    given_up = 0
    replies: list[Reply] = []
    try:
        async for cycle in probe.cycles(cycles):
            moment = MOMENTS[cycle % len(MOMENTS)]
            for tool in quitting.tools:
                await http.abandon("POST", EXECUTE, after=moment, json=tool_call(tool, quitting.thread))
                given_up += 1
                replies += [await bench.call(tool) for bench in staying]
            for route in reads:
                for at in MOMENTS[cycle % 2 :: 2]:
                    await http.abandon("GET", route, after=at)
                    given_up += 1
                replies += [await bench.call(tool) for tool in quitting.tools for bench in staying]
            staying.reverse()
    finally:
        await leave(working)
    counts = {"abandoned": given_up, "called": len(replies), "answered": sum(map(bool, replies))}
    return Outcome(users=acting, counts=counts)


@workload(Mode.PROBE, "logging out")
async def tools_after_logout(probe: Investigation, user: User, *, backend: int = 0) -> Outcome:
    """Call every tool in a session of its own, log out of it, and call them all again with the same token.

    What a token permitted ends with it (fault A6); the user's main session goes on as before.
    """
    working = await tool_fixtures(probe, (user,), backend)
    session = await user.another_session() if working else None
    if session is None or session.access is None:
        await leave(working)
        missing = "a further session" if working else NOT_OFFERED
        return Outcome(users=(user.name,), missing=missing)
    (bench,) = working
    try:
        before = [await bench.call(tool, token=session.access, mark=session.mark) for tool in bench.tools]
        if not await session.logout():
            return Outcome(users=(user.name,), missing="POST /auth/logout")
        await probe.wire.pause(GRACE)
        late = {"attempt": "after logout", "expect": "refused", **session.mark}
        after = [await bench.call(tool, token=session.access, mark=late) for tool in bench.tools]
        if any(after):
            # The control: whether one needs a credential for this at all.
            http = probe.wire.http(bench.client.http.base_url, surface="rest", backend=bench.client.http.backend)
            await probe.together(
                http.request("POST", EXECUTE, json=tool_call(tool, bench.thread), anonymous=True)
                for tool in bench.tools
            )
            await http.close()
        own = [await bench.call(tool) for tool in bench.tools]
    finally:
        await leave(working)
        await session.http.close()
    counts = {"called before": sum(map(bool, before)), "called afterwards": len(after)}
    counts |= {
        "refused": sum(isinstance(reply, Refused) for reply in after),
        "calls in the other session": sum(map(bool, own)),
    }
    return Outcome(users=(user.name,), counts=counts)
