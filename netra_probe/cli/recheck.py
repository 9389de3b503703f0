"""``recheck``: judge a run again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from netra_probe.batch.progress import Place
from netra_probe.checkers.verdict import Verdict
from netra_probe.cli.summary import is_bundle, opened, summary
from netra_probe.errors import ParameterError
from netra_probe.results.results import RESULTS, as_bytes, compute, write_json
from netra_probe.results.runs import cases_of, read_results

#: Where a judgement is kept that differs from the stored one.
DIFFERING = "results.recheck.json"
#: Cases with another verdict that the terminal names.
MOST_CASES = 5


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--verbose", is_flag=True, help="show every finding with its operations and its witness")
def recheck(run: str, verbose: bool) -> int:
    """Judge a run again from its recorded histories.

    Needs neither the target nor the lab.

    RUN is a run directory, its URL (s3://bucket/run), or an evidence bundle (run.zip).

    Exit status: that of the verdict where the stored results are confirmed, byte for byte. Where they are not, 1 if
    either judgement is a fail, else 3; the new one is kept in results.recheck.json beside the stored one, or in
    <run>.results.recheck.json beside a bundle.
    """
    with opened(run) as place:
        directory = place.directory or Path()
        fresh = directory / DIFFERING
        if is_bundle(run):
            fresh = Path(run).with_suffix(f".{DIFFERING}")  # what is unpacked is gone in a moment
        return _recheck(directory, place, fresh, verbose=verbose)


def _recheck(directory: Path, place: Place, fresh: Path, *, verbose: bool) -> int:
    results = compute(directory)
    click.echo(summary(results, verbose=verbose))
    verdict, stored = Verdict(results["verdict"]), directory / RESULTS
    where = place.shown(fresh) if fresh.parent == directory else fresh
    if not stored.exists():
        missing = fresh.parent != directory
        write_json(fresh if missing else stored, results)
        told = f"is missing; the judgement is in {where}" if missing else "(written, it was missing)"
        click.echo(f"results   {place.shown(stored)} {told}")
        return verdict.exit_status
    try:
        confirmed = stored.read_bytes() == as_bytes(results)
    except OSError as error:
        raise ParameterError(f"{stored}: cannot be read ({error.strerror}); move it away, then recheck.") from None
    if confirmed:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        click.echo(f"results   {place.shown(stored)} is confirmed, byte for byte")
        return verdict.exit_status
    write_json(fresh, results)
    before, told = _difference(directory, results)
    click.echo(f"results   {place.shown(stored)} is NOT confirmed: {told}; the new judgement is in {where}")
    return 1 if Verdict.FAIL in (before, verdict) else 3


def _difference(directory: Path, results: dict[str, Any]) -> tuple[Verdict | None, str]:
    """The stored verdict, and what the new judgement says otherwise, in words."""
    try:
        stored = read_results(directory)
    except ParameterError:
        return None, "it is damaged"
    before, after = cases_of(stored), cases_of(results)
    changed = [
        f"{case} {before[case]['verdict'] if case in before else 'absent'}"
        f" → {after[case]['verdict'] if case in after else 'absent'}"
        for case in sorted(before.keys() | after.keys())
        if case not in before or case not in after or before[case]["verdict"] != after[case]["verdict"]
    ]
    if stored["verdict"] != results["verdict"]:
        changed.insert(0, f"{stored['verdict']} → {results['verdict']}")
    told = ", ".join(changed[:MOST_CASES]) + (f" and {len(changed) - MOST_CASES} more" * (len(changed) > MOST_CASES))
    same = "the verdicts are the same and other words or numbers differ (edited, or judged by another version?)"
    return Verdict(stored["verdict"]), told or same
