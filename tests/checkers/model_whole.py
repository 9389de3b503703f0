"""The model platform with all that the other checkers look at: attacks, forged tokens, logout, stores, transactions."""

from __future__ import annotations

from typing import Any, ClassVar

from .model import World
from .model_faults import Fault
from .model_wire import Json, Run, Script, Thread, encode

#: Longer than an end of a credential may take to arrive everywhere.
GRACE = 10_000_000_000


class Whole(World):
    """A correct platform that is also attacked, logged out of, and looked into from behind."""

    def settle(self) -> None:
        super().settle()
        self.hold_two_conversations()
        self.attack_threads()
        self.forge_tokens()
        self.log_out()
        self.transact()
        self.measure()
        self.keep_promises()
        self.look_into_stores()

    def mine(self, user: str) -> Thread:
        return next(thread for thread in self.threads.values() if thread.owner == user)

    # Conversations

    def hold_two_conversations(self) -> None:
        """One user asks in two threads at once, and then reads both."""
        user = self.names[0]
        for _ in self.make_thread(user):
            pass
        threads = [thread for thread in self.threads.values() if thread.owner == user]
        tab, first, scripts = self.connect(user), len(self.runs), list[Script]()
        scripts += [self.ask(tab, thread, scripts) for thread in threads]
        self.do_all(scripts)
        for thread in threads:
            call = self.request(user, "GET", "/api/threads/{id}/messages", f"/api/threads/{thread.id}/messages")
            self.respond(call, 200, [self.stored(run) for run in self.runs[first:] if self.stored_in(run) is thread])

    def stored(self, run: Run) -> Json:
        """The answer of a run as a message of the thread in which it was stored."""
        return {"role": "assistant", "run_id": run.id, "thread_id": self.stored_in(run).id, "content": "Spend less."}

    def stored_in(self, run: Run) -> Thread:
        return run.thread

    # Objects

    def attack_threads(self) -> None:
        """One user tries to rename another's thread and is refused; the owner renames it and reads it."""
        owner, attacker = self.names[0], self.names[1]
        thread = self.mine(owner)
        for _ in self.look(owner, thread):
            pass
        self.rename(owner, thread, f"{thread.title} (2)")
        for _ in self.look(owner, thread):
            pass
        aim = {
            "attempt": "foreign id",
            "expect": "refused",
            "owner": owner,
            "object": {"kind": "thread", "id": thread.id},
        }
        self.rename(attacker, thread, "taken over", **aim)
        for _ in self.look(owner, thread):
            pass

    def rename(self, user: str, thread: Thread, title: str, **attempt: Any) -> None:
        path = f"/api/threads/{thread.id}"
        call = self.request(user, "PUT", "/api/threads/{id}", path, encode({"title": title}), **attempt)
        if self.may_write(user, thread):
            thread.title = title
        body = {"id": thread.id, "title": title} if thread.owner == user else {"detail": "not yours"}
        self.respond(call, 200 if thread.owner == user else 403, body)

    def may_write(self, user: str, thread: Thread) -> bool:
        return thread.owner == user

    # Credentials

    def forge_tokens(self) -> None:
        attacker = self.names[1]
        self.present(attacker, "own token", attacker, expect="self", control=True)
        for name in ("alg none", "expired token", "payload of another user"):
            self.present(attacker, name, self.taken_for(name), expect="refused")
        self.present(attacker, "own token", attacker, expect="self", control=True)

    def taken_for(self, attempt: str) -> str | None:
        """Whom the platform takes the bearer of a forged token for."""
        return None

    def present(self, user: str, attempt: str, who: str | None, **detail: Any) -> None:
        call = self.record("invoke", "attempt", user=user, surface="auth", detail={"attempt": attempt, **detail})
        ids = {"user_id": self.user_ids[who]} if who else {}
        self.done(call, "ok" if who else "fail", status=200 if who else 401, ids=ids)

    def log_out(self) -> None:
        user = self.names[-1]
        self.me(user)
        for tab in list(self.tabs[user]):
            self.ping(tab)
        self.respond(self.request(user, "POST", "/auth/logout", "/auth/logout"), 200, {"status": "success"})
        self.end_sockets(user)
        self.clock += GRACE
        self.me(user, attempt="after logout", expect="refused")

    def end_sockets(self, user: str) -> None:
        for tab in list(self.tabs[user]):
            self.close(tab)

    def me(self, user: str, **detail: Any) -> None:
        call = self.request(user, "GET", "/auth/me", "/auth/me", **detail)
        if detail and not self.knows_after_logout():
            self.respond(call, 401, {"detail": "revoked"})
        else:
            self.respond(call, 200, {"user_id": self.user_ids[user], "email": f"{user}@example.org"})

    def knows_after_logout(self) -> bool:
        """Whether the platform still knows who has logged out."""
        return False

    # Transactions, resources, stores

    def transact(self) -> None:
        """Two users append to one list at the same time; then both read it."""
        first, second = self.names[:2]
        calls = [
            self.record("invoke", "txn", user=user, surface="rest", detail={"txn": steps})
            for user, steps in ((first, [["append", "list", 1]]), (second, [["append", "list", 2]]))
        ]
        for call in calls:
            self.done(call, "ok", detail=call.detail)
        for user in (first, second):
            call = self.record("invoke", "txn", user=user, surface="rest", detail={"txn": [["r", "list", None]]})
            self.done(call, "ok", detail={"txn": [["r", "list", self.read_list()]]})

    def read_list(self) -> list[int]:
        return [1, 2]

    def measure(self) -> None:
        for cycle in range(5):
            detail = {"name": "connections", "value": self.connections_after(cycle), "cycle": cycle}
            self.record("ok", "gauge", surface="database", detail=detail)

    def connections_after(self, cycle: int) -> int:
        return 5

    def keep_promises(self) -> None:
        detail = {"promise": "a set beats the file", "about": "works", "expected": "set", "observed": self.winner()}
        self.record("ok", "expect", surface="component", detail=detail)

    def winner(self) -> str:
        return "set"

    def look_into_stores(self) -> None:
        for thread in self.threads.values():
            row = {"id": thread.id, "title": thread.title, "metadata_": {"user_id": self.user_ids[thread.owner]}}
            detail = {"table": "public.threads", "key": thread.id, "owner": thread.owner}
            self.record("ok", "row", surface="database", payload=encode(row), detail=detail)
        for user in self.names:
            place: Json = {"key": f"user:{self.user_ids[user]}:memory", "owners": [user]}
            self.record("ok", "key", surface="cache", payload=self.remembered(user), detail=place)

    def remembered(self, user: str) -> str:
        return f"likes {self.canaries[user, 'profile']}"


