"""Retention: which runs to keep, and a run as one file to share."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from netra_probe.checkers.verdict import Verdict
from netra_probe.errors import OutputError, ParameterError
from netra_probe.history.limits import check_archive
from netra_probe.results.results import PLAN
from netra_probe.results.runs import Run, held
from netra_probe.target.environment import scratch

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


#: The time that all entries bear, so that the same run gives the same bytes; a zip cannot hold an earlier one.
_TIME = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16


def write_bundle(run: Path, output: Path) -> Path:
    """Pack a run directory, in an order that is always the same; returns the path of the bundle.

    Hidden files, files that are just being written and links are left out.

    Raises OutputError when it cannot be written.
    """
    name = run.resolve().name
    partial = output.with_name(f".{output.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for path in contents(run):
                entry = zipfile.ZipInfo(f"{name}/{path.relative_to(run).as_posix()}", _TIME)
                entry.external_attr = _PLAIN_FILE
                # What is compressed already only takes longer.
                entry.compress_type = zipfile.ZIP_STORED if path.suffix == ".gz" else zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
        partial.replace(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror}); give another one with -o.") from None
    finally:
        partial.unlink(missing_ok=True)
    return output


def contents(run: Path) -> list[Path]:
    """The files of a run directory that belong to it."""
    return sorted(
        path
        for path in run.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and ".partial" not in path.name
        and not any(part.startswith(".") for part in path.relative_to(run).parts)
    )


@contextmanager
def unpacked(bundle: Path) -> Iterator[Path]:
    """The run directory of a bundle, in a temporary folder for the block.

    Raises ParameterError when the file holds none, or cannot be unpacked.
    """
    with scratch("netra-probe-bundle-") as folder:
        try:
            with zipfile.ZipFile(bundle) as archive:
                check_archive(bundle, archive)
                archive.extractall(folder)  # never outside of the folder, whatever the names in it say
        except ParameterError:
            raise
        except (NotImplementedError, RuntimeError):
            # Compressed by a method that Python does not know, or encrypted.
            raise ParameterError(
                f"{bundle}: encrypted, or compressed in an unknown way; unpack it, and give the directory."
            ) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ParameterError(f"{bundle}: cannot be unpacked ({why}); copy it once more.") from None
        except Exception as error:
            # Whatever a module for a compression makes of bytes that are none.
            raise ParameterError(f"{bundle}: cannot be unpacked ({type(error).__name__}); copy it once more.") from None
        plans = sorted(folder.glob(f"*/{PLAN}"))
        if len(plans) != 1:
            raise ParameterError(f"{bundle}: no run in it; give a file that `netra-probe bundle` has made.")
        yield plans[0].parent
