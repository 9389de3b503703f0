"""``run.json`` while its run goes on, when and with what it began, and what of an earlier part a resumed run keeps."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from netra_probe.batch.execution import Execution
from netra_probe.batch.plan import Plan, noted
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.errors import OutputError
from netra_probe.history.store import HistoryError
from netra_probe.results.results import PLAN, SCHEMA, find_history, read_plan, write_json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def origin() -> dict[str, Any]:
    """What ``run.json`` says of the moment and the machine: ``started`` (UTC) and ``versions``, by distribution."""
    return {"started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "versions": versions()}


def versions() -> dict[str, str]:
    """Python, netra-probe, and what netra-probe itself requires, as installed here."""
    found = {"python": platform.python_version(), "netra-probe": metadata.version("netra-probe")}
    for requirement in sorted(metadata.requires("netra-probe") or (), key=str.casefold):
        name = _NAME.match(requirement)
        if name is None or "extra ==" in requirement:
            continue
        try:
            found[name[0]] = metadata.version(name[0])
        except metadata.PackageNotFoundError:
            continue  # not needed on this platform
    return found


#: Where attempts that were not finished are kept, numbered from 1.
EARLIER = "earlier"


def completed(directory: Path) -> dict[str, Execution]:
    """The notebooks of a run that need not be executed again, by id: each ran to its end, and all it left is whole."""
    return {
        str(entry["id"]): Execution(
            id=str(entry["id"]),
            status="completed",
            seconds=float(entry.get("seconds", 0.0)),
            cpu_seconds=float(entry.get("cpu_seconds", 0.0)),
            memory_mb=int(entry.get("memory_mb", 0)),
        )
        for entry in read_plan(directory)["scenarios"]
        if entry["status"] == "completed" and _is_whole(directory, entry)
    }


def _is_whole(directory: Path, entry: dict[str, Any]) -> bool:
    """Whether history and executed notebook are there, and can be read to the end."""
    try:
        history = find_history(directory, str(entry["id"]))
        notebook = json.loads((directory / "notebooks" / entry["notebook"]).read_text(encoding="utf-8"))
        return history is not None and not history.truncated and isinstance(notebook, dict) and "cells" in notebook
    except (HistoryError, OSError, ValueError):
        return False


def set_aside(directory: Path, entries: list[tuple[str, str]]) -> Path | None:
    """Move what these notebooks (id, file name) have left out of the way of another attempt.

    Returns where it is now, or ``None`` when they had left nothing.

    Raises OutputError when it cannot be moved.
    """
    left = [
        path
        for id, notebook in entries
        for name in (
            f"history/{id}.jsonl",
            f"history/{id}.jsonl.gz",
            f"history/{id}.jsonl.gz.partial",
            f"notebooks/{notebook}",
            f"notebooks/{notebook}.partial.ipynb",
            f"logs/{id}.log",
        )
        if (path := directory / name).exists()
    ]
    if not left:
        return None
    number = 1 + sum(1 for _ in (directory / EARLIER).glob("*"))
    place = directory / EARLIER / str(number)
    try:
        for path in left:
            kept = place / path.relative_to(directory)
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
    except OSError as error:
        raise OutputError(
            f"{place}: cannot be written ({error.strerror}); make room or make it writable, then --resume again."
        ) from None
    return place


@dataclass(kw_only=True)
class Record:
    """What has become of each notebook of a plan so far.

    Arguments:
        directory: of the run.
        executions: those that have ended, by id.
        origin: when it began, and with which versions.
        after: what was done once all of them had ended.
        untriggered: faults of the lab that did nothing wrong all the time.
    """

    directory: Path
    plan: Plan
    executions: dict[str, Execution] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=origin)
    after: dict[str, Any] = field(default_factory=dict)
    untriggered: list[str] = field(default_factory=list)

    def go_on_from(self, earlier: Mapping[str, Any]) -> None:
        """What an earlier part of the run has noted holds for the whole; this part is noted beside it."""
        self.after = dict(earlier.get("after", {}))
        begun = {name: earlier[name] for name in self.origin if name in earlier}
        self.origin = {**begun, "resumed": [*earlier.get("resumed", []), self.origin]}

    def entry(self, id: str, notebook: str, *, ended: bool = False) -> dict[str, Any]:
        """One notebook, as ``run.json`` lists it."""
        execution, scenario = self.executions.get(id), SCENARIOS[id]
        declared = {"id": id, "notebook": notebook, "title": scenario.title, "cases": scenario.cases}
        if execution is None:
            status, reason = ("interrupted", "the run was interrupted") if ended else ("planned", "the run is not over")
            return {**declared, "status": status, "reason": reason}
        return {
            **declared,
            "status": execution.status,
            "reason": execution.reason,
            "seconds": execution.seconds,
            "cpu_seconds": execution.cpu_seconds,
            "memory_mb": execution.memory_mb,
        }

    def write(self, *, ended: bool = False) -> None:
        """Write ``run.json`` in one step.

        Raises OutputError when that is impossible; an earlier one is still there then.
        """
        value = {
            "schema": SCHEMA,
            "run": self.directory.name,
            **noted(self.plan),
            "pid": os.getpid(),
            **self.origin,
            "scenarios": [self.entry(one.id, one.path.name, ended=ended) for one in self.plan.notebooks],
            **({"after": self.after} if self.after else {}),
            **({"untriggered": self.untriggered} if self.untriggered else {}),
        }
        write_json(self.directory / PLAN, value)

    def note(self, execution: Execution) -> None:
        """A notebook has ended. A disk that is full now may have room at the end, when it is written once more."""
        self.executions[execution.id] = execution
        with contextlib.suppress(OutputError):
            self.write()
