"""Who follows a run, where a notebook is, how long it will take, and where what it leaves will be found."""

from __future__ import annotations

import contextlib
import heapq
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from netra_probe.batch.execution import Execution
from netra_probe.batch.plan import Plan
from netra_probe.catalogue.folders import folder
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.history import actions
from netra_probe.results.results import PLAN

#: Earlier runs that are looked at: the latest.
LATEST = 20


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What to expect of the notebooks of a run.

    Arguments:
        seconds: id → what it will take; those that were never run take as long for a case as the others do.
        jobs: notebooks at a time.
        known: ids of those that earlier runs speak for.
    """

    seconds: Mapping[str, float]
    jobs: int
    known: frozenset[str] = field(default_factory=frozenset)

    @staticmethod
    def of(plan: Plan) -> Estimate:
        """From the latest runs of the same environment with the same faults, users and rounds."""
        taken = _taken(plan)
        usual = median(seconds / _cases(id) for id, seconds in taken.items()) if taken else 0.0
        return Estimate(
            seconds={one.id: taken.get(one.id, usual * _cases(one.id)) for one in plan.notebooks},
            jobs=plan.jobs,
            known=frozenset(taken),
        )

    @property
    def total(self) -> float:
        """Seconds from the first start to the last end; 0 where nothing is known."""
        return self.left({}, self.seconds)

    def left(self, running: Mapping[str, float], waiting: Iterable[str]) -> float:
        """Seconds until the last end, with those ``running`` for so many seconds, and those ``waiting``."""
        begun = [max(0.0, self.seconds[id] - elapsed) for id, elapsed in running.items()]
        return packed(begun, (self.seconds[id] for id in self.order(waiting)), jobs=self.jobs)

    def order(self, ids: Iterable[str]) -> list[str]:
        """Longest first, so that all jobs end at about the same time; as they come where nothing tells them apart."""
        return sorted(ids, key=lambda id: (-self.seconds[id], -_cases(id)))


def packed(begun: Iterable[float], waiting: Iterable[float], *, jobs: int) -> float:
    """When the last one ends: each of those waiting, in their sequence, goes to whoever is free first.

    >>> packed([3.0], [4.0, 2.0, 2.0], jobs=2)
    7.0
    """
    ends = list(begun)
    ends += [0.0] * (max(1, jobs) - len(ends))
    heapq.heapify(ends)
    for seconds in waiting:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _cases(id: str) -> int:
    """How many cases a scenario has, as far as that is known."""
    return len(SCENARIOS[id].cases) if id in SCENARIOS else 1


def _taken(plan: Plan) -> dict[str, float]:
    """Scenario id → the median of seconds that its notebook has taken."""
    found: dict[str, list[float]] = {}
    runs = sorted((folder("outputs") / plan.parameters.environment).glob(f"*/{PLAN}"), reverse=True)
    for path in runs[:LATEST]:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            alike = all(record["parameters"][name] == getattr(plan.parameters, name) for name in ("users", "rounds"))
            if alike and record["faults"] == list(plan.faults):
                for entry in record["scenarios"]:
                    if entry["status"] == "completed" and entry["seconds"] > 0:
                        found.setdefault(str(entry["id"]), []).append(float(entry["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # an estimate is not worth an error
    return {id: median(times) for id, times in found.items() if id in {one.id for one in plan.notebooks}}


_URL = re.compile(r"[a-z][a-z0-9+.:-]*://", re.IGNORECASE)


def is_url(place: str) -> bool:
    """Whether an output is somewhere that fsspec has to reach: ``s3://bucket/run``, ``memory://run``."""
    return _URL.match(place) is not None


class Place:
    """A directory of this machine.

    Arguments:
        directory: ``None`` for one that the run chooses.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    def watched(self, watcher: Watcher) -> Watcher:
        """The watcher that a run there should have."""
        return watcher

    def shown(self, path: Path) -> str:
        """The path as one would type it here."""
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return str(path)


class Watcher:
    """Receives the progress of a run; this one ignores it."""

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
        """``C4.3 A cut connection``; what goes before and after the cases is named as well."""
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