class Behind(Fault, Whole):
    """A fault of the parts that only ``Whole`` has."""

    needs: ClassVar[dict[str, Any]] = {
        "deadlines": False, "reconnects": False, "cancels": False, "attempts": False, "quotes": False,
    }  # fmt: skip


class UncheckedWrite(Behind):
    """D2: an update is refused after it has been made."""

    id = "D2"
    caught_by = frozenset({"C5"})
    kinds = frozenset({"refused write took effect"})

    def may_write(self, user: str, thread: Thread) -> bool:
        return True


class UnsignedToken(Behind):
    """A1: a token without a signature is believed."""

    id = "A1"
    caught_by = frozenset({"C6"})
    kinds = frozenset({"forged credential accepted"})

    def taken_for(self, attempt: str) -> str | None:
        return self.names[0] if attempt == "alg none" else None


class DeafToLogout(Behind):
    """A6: a logout does not reach the service that validates tokens."""

    id = "A6"
    caught_by = frozenset({"C5", "C7"})
    kinds = frozenset({"credential works after its end"})

    def knows_after_logout(self) -> bool:
        return True


class SocketOutlives(Behind):
    """W11: a socket lives on after the logout of its user, and goes on carrying events."""

    id = "W11"
    caught_by = frozenset({"C7"})
    kinds = frozenset({"socket outlives its credential"})

    def end_sockets(self, user: str) -> None:
        self.clock += GRACE
        for tab in self.tabs[user]:
            self.receive(tab, encode({"type": "thread_renamed", "thread_id": self.mine(user).id, "payload": {}}))


class LostUpdate(Behind):
    """D5: read, then write, at read committed: the second append overwrites the first."""

    id = "D5"
    caught_by = frozenset({"C9"})
    kinds = frozenset({"lost append"})

    def read_list(self) -> list[int]:
        return [2]


class Leaking(Behind):
    """P4: each disconnect leaves a database connection behind."""

    id = "P4"
    caught_by = frozenset({"C10"})
    kinds = frozenset({"resource leak"})

    def connections_after(self, cycle: int) -> int:
        return 5 + 2 * cycle


class FileWins(Behind):
    """The environment of a service: what stands in a file beats what was set."""

    id = "environment-file-wins"
    caught_by = frozenset({"C14"})
    kinds = frozenset({"promise broken"})

    def winner(self) -> str:
        return "file"


class InheritedContext(Behind):
    """X3: a background worker keeps the context of the user who started it, and stores everybody's under that key."""

    id = "X3"
    caught_by = frozenset({"C12"})
    kinds = frozenset({"foreign canary in a key"})

    def remembered(self, user: str) -> str:
        return f"likes {self.canaries[self.names[0], 'profile']}"


class CurrentConversation(Behind):
    """X7: an answer is stored in whichever thread its user has asked in last."""

    id = "X7"
    caught_by = frozenset({"C13"})
    kinds = frozenset({"answer in another conversation"})

    def stored_in(self, run: Run) -> Thread:
        return [later for later in self.runs if later.user == run.user][-1].thread


WHOLE_FAULTS: tuple[type[Fault], ...] = (
    UncheckedWrite,
    UnsignedToken,
    DeafToLogout,
    SocketOutlives,
    LostUpdate,
    Leaking,
    FileWins,
    InheritedContext,
    CurrentConversation,
)
