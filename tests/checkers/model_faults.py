"""The model platform with one rule broken at a time, each under the id it has in the fault catalogue.

``caught_by`` is exactly the set of checkers that find it: a fault with one entry is the reason why that checker exists.
"""

from __future__ import annotations

import base64
from typing import Any, ClassVar

from .model import World
from .model_wire import Json, Run, Script, Settings, Tab, Thread


class Fault(World):
    """A broken platform; ``settings`` are what it needs to show."""

    caught_by: ClassVar[frozenset[str]]
    needs: ClassVar[dict[str, Any]] = {}
    #: Kinds of finding of which at least one must be among those of the checkers that catch it.
    kinds: ClassVar[frozenset[str]]

    @classmethod
    def settings_for(cls, settings: Settings) -> Settings:
        """The given settings, with what the fault needs to be reached."""
        values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
        return Settings(**{**values, **cls.needs})

    def others(self, user: str) -> list[str]:
        return [name for name in self.names if name != user]


class CacheWithoutUser(Fault):
    """K1: a response cached under its path alone; the first requester's body is everybody's."""

    id = "K1"
    caught_by = frozenset({"C1"})
    kinds = frozenset({"foreign canary"})
    needs: ClassVar[dict[str, Any]] = {"runs": 3, "quotes": False}
    cached: Json | None = None

    def summary(self, user: str) -> Json:
        if self.cached is None:
            self.cached = super().summary(user)
        return self.cached

    def settle(self) -> None:
        for name in self.names:
            for _ in self.overview(name):
                pass


class CompletionCache(Fault):
    """G5: completions cached by a prompt that is the same for all, so that one user's answer is another's."""

    id = "G5"
    caught_by = frozenset({"C1"})
    kinds = frozenset({"foreign canary"})
    needs: ClassVar[dict[str, Any]] = {"cancels": False, "reconnects": False, "quotes": False}
    first: str = ""

    def answer(self, run: Run) -> str:
        self.first = self.first or super().answer(run)
        return self.first


class EncodedLeak(Fault):
    """G1: another user's memory in a tool result, base64 in an attachment."""

    id = "G1"
    caught_by = frozenset({"C1"})
    kinds = frozenset({"foreign canary"})
    needs: ClassVar[dict[str, Any]] = {"cancels": False, "reconnects": False, "quotes": False}

    def answer(self, run: Run) -> str:
        secret = self.canaries[self.others(run.user)[0], "profile"]
        return base64.b64encode(f"{'x' * (len(self.runs) % 3)}{secret}".encode()).decode()


class Broadcast(Fault):
    """W1: every event goes to everybody."""

    id = "W1"
    caught_by = frozenset({"C1", "C2"})
    kinds = frozenset({"foreign canary", "foreign thread id"})
    needs: ClassVar[dict[str, Any]] = {"reconnects": False, "cancels": False, "quotes": False}

    def audience(self, run: Run) -> list[Tab]:
        return [tab for tabs in self.tabs.values() for tab in tabs if tab.is_open]


class LastWriter(Fault):
    """X1: the current user is a global; an event is labelled with whoever asked last."""

    id = "X1"
    caught_by = frozenset({"C2"})
    kinds = frozenset({"foreign user id"})
    needs: ClassVar[dict[str, Any]] = {"dialect": "flat", "runs": 3, "deadlines": False}

    def frame(self, run: Run, name: str, body: Json) -> str:
        text = super().frame(run, name, body)
        return text.replace(self.user_ids[run.user], self.user_ids[self.runs[-1].user])


class SharedIdentity(Fault):
    """Identity not bound: each connection is welcomed as one demonstration user."""

    id = "F1"
    caught_by = frozenset({"C2"})
    kinds = frozenset({"identity not bound"})

    def welcome(self, tab: Tab) -> str:
        return super().welcome(tab).replace(self.user_ids[tab.user], "demo-user-001")


class CollidingRuns(Fault):
    """X6: run ids count up for each user on their own, and so collide."""

    id = "X6"
    caught_by = frozenset({"C2"})
    kinds = frozenset({"foreign run id"})
    needs: ClassVar[dict[str, Any]] = {"deadlines": False, "reconnects": False}

    def new_run(self, thread: Thread, tab: Tab, prompt: str) -> Run:
        run = super().new_run(thread, tab, prompt)
        run.id = f"run_{sum(one.user == tab.user for one in self.runs):06x}"
        return run


