"""A run in one file: an evidence bundle that can be attached to a ticket and judged again anywhere."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netra_probe.batch.results import PLAN
from netra_probe.environ import scratch
from netra_probe.errors import OutputError, ParameterError

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

    Raises ParameterError when the file holds none.
    """
    with scratch("netra-probe-bundle-") as folder:
        try:
            with zipfile.ZipFile(bundle) as archive:
                archive.extractall(folder)  # never outside of the folder, whatever the names in it say
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise ParameterError(f"{bundle}: cannot be unpacked ({type(error).__name__}); copy it once more.") from None
        plans = sorted(folder.glob(f"*/{PLAN}"))
        if len(plans) != 1:
            raise ParameterError(f"{bundle}: no run in it; give a file that `netra-probe bundle` has made.")
        yield plans[0].parent
