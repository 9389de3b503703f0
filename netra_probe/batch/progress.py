"""Who follows a run, and how one sees from outside where a notebook is."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from netra_probe.batch.estimate import Estimate
from netra_probe.batch.execution import Execution
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.history import actions


class Watcher:
    """Is told how a run goes; this one keeps it to itself."""

    def begin(self, estimate: Estimate, directory: Path | None) -> None:
        """The run is about to start its first notebook; in the directory one can follow them, where there is one."""

    def started(self, id: str) -> None:
        """A notebook begins."""

    def look(self) -> None:
        """Called several times in a second while notebooks run."""

    def ended(self, execution: Execution, record: Mapping[str, Any]) -> None:
        """A notebook has ended; ``record`` is what ``results.json`` will say of its scenario."""

    def end(self) -> None:
        """The last notebook has ended, or the run was given up."""


class Patient(Watcher):
    """Tells another watcher everything, and does not mind when that one cannot take it: a pipe that was closed."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def begin(self, estimate: Estimate, directory: Path | None) -> None:
        with contextlib.suppress(OSError):
            self._watcher.begin(estimate, directory)

    def started(self, id: str) -> None:
        with contextlib.suppress(OSError):
            self._watcher.started(id)

    def look(self) -> None:
        with contextlib.suppress(OSError):
            self._watcher.look()

    def ended(self, execution: Execution, record: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._watcher.ended(execution, record)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._watcher.end()


class _Marker(msgspec.Struct):
    """What one needs to know of an operation in order to see where its notebook is."""

    action: str
    detail: dict[str, Any] = {}


class Follower:
    """Reads a history behind the kernel that writes it, in order to say which case is going on.

    Arguments:
        directory: of the run; ``None`` where the notebook is executed elsewhere, and nothing of it can be seen.
        id: of the scenario.
    """

    def __init__(self, directory: Path | None, id: str) -> None:
        self._path = directory / "history" / f"{id}.jsonl" if directory else None
        self._cases = list(SCENARIOS[id].cases.items()) if id in SCENARIOS else []
        self._read = 0
        self._rest = b""
        self._judged: set[str] = set()
        self._has_begun = False
        self._decode = msgspec.json.Decoder(_Marker).decode

    def case(self) -> str:
        """``C4.3 the failure boundary holds``; what goes before and after the cases is named as well."""
        if self._path is None:
            return "running elsewhere"
        self._catch_up(self._path)
        if not self._has_begun:
            return "starting"
        current = next((f"{case} {claim}" for case, claim in self._cases if case not in self._judged), "")
        return current or "cleaning up"

    def _catch_up(self, path: Path) -> None:
        try:
            with open(path, "rb") as file:
                file.seek(self._read)
                fresh = file.read()
        except OSError:
            return  # not there yet, or compressed already
        self._has_begun = self._has_begun or bool(fresh)
        self._read += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in lines:
            if b'"action":"check"' in line or b'"action":"skip"' in line:
                with contextlib.suppress(msgspec.DecodeError):  # what is wrong with it is for the judge to say
                    marker = self._decode(line)
                    if marker.action in (actions.CHECK, actions.SKIP):
                        self._judged.add(str(marker.detail.get("case")))
