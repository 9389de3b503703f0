"""Small recordings of investigations that found something, and what may happen to them afterwards."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import msgspec
from checkers.model import World
from checkers.model_faults import FAULTS
from checkers.model_wire import Settings
from checkers.story import Story
from msgspec import structs

from netra_probe.history.damage import CHAIN, MARKERS, Chain
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation

Lines: TypeAlias = list[bytes]

SURFACES = ["auth", "cache", "database", "rest", "websocket"]


def _investigation(operations: list[Operation], start: int, case: str, *checkers: str) -> list[Operation]:
    """What the operations are as the history of an investigation, with a second case that found nothing to look at."""
    opening = {
        "schema": 1, "scenario": case.partition(".")[0], "environment": "lab", "seed": 7, "surfaces": SURFACES,
        "cases": {case: "users stay apart", f"{case[:-1]}9": "counts stay"},
    }  # fmt: skip
    first = Operation(index=0, time=0, type="ok", action="open", detail=opening)
    shift = 0 if operations[0].action == "open" else 1
    history = [first]
    for operation in operations[1 - shift :]:
        call = None if operation.call is None else operation.call + shift
        ids = read_frame(operation.payload).ids if operation.action == "receive" else operation.ids
        history.append(structs.replace(operation, index=operation.index + shift, call=call, ids=ids))

    def mark(action: str, **detail: Any) -> None:
        time = history[-1].time + 1
        history.append(Operation(index=len(history), time=time, type="ok", action=action, detail=detail))

    asked = [{"id": checker, "options": {}} for checker in checkers]
    mark("check", case=case, claim="users stay apart", start=start + shift, checkers=asked)
    mark("skip", case=f"{case[:-1]}9", claim="counts stay", reason="the target has no operator surface")
    mark("cleanup", verdict="pass", left=[])
    mark("end", operations=len(history))
    return history


def reads_by_id() -> list[Operation]:
    """D1: bob reads alice's thread by its id."""
    story = Story("alice", "bob")
    secret = story.mint("alice")
    story.own("alice", "thread", "t1")
    thread = {"id": "t1", "user_id": story.operations[0].ids["user_id"], "title": secret}
    start = len(story.operations)
    story.attempt("bob", "GET", "/api/threads/t1", thread, 200, owner="alice", object=("thread", "t1"))
    story.get("alice", "/api/threads/t1", thread)
    return _investigation(story.operations, start, "D3.3", "C5", "C1")


def breaks_a_rule(id: str, seed: int) -> list[Operation]:
    """A model platform with one fault of the catalogue, judged by the checkers that a chat is judged by."""
    fault: type[World] = next(fault for fault in FAULTS if fault.id == id)
    world = fault(Random(seed), fault.settings_for(Settings(users=2, tabs=1, runs=1)))  # type: ignore[attr-defined]
    history = world.play()
    return _investigation(list(history.operations), history.start, "C4.2", "C1", "C2", "C3", "C4")


def lines_of(operations: list[Operation], *, chained: bool = True) -> Lines:
    """The lines of a recording, as today's recorder writes them, or as those of before did."""
    chain, lines = Chain(), []
    for operation in operations:
        if chained and operation.action in MARKERS:
            marker = structs.replace(operation, detail={**operation.detail, CHAIN: ""})
            lines.append(chain.seal(msgspec.json.encode(marker)))
        else:
            lines.append(msgspec.json.encode(operation) + b"\n")
            chain.update(lines[-1])
    return lines


def store(path: Path, lines: Lines) -> Path:
    """The lines as a file, compressed where its name says so."""
    data = b"".join(lines)
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)
    return path


# What may happen to a recording: each changes the lines in place, somewhere.


def _at(lines: Lines, random: Random, action: str = "") -> int:
    """A line, of this action if one is named."""
    wanted = f'"action":"{action}"'.encode()
    return random.choice([number for number, line in enumerate(lines) if not action or wanted in line])


def _edit(lines: Lines, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(lines[number])
    change(record)
    lines[number] = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def cut(lines: Lines, random: Random) -> None:
    del lines[random.randrange(1, len(lines)) :]


def cut_within_a_line(lines: Lines, random: Random) -> None:
    cut(lines, random)
    lines[-1] = lines[-1][: random.randrange(len(lines[-1]))]


def drop(lines: Lines, random: Random) -> None:
    first = random.randrange(len(lines) - 1)
    del lines[first : first + random.randint(1, 4)]


def swap(lines: Lines, random: Random) -> None:
    first, second = random.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]


def double(lines: Lines, random: Random) -> None:
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))


def drop_a_marker(lines: Lines, random: Random) -> None:
    del lines[_at(lines, random, random.choice(["check", "skip", "cleanup", "end", "open"]))]


