"""The reproducers of a run: ``reproduce/<case>-<n>.py`` beside its results, and which finding has none, and why."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec

from netra_probe.checkers.judging import ScenarioResult, judge_history
from netra_probe.checkers.verdict import Finding, Verdict
from netra_probe.display.ticket import Script, tickets
from netra_probe.errors import ParameterError
from netra_probe.history.store import History, HistoryError
from netra_probe.report.reproducers.slicing import NoReproducerError, Slice, slice_of
from netra_probe.report.reproducers.source import source_of, told_by
from netra_probe.report.reproducers.tape import Tape
from netra_probe.results.results import find_history, read_json, write_json
from netra_probe.results.runs import Run

FOLDER, INDEX = "reproduce", "index.json"
#: Names of cases come from recordings, which may be anybody's.
_NAME = re.compile(r"[A-Za-z0-9]+(\.[A-Za-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Reproducer:
    """What became of one isolation finding: its script, or why it has none.

    Arguments:
        number: of the finding in its case, from 1.
        file: relative to the run directory; "" where there is none, and ``reason`` says why.
        steps: how many acts the script carries out.
        attacks: whether it tries what must be refused, and so needs mode ``attack``.
        minimal: the acts of the smaller script ``<case>-<n>-minimal.py`` that `reproduce --minimise` has left.
    """

    case: str
    number: int
    finding: str
    file: str = ""
    reason: str = ""
    steps: int = 0
    attacks: bool = False
    minimal: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """``C4.2-1``."""
        return f"{self.case}-{self.number}"

    @property
    def best(self) -> str:
        """The file of the smallest script there is."""
        return f"{FOLDER}/{self.name}-minimal.py" if self.minimal else self.file


class Author:
    """Writes the scripts of one scenario: its history is read once, when the first finding needs it."""

    def __init__(self, run: Run, result: ScenarioResult, history: History) -> None:
        self.run, self.result = run, result
        self._history = history

    @cached_property
    def tape(self) -> Tape:
        return Tape(self._history)

    def findings(self) -> Iterator[tuple[str, int, Finding]]:
        """The isolation findings of the red cases, each with its case and its number in it."""
        for case in self.result.cases:
            if case.verdict is Verdict.FAIL:
                leaks = (finding for finding in case.findings if finding.is_isolation_failure)
                for number, finding in enumerate(leaks, start=1):
                    yield case.id, number, finding

    def write(self, case: str, number: int, finding: Finding) -> tuple[Reproducer, str]:
        """The script of a finding; "" where it has none."""
        known = Reproducer(case=case, number=number, finding=finding.summary)
        try:
            if not _NAME.fullmatch(case):
                raise NoReproducerError("its case has no name that a file could have")
            made = slice_of(self.tape, finding)
            text = self.text(made, finding, case=case, name=f"{known.name}.py")
        except NoReproducerError as error:
            return replace(known, reason=f"no reproducer: {error}"), ""
        file, attacks = f"{FOLDER}/{known.name}.py", made.attacks(self.tape)
        return replace(known, file=file, steps=made.steps, attacks=attacks), text

    def smaller(self, known: Reproducer, finding: Finding) -> str:
        """The text of the minimal script. Raises NoReproducerError."""
        made = slice_of(self.tape, finding)
        made.acts &= set(known.minimal)
        return self.text(made, finding, case=known.case, name=f"{known.name}-minimal.py")

    def text(self, made: Slice, finding: Finding, *, case: str, name: str) -> str:
        """The script for these acts. Raises NoReproducerError."""
        run = self.run
        where = f" on {run.environment}" + (f" with injected fault {', '.join(run.faults)}" if run.faults else "")
        when = f"{run.started:%Y-%m-%d %H:%M} UTC"
        about = f"Found by netra-probe ({told_by(finding)}) in case {case} of run {run.name}{where}, {when}."
        if finding.explanation:
            about += f"\n\n{finding.explanation}"
        return source_of(self.tape, made, finding, case=case, name=name, about=about)


def authors_of(run: Run, judged: Mapping[str, ScenarioResult] | None = None) -> Iterator[Author]:
    """One for each scenario with a red case whose history can be read."""
    for scenario in run.results["scenarios"]:
        if not any(case["verdict"] == Verdict.FAIL for case in scenario["cases"]):
            continue
        history = find_history(run.path, scenario["id"])
        if history is None:
            continue
        with contextlib.suppress(HistoryError):
            yield Author(run, (judged or {}).get(scenario["id"]) or judge_history(history), history)


def write_reproducers(run: Run, judged: Mapping[str, ScenarioResult] | None = None) -> list[Reproducer]:
    """Write the scripts of all isolation findings of a run, and the index that says which has none and why.

    Arguments:
        judged: the scenarios as they were just judged; red ones are judged again where they are not in it.
    """
    told = []
    for one, text, smaller in written(run, judged):
        if text:
            keep(run, one.file, text)
        if smaller:
            keep(run, one.best, smaller)
        told.append(one)
    if told:
        write_index(run, told)
    return told


def written(run: Run, judged: Mapping[str, ScenarioResult] | None = None) -> Iterator[tuple[Reproducer, str, str]]:
    """Each isolation finding, with its script and its minimal one ("" where there is none), made from the recording.

    Nothing is taken from scripts that lie in the run directory: it may be anybody's.
    """
    known: dict[str, tuple[int, ...]] = {}
    with contextlib.suppress(ParameterError):
        known = {one.name: one.minimal for one in read_index(run)}
    for author in authors_of(run, judged):
        for case, number, finding in author.findings():
            one, text = author.write(case, number, finding)
            one = replace(one, minimal=known.get(one.name, ()) if text else ())
            smaller = ""
            if one.minimal:
                try:
                    smaller = author.smaller(one, finding)
                except (NoReproducerError, KeyError, StopIteration):
                    one = replace(one, minimal=())
            yield one, text, smaller


def keep(run: Run, file: str, text: str) -> None:
    """Write a script that can be executed."""
    path = run.path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def write_index(run: Run, told: Sequence[Reproducer]) -> None:
    (run.path / FOLDER).mkdir(parents=True, exist_ok=True)
    write_json(run.path / FOLDER / INDEX, [vars(one) for one in told])


def read_index(run: Run) -> list[Reproducer]:
    """What is known of a run's reproducers; nothing for a run without any.

    Raises ParameterError when the index is damaged.
    """
    file = run.path / FOLDER / INDEX
    if not file.exists():
        return []
    remedy = f"`netra-probe report {run.path}` writes it again."
    try:
        return msgspec.convert(read_json(file, remedy), list[Reproducer])
    except msgspec.ValidationError:
        raise ParameterError(f"{file}: damaged; {remedy}") from None


def tickets_of(run: Run, judged: Mapping[str, ScenarioResult] | None = None) -> dict[str, str]:
    """The ticket of each red case, by its id.

    Arguments:
        judged: the scenarios as they were just judged; red ones are judged again where they are not in it.
    """
    scripts: dict[str, list[Script]] = defaultdict(list)
    for one in sorted(read_index(run), key=lambda one: one.number):
        scripts[one.case].append(Script(file=one.best, reason=one.reason))
    return {
        ticket.case.id: ticket.markdown
        for author in authors_of(run, judged)
        for ticket in tickets(author.result, run.path, scripts)
    }
