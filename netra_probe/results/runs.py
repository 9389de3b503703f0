"""The runs that a folder holds: found, read, put in order; what cannot be read is named and harms nobody."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from netra_probe.checkers.verdict import Verdict
from netra_probe.errors import ParameterError
from netra_probe.results.results import PLAN, RESULTS, SCHEMA, read_json, read_plan
from netra_probe.results.schema import is_results
from netra_probe.target.environment import lock_file

#: How many earlier runs are asked when a case was last decided.
MOST_EARLIER = 100
#: What a report is called, in every run directory.
REPORT = "report.html"
#: A case as ``results.json`` holds it.
Case = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run directory: its plan is valid; its results are read, and looked at, when they are needed."""

    path: Path
    plan: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.plan["run"])

    @property
    def environment(self) -> str:
        return str(self.plan["environment"])

    @property
    def faults(self) -> tuple[str, ...]:
        """What the lab was started with; nothing for other deployments."""
        return tuple(self.plan.get("faults") or ())

    @cached_property
    def started(self) -> datetime:
        """When it began: as it says itself, else as its name says, else when its plan was last written."""
        with contextlib.suppress(ValueError, OverflowError):
            return datetime.fromisoformat(str(self.plan.get("started"))).astimezone(UTC)
        with contextlib.suppress(ValueError):
            return datetime.strptime(self.path.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return datetime.fromtimestamp((self.path / PLAN).stat().st_mtime, UTC)

    @cached_property
    def results(self) -> dict[str, Any]:
        """What was found. Raises ParameterError when there are no results, or not of this schema."""
        return read_results(self.path)

    @property
    def has_results(self) -> bool:
        try:
            return bool(self.results)
        except ParameterError:
            return False

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.results["verdict"])

    @property
    def order(self) -> tuple[datetime, str]:
        """Sorts runs by when they began."""
        return self.started, self.path.name


def read_run(path: Path) -> Run:
    """The run in a directory. Raises ParameterError when there is none, or it cannot be read."""
    return Run(path=path, plan=read_plan(path))


def read_results(path: Path) -> dict[str, Any]:
    """``results.json`` of a run directory.

    Raises ParameterError when it is missing, damaged, or of another schema.
    """
    file = path / RESULTS
    again = f"`netra-probe recheck {path}` makes it from the histories."
    if not file.exists():
        raise ParameterError(f"{file}: missing; {again}")
    results = read_json(file, f"move it away, then {again}")
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise ParameterError(f"{file}: another schema than {SCHEMA}; read it with the netra-probe that wrote it.")
    if not is_results(results):
        raise ParameterError(f"{file}: damaged; move it away, then {again}")
    return results


def runs_in(folder: Path, unreadable: list[str] | None = None) -> list[Run]:
    """The runs directly below a folder, oldest first.

    Folders with a broken ``run.json`` and foreign ones are passed over; ``unreadable`` gets a sentence on each. What
    has a history and no ``run.json`` is of an older netra-probe, run by hand: it is no run, and nothing is wrong.
    """
    found = []
    for path in _folders(folder):
        if not (path / PLAN).exists() and (path / "history").is_dir():
            continue
        try:
            run = read_run(path)
            _ = run.started
            found.append(run)
        except (ParameterError, OSError) as error:
            if unreadable is not None:
                unreadable.append(str(error))
    return sorted(found, key=lambda run: run.order)


def _folders(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return


def earlier(run: Run, known: Sequence[Run] | None = None) -> list[Run]:
    """Runs of the same environment in the same folder that began before this one and have results, newest first.

    What lies further back than ``MOST_EARLIER`` runs is not looked at.
    """
    beside = runs_in(run.path.parent) if known is None else known
    found = (
        other
        for other in sorted(beside, key=lambda one: one.order, reverse=True)
        if other.order < run.order and other.environment == run.environment and other.has_results
    )
    return list(islice(found, MOST_EARLIER))


def cases_of(results: Mapping[str, Any]) -> dict[str, Case]:
    """The cases of all scenarios, by id."""
    return {case["id"]: case for scenario in results["scenarios"] for case in scenario["cases"]}


def find_run(outputs: Path, words: str) -> Run:
    """The run that a person means: a directory, ``ENV`` (its latest), ``ENV@N`` (N before it), or ``ENV@DATE``.

    A date is the beginning of a time in UTC, such as ``2026-11-19`` or ``2026-11-19T04``: the last run that began then.

    Raises ParameterError when there is no such run, saying which there are.
    """
    if (Path(words) / PLAN).exists() or "/" in words:
        return read_run(Path(words))
    environment, _, which = words.partition("@")
    known = [run for run in runs_in(outputs / environment) if run.has_results]
    if not known:
        raise ParameterError(
            f'"{words}": neither a directory nor an environment that has been run; give a run directory, '
            f"or ENV, ENV@N or ENV@DATE of {_environments(outputs)}."
        )
    if not which:
        return known[-1]
    if which.isdigit() and len(which) < 8:
        if int(which) < len(known):
            return known[-1 - int(which)]
        raise ParameterError(f'"{words}": {environment} has only {len(known)} run(s), @0 to @{len(known) - 1}.')
    then = [run for run in known if run.started.isoformat().startswith(which)]
    if not then:
        dates = ", ".join(sorted({run.started.date().isoformat() for run in known})[-5:])
        raise ParameterError(f'"{words}": no run of {environment} began then; there are some of {dates}.')
    return then[-1]


def _environments(outputs: Path) -> str:
    return ", ".join(path.name for path in _folders(outputs)) or f"{outputs}, which is empty"


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep other runs out of a run directory for the block; the operating system lets go of it however this one ends.

    Raises ParameterError when another run is at work there.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise ParameterError(f"{directory}: cannot be read ({error.strerror}); give a run directory.") from None
    try:
        try:
            lock_file(descriptor, within=0.0)
        except BlockingIOError:
            raise ParameterError(f"{directory}: a run is at work there; wait for its end, or interrupt it.") from None
        except OSError:
            pass  # a file system without locks keeps nobody out
        yield
    finally:
        os.close(descriptor)