def skip_a_case(lines: Lines, random: Random) -> None:
    reason = random.choice(
        ["not today", "the target has no rest surface", "the target has no cache and no rest surface"]
    )

    def change(record: dict[str, Any]) -> None:
        detail = record["detail"]
        record["action"] = "skip"
        record["detail"] = {"case": detail["case"], "claim": detail["claim"], "reason": reason}

    _edit(lines, _at(lines, random, "check"), change)


def rename_a_case(lines: Lines, random: Random) -> None:
    _edit(lines, _at(lines, random, "check"), lambda record: record["detail"].update(case="X9.1"))


def narrow_a_window(lines: Lines, random: Random) -> None:
    number = _at(lines, random, "check")
    _edit(lines, number, lambda record: record["detail"].update(start=number))


def drop_a_checker(lines: Lines, random: Random) -> None:
    def change(record: dict[str, Any]) -> None:
        checkers = record["detail"]["checkers"]
        del checkers[random.randrange(len(checkers)) :]

    _edit(lines, _at(lines, random, "check"), change)


def withhold(lines: Lines, random: Random) -> None:
    _edit(lines, _at(lines, random, "check"), lambda record: record["detail"].update(withheld=["mode observe"]))


def edit_a_payload(lines: Lines, random: Random) -> None:
    number = random.choice([number for number, line in enumerate(lines) if b'"payload":' in line])
    text = random.choice(["", "{}", '{"type":"pong"}'])

    def change(record: dict[str, Any]) -> None:
        record["payload"] = text or record["payload"].replace("CANARY", "canard")

    _edit(lines, number, change)


def edit_a_field(lines: Lines, random: Random) -> None:
    name, value = random.choice(
        [("user", "alice"), ("user", "bob"), ("user", None), ("status", 403), ("connection", "alice/ws-1"),
         ("type", "fail"), ("surface", "probe"), ("call", None), ("call", 1), ("ids", {}), ("time", 1), ("index", 3)]
    )  # fmt: skip
    _edit(lines, _at(lines, random), lambda record: record.update({name: value}))


def edit_a_detail(lines: Lines, random: Random) -> None:
    number = random.choice([number for number, line in enumerate(lines) if b'"detail":' in line])

    def change(record: dict[str, Any]) -> None:
        name = random.choice(sorted(record["detail"]))
        record["detail"][name] = random.choice(["alice", "bob", "", None, 0, [], {}])

    _edit(lines, number, change)


def edit_a_secret(lines: Lines, random: Random) -> None:
    number = random.choice([number for number, line in enumerate(lines) if b"CANARY" in line])
    lines[number] = lines[number].replace(b"CANARY", b"CANARD")


def remove_all_frames_of_one(lines: Lines, random: Random) -> None:
    who = random.choice([b'"user":"alice"', b'"user":"bob"'])
    lines[:] = [line for line in lines if not (who in line and b'"action":"receive"' in line)] or lines[:1]


def append_another(lines: Lines, random: Random) -> None:
    lines.extend(lines_of(reads_by_id(), chained=random.random() < 0.5))


def weave_in_another(lines: Lines, random: Random) -> None:
    other = lines_of(reads_by_id(), chained=random.random() < 0.5)
    for line in other:
        lines.insert(random.randrange(1, len(lines)), line)


def replace_the_beginning(lines: Lines, random: Random) -> None:
    number = random.randrange(1, len(lines))
    lines[:number] = lines_of(reads_by_id(), chained=random.random() < 0.5)[:number]


#: What a reader finds out without digests, too.
FREE = (
    cut, cut_within_a_line, drop, swap, double, drop_a_marker, skip_a_case, rename_a_case, append_another,
    weave_in_another,
)  # fmt: skip
#: What only digests give away for certain: the recording stays one that could have been made.
CRAFTY = (
    narrow_a_window, drop_a_checker, withhold, edit_a_payload, edit_a_field, edit_a_detail, edit_a_secret,
    remove_all_frames_of_one, replace_the_beginning,
)  # fmt: skip


def renumber(lines: Lines, random: Random) -> None:
    """What somebody does who knows that lines are numbered: indices, calls, windows and the end mark follow."""
    places: dict[int, int] = {}
    for number, line in enumerate(lines):
        try:
            places.setdefault(json.loads(line).get("index"), number)
        except (ValueError, AttributeError):
            return

    def change(record: dict[str, Any]) -> None:
        record["index"] = places.get(record["index"], record["index"])
        if record.get("call") is not None:
            record["call"] = places.get(record["call"], record["call"])
        if record["action"] == "check":
            record["detail"]["start"] = places.get(record["detail"]["start"], record["detail"]["start"])
        if record["action"] == "end":
            record["detail"]["operations"] = record["index"]

    for number in range(len(lines)):
        try:
            _edit(lines, number, change)
        except (KeyError, TypeError, ValueError):
            return
