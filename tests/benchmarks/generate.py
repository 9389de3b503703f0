"""Writes a long history of a correct platform: users, questions, runs of eight events, reads, fences.

    python tests/benchmarks/generate.py --frames 100000 --users 100 history.jsonl

Plain text, line by line, in constant memory, so that ten million frames are a matter of disk only.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from netra_probe.history.canary import mint
from netra_probe.history.operation import Operation

#: Frames of one run, its pong not counted.
EVENTS_OF_A_RUN = 8
THOUGHTS = (
    "Looking at where spending exceeds the plan of this quarter, by team and by service",
    "Comparing the three largest invoices with the contracts they refer to",
    "The cluster is idle at night; a schedule would save about a third of its cost",
)


class Writer:
    """Numbers operations and stamps them with a time that grows."""

    def __init__(self) -> None:
        self.index = 0

    def write(self, type: Any, action: str, **fields: Any) -> Operation:
        operation = Operation(index=self.index, time=self.index * 50_000, type=type, action=action, **fields)
        self.index += 1
        return operation

    def finish(self, call: Operation, type: Any, **fields: Any) -> Operation:
        return self.write(
            type, call.action, user=call.user, connection=call.connection, backend=call.backend, surface=call.surface,
            call=call.index, nonce=call.nonce, **fields,
        )  # fmt: skip


def text(value: object) -> str:
    return msgspec.json.encode(value).decode()


class User:
    """One user of the history: account, canaries, thread, connection."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.name = f"user-{number}"
        digits = f"{chance.getrandbits(128):032x}"
        self.id = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        self.thread = f"thread_{chance.getrandbits(80):020x}"
        self.connection = f"{self.name}/ws-1"
        self.canaries = {
            field: mint(seed=7, identity=self.id, user=self.name, field=field, surface="rest").token
            for field in ("title", "prompt", "profile")
        }
        self.runs = 0


def introduction(writer: Writer, users: list[User]) -> Iterator[Operation]:
    yield writer.write("ok", "open", detail={"schema": 1, "scenario": "benchmark"})
    for user in users:
        yield writer.write("ok", "principal", user=user.name, ids={"user_id": user.id})
        for field, token in user.canaries.items():
            yield writer.write("ok", "mint", user=user.name, detail={"token": token, "field": field})
    for user in users:
        process = {"user": user.name, "connection": user.connection, "surface": "websocket", "backend": "backend-1"}
        call = writer.write("invoke", "connect", **process)
        yield call
        data = {"event": "connection_established", "user_id": user.id, "connection_ready": True}
        yield receive(writer, user, {"type": "system_message", "data": data}, {"user_id": user.id})
        yield writer.finish(call, "ok", status=101)
        title = f"Cloud costs {user.canaries['title']}"
        call = request(writer, user, "POST /api/threads", "/api/threads", text({"title": title}))
        yield call
        yield respond(writer, call, 201, {"id": user.thread, "object": "thread", "title": title})
        ids = {"thread_id": user.thread}
        yield writer.write("ok", "own", user=user.name, ids=ids, detail={"kind": "thread", "id": user.thread})


def request(writer: Writer, user: User, action: str, path: str, payload: str = "") -> Operation:
    return writer.write(
        "invoke", action, user=user.name, connection=f"{user.name}/rest", surface="rest", backend="backend-1",
        nonce=f"{user.name}/rest-{writer.index:x}", payload=payload, detail={"path": path},
    )  # fmt: skip


def respond(writer: Writer, call: Operation, status: int, body: object) -> Operation:
    return writer.finish(call, "ok", status=status, payload=text(body), detail={"nonce_back": call.nonce})


def receive(writer: Writer, user: User, frame: object, ids: dict[str, str]) -> Operation:
    return writer.write(
        "ok", "receive", user=user.name, connection=user.connection, surface="websocket", backend="backend-1",
        ids=ids, payload=text(frame),
    )  # fmt: skip


