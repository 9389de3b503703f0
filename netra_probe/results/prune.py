"""Which runs are still worth their space: by age and number, without the evidence of failures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from netra_probe.checkers.verdict import Verdict
from netra_probe.errors import ParameterError
from netra_probe.results.results import PLAN
from netra_probe.results.runs import Run, held

#: A run without results that was touched within this time may be going on, perhaps on another machine.
MAY_GO_ON = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What is to become of a run: ``keeps`` says why it stays, and is empty where it goes."""

    run: Run
    keeps: str = ""


def fates(
    runs: Sequence[Run],
    *,
    keep: int | None = None,
    older_than: timedelta | None = None,
    failures: bool = False,
    now: datetime | None = None,
) -> list[Fate]:
    """What is to become of the runs of one environment, newest first.

    Arguments:
        keep: how many of the newest stay; older_than: what is younger stays. With both, either is enough to stay.
        failures: let failures go by the same rules; otherwise they all stay.
        now: the moment from which ages are counted.

    The latest failure and the latest pass always stay, and so does what may still be going on.
    """
    now = now or datetime.now(UTC)
    newest_first = sorted(runs, key=lambda run: run.order, reverse=True)
    verdicts = {run.path: run.verdict if run.has_results else None for run in newest_first}
    latest = {verdict: path for path, verdict in reversed(verdicts.items())}
    decided = []
    for number, run in enumerate(newest_first):
        verdict = verdicts[run.path]
        if verdict is None and now - _touched(run) < MAY_GO_ON:
            why = "may be going on"
        elif keep is not None and number < keep:
            why = f"one of the newest {keep}"
        elif older_than is not None and now - run.started < older_than:
            why = f"younger than {older_than.days} day(s)"
        elif verdict in (Verdict.FAIL, Verdict.PASS) and latest[verdict] == run.path:
            why = "the latest failure" if verdict is Verdict.FAIL else "the latest pass"
        elif verdict is Verdict.FAIL and not failures:
            why = "a failure"
        else:
            why = ""
        decided.append(Fate(run=run, keeps=why))
    return decided


def remove(run: Run) -> str:
    """Remove a run directory; returns why it could not be, or nothing.

    It is taken out of sight first, so that nobody meets half a run.
    """
    if run.path.is_symlink():
        return "a link to a run that is elsewhere"
    try:
        with held(run.path):
            hidden = run.path.with_name(f".{run.path.name}.pruned")
            run.path.rename(hidden)
            shutil.rmtree(hidden)
    except ParameterError:
        return "a run is at work there"
    except OSError as error:
        return f"cannot be removed ({error.strerror})"
    return ""


def _touched(run: Run) -> datetime:
    return datetime.fromtimestamp((run.path / PLAN).stat().st_mtime, UTC)