class LostRuns(Fault):
    """F4: an in-process registry with two workers; what runs on the other one is not heard."""

    id = "F4"
    caught_by = frozenset({"C3"})
    kinds = frozenset({"lost"})
    needs: ClassVar[dict[str, Any]] = {"runs": 3, "reconnects": False, "deadlines": False, "cancels": False}

    def audience(self, run: Run) -> list[Tab]:
        return [] if self.runs.index(run) % 3 == 1 else super().audience(run)

    def send(self, run: Run, name: str, text: str) -> None:
        if self.runs.index(run) % 3 != 1:
            super().send(run, name, text)


class ReplayWithoutCursor(Fault):
    """W9: a new connection gets the whole buffer again, with what had arrived before the cut."""

    id = "W9"
    caught_by = frozenset({"C3"})
    kinds = frozenset({"duplicate"})
    needs: ClassVar[dict[str, Any]] = {"tabs": 1, "numbered": True, "cancels": False}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sent: dict[str, list[str]] = {name: [] for name in self.names}

    def send(self, run: Run, name: str, text: str) -> None:
        super().send(run, name, text)
        self.sent[run.user].append(text)

    def arrived(self, tab: Tab) -> None:
        self.tabs[tab.user].append(tab)
        for text in self.sent[tab.user]:
            self.receive(tab, text)
        self.away[tab.user].clear()

    def settle(self) -> None:
        for name in self.names:
            self.close(self.tabs[name][0])
            self.connect(name)


class UnknownRun(Fault):
    """W6: what was kept for a user of another investigation is flushed to the next one who connects."""

    id = "W6"
    caught_by = frozenset({"C3"})
    kinds = frozenset({"unexpected"})
    needs: ClassVar[dict[str, Any]] = {"deadlines": False}

    def settle(self) -> None:
        user = self.names[0]
        stranger = Run(self.fresh("run"), user, Thread(self.fresh("thread"), "", ""), self.tabs[user][0], "")
        for name in ("agent_started", "agent_completed"):
            self.receive(self.tabs[user][0], super().frame(stranger, name, {"status": "completed"}))


class Jitter(Fault):
    """W10: one task for each event; they overtake each other."""

    id = "W10"
    caught_by = frozenset({"C3", "C4"})
    kinds = frozenset({"reordered", "no start", "event after the end", "tool without start"})
    needs: ClassVar[dict[str, Any]] = {
        "numbered": True, "cancels": False, "reconnects": False, "deadlines": False, "runs": 3, "tools": 2,
    }  # fmt: skip

    def perform(self, run: Run) -> Script:
        texts = [(name, self.frame(run, name, body)) for name, body in self.events(run)]
        self.random.shuffle(texts)
        texts.sort(key=lambda pair: pair[0] in ("agent_completed", "final_report") and len(texts) > 3)
        if texts[0][0] == "agent_started":
            texts[0], texts[1] = texts[1], texts[0]
        for name, text in texts:
            yield
            self.send(run, name, text)
        run.terminal = True


class DroppedEvents(Fault):
    """W8: a bounded queue drops what a slow reader has not taken; the numbers show a gap."""

    id = "W8"
    caught_by = frozenset({"C3"})
    kinds = frozenset({"gap"})
    needs: ClassVar[dict[str, Any]] = {"numbered": True, "cancels": False, "deadlines": False, "reconnects": False}

    def send(self, run: Run, name: str, text: str) -> None:
        if name != "agent_thinking":
            super().send(run, name, text)


class SilentTab(Fault):
    """W3: the old connection's close removes the new one from the registry."""

    id = "W3"
    caught_by = frozenset({"C3"})
    kinds = frozenset({"lost"})
    needs: ClassVar[dict[str, Any]] = {"tabs": 1, "reconnects": False, "deadlines": False, "cancels": False, "users": 3}

    def live(self, user: str, scripts: list[Script]) -> Script:
        if user == self.names[0]:
            old = self.connect(user)
            yield
            new = self.connect(user)
            self.close(old)
            new.is_open = False  # The registry has forgotten it; the probe has not.
            thread = yield from self.make_thread(user)
            yield from self.ask(new, thread, scripts)
            yield from self.look(user, thread)
        else:
            yield from super().live(user, scripts)

    def send(self, run: Run, name: str, text: str) -> None:
        if self.audience(run):
            super().send(run, name, text)


