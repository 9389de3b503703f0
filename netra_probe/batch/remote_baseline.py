"""What lies beside a run that is kept at a URL: its earlier runs, as far as telling what is new needs them."""

from __future__ import annotations

from pathlib import Path

from netra_probe.results.results import PLAN, RESULTS

#: Runs that are fetched, by name from the last.
MOST_FETCHED = 30


def fetch_past(url: str, folder: Path) -> str:
    """Copy plan and results of the runs beside the one at a URL into a local folder, each into its own.

    Returns why that was impossible, in a few words, or nothing. What cannot be fetched is no reason to lose a run.
    """
    import fsspec

    from netra_probe.batch.remote_store import error_text

    try:
        files, root = fsspec.core.url_to_fs(url.rstrip("/"))
        above, _, own = root.rstrip("/").rpartition("/")
        if not above:
            return ""
        names = {Path(path).name for path in files.ls(above, detail=False)} - {own, ""}
        for name in sorted(names, reverse=True)[:MOST_FETCHED]:
            wanted = [f"{above}/{name}/{file}" for file in (PLAN, RESULTS)]
            if all(files.isfile(path) for path in wanted):
                (folder / name).mkdir(exist_ok=True)
                for path in wanted:
                    files.get_file(path, str(folder / name / Path(path).name))
    except Exception as error:
        return error_text(error)
    return ""
