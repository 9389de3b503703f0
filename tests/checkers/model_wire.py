"""What a model deployment looks like from outside: its settings, its frames, and the probe's notes about them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any, TypeAlias

import msgspec

from netra_probe.checkers import Checker, Window, judge
from netra_probe.checkers.verdict import Judgement
from netra_probe.history.canary import mint
from netra_probe.history.operation import Operation

Script: TypeAlias = Generator[None, None, None]
Json: TypeAlias = dict[str, Any]

NAMES = ("alice", "bob", "carol", "dave", "erin")
DIALECTS = ("payload", "data", "event_type", "flat")
POLICIES = ("all", "asker")


def encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


@dataclass
class Tab:
    """One connection of one user."""

    name: str
    user: str
    opened: int
    is_open: bool = True


@dataclass
class Thread:
    id: str
    owner: str
    title: str
    messages: list[str] = field(default_factory=list)


@dataclass
class Run:
    """One run: whose, where it was asked, and what is still to be sent."""

    id: str
    user: str
    thread: Thread
    tab: Tab
    prompt: str
    number: int = 0
    terminal: bool = False
    cancelled: bool = False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What varies between legal deployments and legal tests."""

    users: int = 3
    tabs: int = 1
    runs: int = 2
    dialect: str = "payload"
    policy: str = "all"
    numbered: bool = True
    tools: int = 1
    reconnects: bool = False
    deadlines: bool = False
    attempts: bool = False
    quotes: bool = False
    cancels: bool = False


@dataclass(frozen=True)
class History:
    """A played history and where its window starts."""

    operations: tuple[Operation, ...]
    start: int

    def judge(self, checkers: Sequence[Checker]) -> list[Judgement]:
        return judge(checkers, self.operations, Window(start=self.start))

    def witnesses(self, indices: Sequence[int]) -> tuple[Operation, ...]:
        """Only the context and the operations of a witness: enough to convict again."""
        kept = set(indices)
        return tuple(
            operation for operation in self.operations if operation.surface == "probe" or operation.index in kept
        )


class Transport:
    """The deployment's dialect and the probe's records; ids and times are drawn from neither chance nor clock."""

    def __init__(self, random: Random, settings: Settings | None = None) -> None:
        self.random = random
        self.settings = settings or Settings()
        self.names = NAMES[: self.settings.users]
        self.operations: list[Operation] = []
        self.clock = 0
        self.serial = 0
        self.user_ids: dict[str, str] = {}
        self.canaries: dict[tuple[str, str], str] = {}

    # What the probe writes down

    def record(self, type: str, action: str, **fields: Any) -> Operation:
        self.clock += 100_000 + 7919 * len(self.operations) % 3_000_000
        operation = Operation(
            index=len(self.operations), time=self.clock, type=type, action=action, **fields  # type: ignore[arg-type]
        )  # fmt: skip
        self.operations.append(operation)
        return operation

    def done(self, call: Operation, type: str, **fields: Any) -> Operation:
        return self.record(
            type, call.action, user=call.user, connection=call.connection, surface=call.surface, call=call.index,
            nonce=call.nonce, **fields,
        )  # fmt: skip

    def fresh(self, kind: str) -> str:
        """An id that looks as random as a real one; the random choices are left to what matters."""
        self.serial += 1
        digits = sha256(f"{kind} {self.serial}".encode()).hexdigest()
        return (
            f"{kind}_{digits[:20]}"
            if kind
            else "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
        )

    def introduce(self) -> None:
        self.record("ok", "open", detail={"schema": 1})
        for name in self.names:
            self.user_ids[name] = self.fresh("")
            self.record("ok", "principal", user=name, ids={"user_id": self.user_ids[name]})
            for word, control in (("title", False), ("prompt", False), ("profile", False), ("control", True)):
                made = mint(
                    seed=7, identity=self.user_ids[name], user=name, field=word, surface="rest", control=control
                )
                self.canaries[name, word] = made.token
                self.record("ok", "mint", user=name, detail={"token": made.token, "field": word, "control": control})

    # Frames

    def frame(self, run: Run, name: str, body: Json) -> str:
        """One event in the deployment's dialect, numbered and stamped where that dialect does so."""
        run.number += 1
        self.clock += 10_001 + 7919 * run.number % 90_000
        event: Json = {"run_id": run.id, "thread_id": run.thread.id}
        stamp: Json = {"timestamp": self.clock / 1e9 + 1_756_000_000.123}
        if self.settings.numbered:
            stamp["seq"] = run.number
        match self.settings.dialect:
            case "payload":
                return encode({"type": name, **event, "agent_name": "triage", **stamp, "payload": body})
            case "data":
                context = {"user_id": self.user_ids[run.user], "request_id": self.fresh("req")}
                return encode({"type": name, "data": {**body, **event}, **stamp, "user_context": context})
            case "event_type":
                return encode({"event_type": name, "event_id": self.fresh("ev"), **event, "data": body, **stamp})
            case _:
                return encode(
                    {"type": name, "event": name, "user_id": self.user_ids[run.user], **event, **stamp, **body}
                )

    def welcome(self, tab: Tab) -> str:
        data = {"event": "connection_established", "user_id": self.user_ids[tab.user], "connection_ready": True}
        return encode({"type": "system_message", "data": data, "timestamp": self.clock / 1e9})

    def request(self, user: str, method: str, route: str, path: str, payload: str = "", **detail: Any) -> Operation:
        return self.record(
            "invoke", f"{method} {route}", user=user, connection=f"{user}/rest", surface="rest",
            nonce=self.fresh("nonce"), payload=payload, detail={"path": path, **detail},
        )  # fmt: skip

    def respond(self, call: Operation, status: int, body: object) -> Operation:
        """A response, with the request's nonce in its headers."""
        type = "ok" if status < 400 else "fail" if status < 500 else "info"
        return self.done(call, type, status=status, payload=encode(body), detail={"nonce_back": call.nonce})