class WrongCancel(Fault):
    """G4: a cancel ends somebody else's run."""

    id = "G4"
    caught_by = frozenset({"C4"})
    kinds = frozenset({"cancelled by nobody"})
    needs: ClassVar[dict[str, Any]] = {"deadlines": False, "reconnects": False, "cancels": False}

    def perform(self, run: Run) -> Script:
        if self.runs.index(run) == 0:
            run.cancelled = True  # Another user's cancel, which that user's client had sent before the window.
        yield from super().perform(run)


class EndsTwice(Fault):
    """G2: an error handler reports a failure of a run that has completed."""

    id = "G2"
    caught_by = frozenset({"C4"})
    kinds = frozenset({"second end"})
    needs: ClassVar[dict[str, Any]] = {"cancels": False}

    def events(self, run: Run) -> list[tuple[str, Json]]:
        told = [event for event in super().events(run) if event[0] != "final_report"]
        return [*told, ("agent_error", {"error_message": "tool registry is closed"})]


class ForgottenTool(Fault):
    """G2: results keyed by tool name; the second call of a tool overwrites the first, which never completes."""

    id = "G2b"
    caught_by = frozenset({"C4"})
    kinds = frozenset({"tool without end"})
    needs: ClassVar[dict[str, Any]] = {"cancels": False, "reconnects": False, "tabs": 1}

    def events(self, run: Run) -> list[tuple[str, Json]]:
        told = super().events(run)
        return [*told[:2], ("tool_executing", {"tool_name": "search", "parameters": {}}), *told[2:]]


class SwappedAnswers(Fault):
    """W5: request ids map to streams that are shared; two answers to one user change places."""

    id = "W5"
    caught_by = frozenset({"C8"})
    kinds = frozenset({"swapped"})

    def settle(self) -> None:
        for name in self.names:
            thread = next(thread for thread in self.threads.values() if thread.owner == name)
            first = self.request(name, "GET", "/api/users/me/summary", "/api/users/me/summary")
            second = self.request(name, "GET", "/api/threads/{id}/messages", f"/api/threads/{thread.id}/messages")
            for call, other in ((first, second), (second, first)):
                self.done(call, "ok", status=200, payload="{}", detail={"nonce_back": other.nonce})


class OutOfStep(Fault):
    """P3: after a cancel the pooled connection answers each query with the result of the one before."""

    id = "P3"
    caught_by = frozenset({"C8"})
    kinds = frozenset({"wrong object"})

    def settle(self) -> None:
        name = self.names[0]
        mine = [thread for thread in self.threads.values() if thread.owner == name]
        mine.append(Thread(self.fresh("thread"), name, "second"))
        self.record("ok", "own", user=name, ids={"thread_id": mine[1].id}, detail={"kind": "thread", "id": mine[1].id})
        calls = [self.request(name, "GET", "/api/threads/{id}", f"/api/threads/{thread.id}") for thread in mine[:2]]
        for call, thread in zip(calls, reversed(mine[:2]), strict=True):
            self.respond(call, 200, {"id": thread.id, "object": "thread", "title": thread.title})


class RefusalAsFailure(Fault):
    """Not in the catalogue: a refusal that is wrapped in a server error leaks nothing, and says the wrong thing."""

    id = "hygiene"
    caught_by = frozenset({"H1"})
    kinds = frozenset({"refusal as server error"})

    def settle(self) -> None:
        name = self.names[0]
        call = self.request(name, "GET", "/api/threads/{id}", "/api/threads/thread-of-nobody")
        self.done(call, "info", status=500, payload='{"detail": "500: 403: Access denied"}')


FAULTS: tuple[type[Fault], ...] = (
    CacheWithoutUser,
    CompletionCache,
    EncodedLeak,
    Broadcast,
    LastWriter,
    SharedIdentity,
    CollidingRuns,
    LostRuns,
    ReplayWithoutCursor,
    UnknownRun,
    Jitter,
    DroppedEvents,
    SilentTab,
    WrongCancel,
    EndsTwice,
    ForgottenTool,
    SwappedAnswers,
    OutOfStep,
)
