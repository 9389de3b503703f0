"""Which notebooks of a run are done, and setting aside what the others have left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netra_probe.batch.execution import Execution
from netra_probe.errors import OutputError
from netra_probe.history.store import HistoryError
from netra_probe.results.results import find_history, read_plan

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