def conversation(writer: Writer, user: User, chance: random.Random) -> Iterator[Operation]:
    """One question, its run, and a read of the thread."""
    user.runs += 1
    process = {"user": user.name, "connection": user.connection, "surface": "websocket", "backend": "backend-1"}
    nonce = f"{user.name}-turn-{user.runs}"
    prompt = f"Where do I overspend? {user.canaries['prompt']}"
    ids = {"thread_id": user.thread}
    call = writer.write("invoke", "ask", nonce=nonce, payload=prompt, ids=ids, **process)
    yield call
    message = {"type": "user_message", "payload": {"content": prompt, "turn_id": nonce}, "thread_id": user.thread}
    sending = writer.write("invoke", "send", payload=text(message), **process)
    yield sending
    yield writer.finish(sending, "ok")
    run = f"run_{user.thread}_{user.runs}_{chance.getrandbits(32):08x}"
    named = {"run_id": run, "thread_id": user.thread}
    thought = chance.choice(THOUGHTS)
    for number, (name, body) in enumerate(
        (
            ("agent_started", {"status": "started", "message": "on it"}),
            ("agent_thinking", {"thought": f"{thought}: {prompt}", "step_number": 1}),
            ("tool_executing", {"tool_name": "spend_search", "parameters": {"months": 3, "limit": 20}}),
            ("tool_completed", {"tool_name": "spend_search", "result": f"12 rows of {user.canaries['profile']}"}),
            ("agent_thinking", {"thought": thought, "step_number": 2, "progress_percentage": 60}),
            ("agent_thinking", {"thought": thought, "step_number": 3, "progress_percentage": 80}),
            ("agent_completed", {"status": "completed", "result": f"{thought}. {thought}.", "execution_time_ms": 812}),
            ("final_report", {"report": f"{prompt}: {thought}"}),
        ),
        1,
    ):
        stamp = f"2025-09-01T10:{writer.index // 60_000_000 % 60:02d}:{writer.index % 60_000_000 / 1e6:09.6f}+00:00"
        frame = {"type": name, **named, "agent_name": "triage", "timestamp": stamp, "seq": number, "payload": body}
        yield receive(writer, user, frame, named)
    yield writer.finish(call, "ok", ids=named, detail={"terminal": "agent_completed", "events": EVENTS_OF_A_RUN})
    reading = request(writer, user, "GET /api/threads/{id}", f"/api/threads/{user.thread}")
    yield reading
    title = f"Cloud costs {user.canaries['title']}"
    yield respond(
        writer, reading, 200, {"id": user.thread, "object": "thread", "title": title, "message_count": user.runs}
    )


def history(frames: int, users: int, seed: int = 7) -> Iterator[Operation]:
    """A history with so many run events, the users' conversations interleaved operation by operation."""
    chance = random.Random(seed)
    writer = Writer()
    everybody = [User(number, chance) for number in range(users)]
    yield from introduction(writer, everybody)
    talking = {user.name: conversation(writer, user, chance) for user in everybody}
    people = {user.name: user for user in everybody}
    names = list(people)
    left = max(frames // EVENTS_OF_A_RUN, users) - users
    while names:
        position = chance.randrange(len(names))
        operation = next(talking[names[position]], None)
        if operation is not None:
            yield operation
        elif left > 0:
            left -= 1
            talking[names[position]] = conversation(writer, people[names[position]], chance)
        else:
            names[position] = names[-1]
            names.pop()
    for user in everybody:
        yield receive(writer, user, {"type": "pong"}, {})
    yield writer.write("ok", "end", detail={"operations": writer.index})


def write(path: Path, frames: int, users: int) -> int:
    """Write the history; returns the number of operations."""
    encode = msgspec.json.Encoder().encode
    count = 0
    with open(path, "wb") as file:
        for operation in history(frames, users):
            file.write(encode(operation) + b"\n")
            count += 1
    return count


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--frames", type=int, default=10_000)
    arguments.add_argument("--users", type=int, default=10)
    arguments.add_argument("path", type=Path)
    given = arguments.parse_args()
    print(f"{write(given.path, given.frames, given.users):,} operations in {given.path}")
