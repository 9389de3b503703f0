"""Runs kept in an object store, or wherever else fsspec reaches: staged here, and mirrored there as they go on."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from netra_probe.batch.execution import Execution
from netra_probe.batch.progress import Patient, Place, Watcher
from netra_probe.errors import OutputError, ParameterError
from netra_probe.results.results import PLAN, RESULTS


class Store:
    """A folder at a URL.

    Arguments:
        url: as fsspec reads it. What it takes to get in is given as the library for it wants it (``AWS_PROFILE``,
            ``FSSPEC_…`` variables, ``~/.config/fsspec``), and never in the URL.

    Raises ParameterError when no library for it is there, or the URL holds credentials.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        if re.search(r"://[^/@]*:[^/@]*@", url):
            raise ParameterError(
                f"--output {self.url.partition('://')[0]}://…: the URL holds credentials, and results name it; "
                "give them in the environment or in fsspec's configuration."
            )
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ParameterError(f"{self.url}: cannot be reached ({error}).") from None
        except Exception as error:
            raise ParameterError(f"{self.url}: cannot be reached ({error_text(error)}).") from None
        self._root = root.rstrip("/")
        self._there: dict[str, tuple[int, int]] = {}

    def check_writable(self) -> None:
        """Write something and remove it. Raises ParameterError when that is impossible."""
        probe = f"{self._root}/.netra-probe-{secrets.token_hex(4)}"
        try:
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(probe, b"netra-probe")
        except Exception as error:
            raise ParameterError(
                f"{self.url}: cannot be written ({error_text(error)}); give a writable --output."
            ) from None
        with contextlib.suppress(Exception):  # who may write and not remove can keep runs nevertheless
            self._files.rm_file(probe)

    def holds_run(self) -> bool:
        """Whether there is a ``run.json``. Raises ParameterError when that cannot be found out."""
        try:
            return bool(self._files.exists(f"{self._root}/{PLAN}"))
        except Exception as error:
            raise ParameterError(f"{self.url}: cannot be read ({error_text(error)}).") from None

    def fetch(self, directory: Path) -> None:
        """Copy everything from there into a directory. Raises ParameterError when it cannot be read."""
        try:
            for found in self._files.find(self._root):
                name = found.removeprefix(self._root).lstrip("/")
                place = (directory / name).resolve()
                if not place.is_relative_to(directory.resolve()):
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(found, str(place))
                self._there[name] = _state(place)
        except OSError as error:
            raise ParameterError(f"{self.url}: cannot be fetched ({error_text(error)}).") from None
        except Exception as error:
            raise ParameterError(f"{self.url}: cannot be read ({error_text(error)}).") from None

    def mirror(self, directory: Path) -> None:
        """Copy what has changed since the last time, and remove what is here no longer.

        Raises OutputError when something cannot be copied; what was copied before stays.
        """
        here = {
            str(path.relative_to(directory)): path
            for path in sorted(directory.rglob("*"))
            if path.is_file() and not path.name.endswith(".partial") and ".partial." not in path.name
        }
        try:
            for name, path in here.items():
                state = _state(path)
                if self._there.get(name) != state:
                    self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
                    self._files.put_file(str(path), f"{self._root}/{name}")
                    self._there[name] = state
            for name in [name for name in self._there if name not in here]:
                self._files.rm_file(f"{self._root}/{name}")
                del self._there[name]
        except Exception as error:
            raise OutputError(f"{self.url}: cannot be written ({error_text(error)})") from None


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def error_text(error: Exception) -> str:
    """What a library of which nothing is known says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".rstrip(": ")[:200]


class Staging(Place):
    """Where a run is at work whose outputs belong elsewhere.

    Arguments:
        store: where they belong.
        directory: where they are until then.
    """

    directory: Path

    def __init__(self, store: Store, directory: Path) -> None:
        super().__init__(directory)
        self.store = store

    def shown(self, path: Path) -> str:
        """Where it will be when the run is over."""
        return f"{self.store.url}/{path.relative_to(self.directory)}".removesuffix("/.")

    def watched(self, watcher: Watcher) -> Watcher:
        """A watcher that tells the other one everything, and has each notebook copied when it ends."""
        return _Mirroring(self, watcher)


class _Mirroring(Patient):
    def __init__(self, staging: Staging, watcher: Watcher) -> None:
        super().__init__(watcher)
        self._staging = staging

    def ended(self, execution: Execution, record: Mapping[str, Any]) -> None:
        super().ended(execution, record)
        with contextlib.suppress(OutputError):  # all is copied once more at the end, and then it counts
            self._staging.store.mirror(self._staging.directory)


@contextlib.contextmanager
def staged(url: str, *, existing: bool = False) -> Iterator[Staging]:
    """A local directory for the block whose contents are at the URL when the block is over.

    Arguments:
        existing: begin with what is there, which must be a run.

    Raises ParameterError before the block when nothing can be written there, a run is there already, or none where
    one should be; OutputError after it when something could not be copied: then the local copy stays, and is named.
    """
    store = Store(url)
    if existing and not store.holds_run():
        raise ParameterError(f"{store.url}: no {PLAN} in it; give a directory that `netra-probe run` has made.")
    if not existing:
        store.check_writable()
        if store.holds_run():
            raise ParameterError(f"{store.url} holds a run already; give another --output, or --resume it.")
    place = Path(tempfile.mkdtemp(prefix="netra-probe-run-"))
    directory = place / (store.url.rpartition("/")[2] or "run")
    directory.mkdir()
    kept = ""
    try:
        if existing:
            store.fetch(directory)
        yield Staging(store, directory)
    finally:
        try:
            if any(directory.iterdir()):
                store.mirror(directory)
        except OutputError as error:
            kept = f"{error}; what the run has left is kept in {directory}: copy it from there."
        else:
            shutil.rmtree(place, ignore_errors=True)
    if kept:
        raise OutputError(kept)


#: Runs that are fetched, by name from the last.
MOST_FETCHED = 30


def fetch_past(url: str, folder: Path) -> str:
    """Copy plan and results of the runs beside the one at a URL into a local folder, each into its own.

    Returns why that was impossible, in a few words, or nothing. What cannot be fetched is no reason to lose a run.
    """
    import fsspec

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
