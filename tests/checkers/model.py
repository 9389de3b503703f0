"""A small model of a correct platform: what it may send, to whom, in which order, and everything a probe records of it.

``World.play`` interleaves the users' clients and the platform's runs at random, so that one seed is one legal
history and all legal reorderings across users are reachable. ``model_faults`` breaks one rule at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from random import Random
from typing import Any, ClassVar

from netra_probe.history.operation import Operation

from .model_wire import History, Json, Run, Script, Settings, Tab, Thread, Transport, encode


class World(Transport):
    """A correct platform and its probe; subclasses override one rule to make it faulty."""

    #: Id in the fault catalogue; "" for the correct platform.
    id: ClassVar[str] = ""

    def __init__(self, random: Random, settings: Settings | None = None) -> None:
        super().__init__(random, settings)
        self.threads: dict[str, Thread] = {}
        self.tabs: dict[str, list[Tab]] = {name: [] for name in self.names}
        self.away: dict[str, list[tuple[str, str]]] = {name: [] for name in self.names}
        self.runs: list[Run] = []
        self.seen_end: set[str] = set()
        self.tab_count = 0

    def events(self, run: Run) -> list[tuple[str, Json]]:
        """What a run sends, in order."""
        told: list[tuple[str, Json]] = [
            ("agent_started", {"status": "started"}),
            ("agent_thinking", {"thought": f"about {run.prompt}"}),
        ]
        for number in range(self.random.randint(0, self.settings.tools)):
            tool = self.random.choice(("search", "ledger"))
            told.append(("tool_executing", {"tool_name": tool, "parameters": {"step": number}}))
            told.append(("tool_completed", {"tool_name": tool, "result": self.tool_result(run)}))
            if self.random.random() < 0.4:
                told.append(("agent_thinking", {"thought": "so"}))
        told.append(("agent_completed", {"status": "completed", "result": self.answer(run)}))
        if self.random.random() < 0.5:
            told.append(("final_report", {"report": "done"}))
        return told

    def answer(self, run: Run) -> str:
        return f"advice on {run.prompt}"

    def tool_result(self, run: Run) -> str:
        return f"rows of {self.canaries[run.user, 'profile']}"

    # Routing

    def audience(self, run: Run) -> list[Tab]:
        """Which connections an event goes to: all of the user's, or the one that asked."""
        mine = [tab for tab in self.tabs[run.user] if tab.is_open]
        if self.settings.policy == "asker" and mine:
            return [run.tab] if run.tab.is_open else [mine[-1]]
        return mine

    def send(self, run: Run, name: str, text: str) -> None:
        """One event on its way: to every connection of the audience, or kept until the user is back."""
        audience = self.audience(run)
        if not audience:
            self.away[run.user].append((run.id, text))
        for tab in audience:
            self.receive(tab, text)

    def receive(self, tab: Tab, text: str) -> Operation:
        operation = self.record("ok", "receive", user=tab.user, connection=tab.name, surface="websocket", payload=text)
        if '"agent_completed"' in text or '"agent_cancelled"' in text:
            self.seen_end.update(run.id for run in self.runs if run.user == tab.user and run.id in text)
        return operation

    def perform(self, run: Run) -> Script:
        """One run of the platform, one event at a time."""
        ended = False
        for name, body in self.events(run):
            yield
            if run.cancelled and name != "agent_started" and not ended:
                name, body = "agent_cancelled", {"status": "cancelled"}
            text = self.frame(run, name, body)
            self.send(run, name, text)
            if name == "agent_cancelled":
                break
            ended = ended or name == "agent_completed"
        run.terminal = True

    # Clients

    def connect(self, user: str) -> Tab:
        self.tab_count += 1
        name = f"{user}/ws-{self.tab_count}"
        call = self.record("invoke", "connect", user=user, connection=name, surface="websocket")
        tab = Tab(name, user, call.index)
        self.receive(tab, self.welcome(tab))
        self.done(call, "ok", status=101)
        self.arrived(tab)
        return tab

    def arrived(self, tab: Tab) -> None:
        """A connection joins its user's; what was kept while the user was away is sent, once."""
        self.tabs[tab.user].append(tab)
        for _, text in self.away[tab.user]:
            self.receive(tab, text)
        self.away[tab.user].clear()

    def close(self, tab: Tab) -> None:
        tab.is_open = False
        self.tabs[tab.user].remove(tab)
        self.record("ok", "closed", user=tab.user, connection=tab.name, surface="websocket", status=1006)

    def ping(self, tab: Tab) -> None:
        call = self.record(
            "invoke", "send", user=tab.user, connection=tab.name, surface="websocket", payload='{"type":"ping"}'
        )
        self.done(call, "ok")
        self.receive(tab, '{"type":"pong"}')

    def read_thread(self, user: str, thread: Thread) -> tuple[int, Json]:
        """What ``GET /api/threads/{id}`` answers to a user."""
        if thread.owner != user:
            return 403, {"detail": f"thread {thread.id} is not yours"}
        return 200, {"id": thread.id, "object": "thread", "title": thread.title, "message_count": len(thread.messages)}

    def summary(self, user: str) -> Json:
        """What ``GET /api/users/me/summary`` answers: text about the user, without an id."""
        mine = sum(thread.owner == user for thread in self.threads.values())
        return {"about": f"likes {self.canaries[user, 'profile']}", "threads": mine}

    def make_thread(self, user: str) -> Generator[None, None, Thread]:
        title = f"plans {self.canaries[user, 'title']}"
        call = self.request(user, "POST", "/api/threads", "/api/threads", encode({"title": title}))
        yield
        thread = Thread(self.fresh("thread"), user, title)
        self.threads[thread.id] = thread
        if self.settings.deadlines and self.random.random() < 0.3:
            self.done(call, "info", detail={"silent": 5.0})  # It happened all the same.
        else:
            self.respond(call, 201, {"id": thread.id, "title": title})
        self.record("ok", "own", user=user, ids={"thread_id": thread.id}, detail={"kind": "thread", "id": thread.id})
        return thread

    def look(self, user: str, thread: Thread, **detail: Any) -> Script:
        call = self.request(user, "GET", "/api/threads/{id}", f"/api/threads/{thread.id}", **detail)
        yield
        self.respond(call, *self.read_thread(user, thread))

    def overview(self, user: str) -> Script:
        call = self.request(user, "GET", "/api/users/me/summary", "/api/users/me/summary")
        yield
        self.respond(call, 200, self.summary(user))

    def new_run(self, thread: Thread, tab: Tab, prompt: str) -> Run:
        return Run(f"run_{thread.id}_{len(self.runs)}_{self.fresh('')[:8]}", tab.user, thread, tab, prompt)

    def ask(self, tab: Tab, thread: Thread, scripts: list[Script]) -> Script:
        """One question and its end: answered, given up at a deadline although it goes on, or cut off."""
        user, nonce = tab.user, self.fresh("turn")
        prompt = f"where do I overspend {self.canaries[user, 'prompt']}"
        process: Json = {"user": user, "connection": tab.name, "surface": "websocket"}
        call = self.record("invoke", "ask", nonce=nonce, payload=prompt, ids={"thread_id": thread.id}, **process)
        message = {"type": "user_message", "payload": {"content": prompt, "turn_id": nonce}, "thread_id": thread.id}
        sending = self.record("invoke", "send", payload=encode(message), **process)
        self.done(sending, "ok")
        run = self.new_run(thread, tab, prompt)
        self.runs.append(run)
        scripts.append(self.perform(run))
        ids = {"run_id": run.id, "thread_id": thread.id}
        gives_up = self.settings.deadlines and self.random.random() < 0.3
        patience = self.random.randint(0, 6)
        cut = self.settings.reconnects and self.random.random() < 0.5
        while run.id not in self.seen_end and not self.given_up(run):
            yield
            patience -= 1
            if self.settings.cancels and run.number and not run.cancelled and self.random.random() < 0.1:
                stop = {"type": "stop_agent", "payload": {"run_id": run.id}, "thread_id": thread.id}
                self.done(self.record("invoke", "send", payload=encode(stop), **process), "ok")
                self.cancel(run)
            if gives_up and patience < 0:
                self.done(
                    call, "info", ids=self.random.choice((ids, {"thread_id": thread.id})), detail={"silent": 20.0}
                )
                return
            if cut and patience < 0 and tab.is_open:
                self.close(tab)
                self.done(call, "info", ids=ids, detail={"closed": 1006})
                yield
                self.connect(user)
                return
        if run.id in self.seen_end:
            self.done(call, "ok", ids=ids, detail={"terminal": "agent_completed"})
        else:
            self.done(call, "info", ids=self.known_ids(run), detail={"silent": 20.0})

    def known_ids(self, run: Run) -> Json:
        """What the client knows of a run that never ended: its id only if any of its events came."""
        came = any(
            run.id in operation.payload
            for operation in self.operations
            if operation.action == "receive" and operation.user == run.user
        )
        return {"thread_id": run.thread.id, **({"run_id": run.id} if came else {})}

    def given_up(self, run: Run) -> bool:
        """Whether the deadline has passed; on a correct platform the end always comes first."""
        return run.terminal and run.id not in self.seen_end

    def cancel(self, run: Run) -> None:
        run.cancelled = True

    def live(self, user: str, scripts: list[Script]) -> Script:
        """One user's client: connect, own a thread, ask, read."""
        for _ in range(self.settings.tabs):
            self.connect(user)
            yield
        thread = yield from self.make_thread(user)
        for _ in range(self.settings.runs):
            tab = self.random.choice(self.tabs[user])
            yield from self.ask(tab, thread, scripts)
            yield from self.random.choice((lambda: self.look(user, thread), lambda: self.overview(user)))()
        yield from self.look(user, thread)
        if self.settings.attempts:
            yield from self.attack(user)
        if self.settings.quotes:
            yield from self.quote(user, thread)

    def attack(self, user: str) -> Script:
        """Ask for somebody else's thread by its id, and be refused; the owner's own read is the positive control."""
        foreign = [thread for thread in self.threads.values() if thread.owner != user]
        if foreign:
            thread = self.random.choice(foreign)
            yield from self.look(
                user, thread, attempt="foreign id", expect="refused", owner=thread.owner,
                object={"kind": "thread", "id": thread.id},
            )  # fmt: skip
            yield from self.look(thread.owner, thread)

    def quote(self, user: str, thread: Thread) -> Script:
        """Send what one should not know, and get one's own words back: no leak of the platform."""
        victim = self.random.choice([name for name in self.names if name != user])
        words = f"they say {self.canaries[victim, 'prompt']} of {self.user_ids[victim]}"
        path = f"/api/threads/{thread.id}/messages"
        call = self.request(user, "POST", "/api/threads/{id}/messages", path, encode({"content": words}))
        yield
        thread.messages.append(words)
        self.respond(call, 201, {"content": words, "role": "user"})

    # The whole

    def play(self) -> History:
        """Everything that happens, as one legal interleaving, with a fence on every connection at the end."""
        self.introduce()
        start = len(self.operations)
        self.interleave(self.names)
        self.settle()
        for name in self.names:
            for tab in self.tabs[name]:
                self.ping(tab)
        return History(tuple(self.operations), start)

    def interleave(self, users: Sequence[str]) -> None:
        """Let these users live, and the platform work for them, in any order."""
        scripts: list[Script] = []
        scripts += [self.live(name, scripts) for name in users]
        self.do_all(scripts)

    def do_all(self, scripts: list[Script]) -> None:
        """Let all of these go on to their end, in any order."""
        while scripts:
            # Whoever was served goes to the end: even the dullest choices let everybody get on.
            script = scripts.pop(self.random.randrange(len(scripts)))
            scripts.append(script)
            try:
                next(script)
            except StopIteration:
                scripts.remove(script)

    def settle(self) -> None:
        """What happens after everybody has finished and before the last fence."""
